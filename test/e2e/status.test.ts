/** What the user reads about a policy: columns, conditions, events, and who must have applied it. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { apply, command, get, kubectl, must, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, podObject, type Pod } from "./harness/pods.ts";
import { conditionOf, enforce, getPolicy, policy, waitCondition } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("status");
after(() => ns.remove());
const pods = await createPods(ns.name, [
  { name: "a-1", node: 1, labels: { app: "a" } },
  { name: "a-2", node: 2, labels: { app: "a" } },
  { name: "a-3", node: 3, labels: { app: "a" } },
  { name: "b-1", node: 2, labels: { app: "b" } },
  { name: "served", node: 1, labels: { app: "served" }, ports: [8080] },
  { name: "client", node: 2, labels: { app: "client" } },
  { name: "stranger", node: 3, labels: { app: "stranger" } },
  { name: "host-a", node: 1, labels: { app: "a" }, hostNetwork: true, ports: [18099] },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const selects = (app: string): object => ({ matchLabels: { app } });

const PATIENT = { timeoutMs: 120_000, everyMs: 1000 };

describe("the status of a policy", { concurrency: 3 }, () => {
  test("columns, conditions with reasons and the generation, events on transitions", async () => {
    await apply(policy("three", { endpointSelector: selects("a"), ingress: [{ fromEndpoints: [selects("b")] }] }), "-n", ns.name);
    await must(["kubectl", "wait", "-n", ns.name, "--for=condition=Enforced", "cnp/three", "--timeout=90s"]);
    await must(["kubectl", "wait", "-n", ns.name, "--for=condition=Ready", "cnp/three", "--timeout=90s"]);
    const [heads, row] = (await kubectl("get", "cnp", "three", "-n", ns.name)).trim().split("\n").map((line) => line.split(/\s+/));
    assert.deepEqual(heads, ["NAME", "VALID", "ENFORCED", "ENDPOINTS", "AGE"]);
    // A host-network pod is its node, no endpoint.
    assert.deepEqual(row?.slice(0, 4), ["three", "True", "3/3", "3"]);
    const object = await getPolicy(ns.name, "three");
    for (const type of ["Valid", "Enforced", "Ready"]) {
      const condition = conditionOf(object, type);
      assert.equal(condition?.status, "True", type);
      assert.equal(condition?.observedGeneration, object.metadata.generation, type);
      assert.ok(condition !== undefined && condition.reason !== "" && condition.message !== "", type);
    }
    assert.deepEqual(object.status?.failingNodes ?? [], []);
    const described = await waitFor("events in kubectl describe", async () => {
      const text = await kubectl("describe", "cnp", "three", "-n", ns.name);
      return /Events:\s+Type\s+Reason/.test(text) && /Enforced/.test(text.slice(text.indexOf("Events:"))) ? text : undefined;
    }, () => kubectl("describe", "cnp", "three", "-n", ns.name), { timeoutMs: 15_000 });
    for (const word of ["Conditions:", "Enforced", "Valid", "Ready", "Observed Generation"]) assert.ok(described.includes(word), word);
  });

  test("helm --wait ends when the policy that it applies is in force, and fails with one that is not valid", { timeout: 300_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "status-chart-"));
    const helm = (...args: string[]): ReturnType<typeof command> => command(["helm", ...args, "waits", folder, "--namespace", ns.name, "--wait"]);
    const write = (ingress: readonly object[]): Promise<void> => writeFile(join(folder, "templates/waits.yaml"), JSON.stringify(policy("waits", { endpointSelector: selects("a"), ingress })));
    const enforced = async (): Promise<readonly unknown[]> => {
      const object = await getPolicy(ns.name, "waits");
      return [object.metadata.generation, object.status?.observedGeneration, object.status?.enforced, conditionOf(object, "Ready")?.status];
    };
    try {
      await mkdir(join(folder, "templates"));
      await writeFile(join(folder, "Chart.yaml"), JSON.stringify({ apiVersion: "v2", name: "waits", version: "0.0.1" }));
      await write([{ fromEndpoints: [selects("b")] }]);
      const installed = await helm("install", "--timeout=120s");
      assert.equal(installed.code, 0, installed.stderr);
      assert.deepEqual(await enforced(), [1, 1, "3/3", "True"]);
      await write([{ fromEndpoints: [selects("client")] }]);
      const upgraded = await helm("upgrade", "--timeout=120s");
      assert.equal(upgraded.code, 0, upgraded.stderr);
      assert.deepEqual(await enforced(), [2, 2, "3/3", "True"]);
      await write([{ fromEndpoints: [selects("b")], toPort: [] }]);
      const refused = await helm("upgrade", "--timeout=20s");
      assert.notEqual(refused.code, 0, "a policy that is not valid is not waited for with success");
      assert.match(refused.stderr, /not ready|deadline/i);
      assert.deepEqual(await enforced(), [3, 3, "3/3", "False"]);
    } finally {
      await command(["helm", "uninstall", "waits", "--namespace", ns.name]);
      await rm(folder, { recursive: true });
    }
  });

  test("a change moves the generation, and the conditions follow it", async () => {
    const first = await enforce(ns.name, policy("moves", { endpointSelector: selects("b"), ingress: [{ fromEndpoints: [selects("a")] }] }));
    assert.equal(first.status?.enforced, "1/1");
    const second = await enforce(ns.name, policy("moves", { endpointSelector: selects("b"), ingress: [{ fromEndpoints: [selects("b")] }] }));
    assert.equal(second.metadata.generation, first.metadata.generation + 1);
    assert.equal(conditionOf(second, "Valid")?.observedGeneration, second.metadata.generation);
  });

  test("a policy that selects nothing is 0/0, True, NoEndpoints; a new pod makes it 1/1", async () => {
    const empty = await enforce(ns.name, policy("empty", { endpointSelector: selects("late"), ingress: [] }));
    assert.equal(empty.status?.enforced, "0/0");
    assert.equal(empty.status?.endpoints, 0);
    assert.equal(conditionOf(empty, "Enforced")?.reason, "NoEndpoints");
    await apply(podObject(ns.name, { name: "late", node: 2, labels: { app: "late" } }));
    await waitFor("1/1", async () => {
      const object = await waitCondition(ns.name, "empty", "Enforced", "True");
      return object.status?.enforced === "1/1" && object.status.endpoints === 1 ? true : undefined;
    }, () => kubectl("describe", "cnp", "empty", "-n", ns.name), { timeoutMs: 30_000 });
  });

  test("nothing of ours is written into the user's part: spec, labels and annotations are as applied", async () => {
    const spec = { endpointSelector: selects("c"), ingress: [{ fromEndpoints: [selects("a")], toPorts: [{ ports: [{ port: "80" }] }] }] };
    await enforce(ns.name, policy("untouched", spec));
    const live = await get<{ metadata: { labels?: object; annotations?: Record<string, string>; finalizers?: string[] }; spec: object }>("cnp", "untouched", "-n", ns.name);
    assert.deepEqual(live.spec, spec);
    assert.equal(live.metadata.labels, undefined);
    assert.equal(live.metadata.finalizers, undefined);
    assert.deepEqual(Object.keys(live.metadata.annotations ?? {}), ["kubectl.kubernetes.io/last-applied-configuration"]);
    assert.equal((await command(["kubectl", "diff", "-n", ns.name, "-f", "-"], { input: JSON.stringify(policy("untouched", spec)) })).code, 0, "live equals git");
  });

  test("CiliumEndpoint and CiliumNode tell what the agents manage", async () => {
    const { items } = await get<{ items: { metadata: { name: string } }[] }>("cep", "-n", ns.name);
    const names = items.map(({ metadata }) => metadata.name);
    for (const name of ["a-1", "a-2", "a-3", "b-1"]) assert.ok(names.includes(name), `no CiliumEndpoint of ${name}`);
    assert.ok(!names.includes("host-a"), "a host-network pod has no endpoint");
    assert.equal((await get<{ items: object[] }>("cn")).items.length, 3);
    const status = await command(["cilium", "status"]);
    assert.equal(status.code, 0, `${status.stdout}${status.stderr}`);
    for (const name of ["node-1", "node-2", "node-3"]) assert.ok(status.stdout.includes(name), status.stdout);
  });

  test("real traffic is found in words: the connection and the rule that let it pass, hits of that rule and of the denial", async () => {
    const [served, client, stranger] = [pod("served"), pod("client"), pod("stranger")];
    await enforce(ns.name, policy("tables", { endpointSelector: selects("served"), ingress: [{ fromEndpoints: [selects("client")], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }] }));
    const text = `tables-${Math.random().toString(36).slice(2)}`;
    await client.reaches("tcp", served.ipv4, 8080, text);
    await stranger.isCutFrom("tcp", served.ipv4, 8080, `no-${text}`);
    assert.deepEqual((await served.received()).filter((line) => line.text.endsWith(text)).map((line) => line.text), [text], "what the pod saw");
    const name = `${ns.name}/tables`;
    const flow = await waitFor("the connection on the receiver's node", async () => {
      await client.reaches("tcp", served.ipv4, 8080);
      const rows = await table<FlowRow>("bpf", "ct", "list", "--node", "node-1");
      return rows.find(({ source, destination, protocol }) => source.pod === "client" && destination.pod === "served" && destination.port === 8080 && protocol === "TCP");
    }, () => must(["cilium", "bpf", "ct", "list"]), PATIENT);
    assert.deepEqual([flow.source.namespace, flow.ingressRule?.policies, flow.ingressRule?.path], [ns.name, [name], "spec.ingress[0].toPorts[0]"]);
    assert.ok(BigInt(flow.packets) > 0n && BigInt(flow.bytes) > 0n, JSON.stringify(flow));
    const entries = await table<PolicyRow>("policy", "map", "--pod", `${ns.name}/served`);
    assert.ok(entries.some(({ node, port, verdict, rule, peer }) => node === "node-1" && port === "TCP 8080" && verdict === "allow" && rule?.policies.includes(name) && peer.labels?.includes("k8s:app=client")), JSON.stringify(entries));
    const stats = await waitFor("hits of the rule and of the denial", async () => {
      const rows = (await table<StatsRow>("policy", "stats", "--in-namespace", ns.name)).filter(({ policies }) => policies.some((policy) => policy.name === "tables" && policy.kind === "CiliumNetworkPolicy"));
      return ["rule", "default-deny"].every((kind) => rows.some((row) => row.kind === kind && BigInt(row.packets) > 0n && row.lastHit !== undefined)) ? rows : undefined;
    }, () => must(["cilium", "policy", "stats"]), PATIENT);
    assert.equal(stats.find(({ kind }) => kind === "rule")?.path, "spec.ingress[0].toPorts[0]");
    const maps = await table<{ readonly node: string; readonly map: string; readonly entries?: number }>("bpf");
    assert.deepEqual([...new Set(maps.map(({ node }) => node))].sort(), ["node-1", "node-2", "node-3"]);
    assert.ok(maps.every(({ map, entries }) => map !== "ipcache" || (entries ?? 0) > 0), JSON.stringify(maps));
  });
});

interface RuleWords {
  readonly policies: readonly string[];
  readonly path: string;
}

interface FlowRow {
  readonly protocol: string;
  readonly source: { readonly namespace?: string; readonly pod?: string };
  readonly destination: { readonly pod?: string; readonly port: number };
  readonly ingressRule?: RuleWords;
  readonly packets: string;
  readonly bytes: string;
}

interface PolicyRow {
  readonly node: string;
  readonly port: string;
  readonly verdict: string;
  readonly rule?: RuleWords;
  readonly peer: { readonly labels?: readonly string[] };
}

interface StatsRow {
  readonly kind: string;
  readonly path: string;
  readonly packets: string;
  readonly lastHit?: string;
  readonly policies: readonly { readonly kind: string; readonly name: string }[];
}

async function table<R>(...args: string[]): Promise<readonly R[]> {
  return JSON.parse(await must(["cilium", ...args, "-o", "json"])) as R[];
}
