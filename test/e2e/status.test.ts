/** What the user reads about a policy: columns, conditions, events, and who must have applied it. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { apply, command, get, kubectl, must, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, podObject } from "./harness/pods.ts";
import { conditionOf, enforce, getPolicy, policy, waitCondition } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("status");
after(() => ns.remove());
await createPods(ns.name, [
  { name: "a-1", node: 1, labels: { app: "a" } },
  { name: "a-2", node: 2, labels: { app: "a" } },
  { name: "a-3", node: 3, labels: { app: "a" } },
  { name: "b-1", node: 2, labels: { app: "b" } },
  { name: "host-a", node: 1, labels: { app: "a" }, hostNetwork: true, ports: [18099] },
]);
const selects = (app: string): object => ({ matchLabels: { app } });

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
});
