/** What `cilium policy explain` answers and `simulate` forecasts, against what packets then do. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import type { Answer, PairChange } from "../../src/explain/index.ts";
import { command, get, kubectl, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod, type Protocol } from "./harness/pods.ts";
import { enforce, monitor, policy, remove, settled, waitCondition } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("explain");
const dir = mkdtempSync(join(tmpdir(), "e2e-explain-"));
after(() => ns.remove());
after(() => rmSync(dir, { recursive: true, force: true }));

const pods = await createPods(ns.name, [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080, 9090] },
  { name: "web", node: 2, labels: { app: "web" } },
  { name: "job", node: 1, labels: { app: "job" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const api = pod("api");
await waitFor("the pods' identities", async () => {
  const { items } = await get<{ items: unknown[] }>("ciliumendpoints", "-n", ns.name);
  return items.length === 3 ? true : undefined;
}, () => kubectl("get", "ciliumendpoints", "-n", ns.name));

const TRIES: readonly (readonly [from: string, protocol: Protocol, port: number])[] = ["web", "job"].flatMap((from) => [[from, "tcp", 8080], [from, "tcp", 9090], [from, "udp", 8080]] as const);

const allow = (from: string, port: string): object => policy("api", { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: from } }], toPorts: [{ ports: [{ port, protocol: "TCP" }] }] }] });

async function cilium<T>(statuses: readonly number[], ...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await command(["cilium", "policy", ...args, "-o", "json"]);
  assert.ok(statuses.includes(code ?? -1), `cilium policy ${args.join(" ")}: exit status ${code}\n${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

async function explained(from: string, to: string, port: string): Promise<Answer> {
  const { answers } = await cilium<{ answers: Answer[] }>([0, 1], "explain", "--from", from, "--to", to, "--port", port);
  return answers[0] ?? assert.fail("no answer");
}

/** By both families, as the API pod itself heard it. */
async function arrives([from, protocol, port]: (typeof TRIES)[number], expected: boolean): Promise<void> {
  for (const address of api.addresses) {
    const text = `${from}-${protocol}-${port}-${Math.random().toString(36).slice(2, 8)}`;
    if (expected) await pod(from).reaches(protocol, address, port, text);
    else await pod(from).isCutFrom(protocol, address, port, text);
    assert.equal((await api.heard(text)).length > 0, expected, `${from} ${protocol} ${address} ${port}`);
  }
}

async function forecast(...args: string[]): Promise<{ readonly pairs: readonly PairChange[]; readonly flows?: { readonly changes: readonly { readonly from: string; readonly to: string; readonly seen: number; readonly after: string }[]; readonly outdated: number } }> {
  return cilium([0, 1], "simulate", ...args);
}

/** What the rows say of one try; undefined: it stays. */
function foretold(pairs: readonly PairChange[], [from, protocol, port]: (typeof TRIES)[number]): string | undefined {
  const name = protocol.toUpperCase();
  const holds = (text: string): boolean => {
    const [first = 0, last = first] = (text.split(" ")[1] ?? "0-65535").split("-").map(Number);
    return text === "any" || (text.startsWith(name) && port >= first && port <= last) || (text === "other protocols" && protocol === "udp");
  };
  return pairs.find((pair) => pair.from.name === `${ns.name}/${from}` && pair.to.name === `${ns.name}/api` && pair.ports.some(holds))?.after;
}

function file(name: string, content: object): string {
  const path = join(dir, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

describe("questions about policies", () => {
  test("explain answers what packets then do, names the rule, and the label that missed", async () => {
    await enforce(ns.name, allow("web", "8080"));
    for (const one of TRIES) {
      const [from, protocol, port] = one;
      const { verdict, ingress } = await explained(`${ns.name}/${from}`, `${ns.name}/api`, `${port}/${protocol.toUpperCase()}`);
      await arrives(one, verdict === "allowed");
      assert.equal(verdict, from === "web" && protocol === "tcp" && port === 8080 ? "allowed" : "denied");
      assert.deepEqual(ingress.rule?.policies, [{ kind: "CiliumNetworkPolicy", namespace: ns.name, name: "api" }]);
    }
    const { ingress } = await explained(`${ns.name}/job`, api.ipv6, "8080/TCP");
    assert.deepEqual([ingress.subject, ingress.near[0]?.missed], [`${ns.name}/api`, ['the sender: it needs the label app=web; it has "job"']]);
    assert.equal((await explained("node-1", `${ns.name}/api`, "9090/TCP")).ingress.because, "own-node");
    assert.equal((await explained("node-2", `${ns.name}/api`, "9090/TCP")).verdict, "denied");
  });

  test("a policy that probably does not mean what it says has the condition Warnings with the paths", async () => {
    const name = "doubtful";
    const spec = { endpointSelector: { matchLabels: { app: "job" } }, egress: [{ toEndpoints: [{ matchLabels: { app: "api" } }] }, { toCIDR: [`${api.ipv4}/32`] }], egressDeny: [{ toEndpoints: [{}] }] };
    await enforce(ns.name, policy(name, spec));
    const { status } = await waitCondition(ns.name, name, "Warnings", "True");
    const message = status?.conditions?.find(({ type }) => type === "Warnings")?.message ?? "";
    assert.match(message, /spec\.egress\[0\]: all that it allows is denied by spec\.egressDeny\[0\]/);
    assert.match(message, /spec\.egress\[1\]: .* is of pods, and blocks of addresses mean the outside alone/);
    assert.equal((await explained(`${ns.name}/job`, `${ns.name}/api`, "8080/TCP")).egress.rule?.path, "spec.egressDeny[0]");
    await remove(ns.name, name);
    await settled();
  });

  test("a forecast of a change, and of a deletion, comes true; packets that were recorded, and that the agents tell of now, are foretold as well", async () => {
    await enforce(ns.name, allow("web", "8080"));
    const watch = monitor(ns.name);
    const packets = await waitFor("a verdict and a drop in the recording", async () => {
      await pod("web").ask("tcp", api.ipv4, 8080, { timeoutMs: 1000 });
      await pod("job").ask("tcp", api.ipv4, 8080, { timeoutMs: 1000 });
      const events = watch.events().filter(({ destination }) => destination.pod === "api");
      return events.some(({ type }) => type === "drop") && events.some(({ type }) => type === "policy-verdict") ? events : undefined;
    }, async () => JSON.stringify(watch.events()), { timeoutMs: 30_000 });
    watch.close();
    const flows = join(dir, "flows.json");
    writeFileSync(flows, packets.map((event) => `${JSON.stringify(event)}\n`).join(""));
    const next = { ...allow("job", "8080"), metadata: { name: "api", namespace: ns.name } };
    const change = await forecast("-f", file("next.json", next), "--flows", flows);
    assert.deepEqual(TRIES.map((one) => foretold(change.pairs, one)), ["denied", undefined, undefined, "allowed", undefined, undefined]);
    assert.deepEqual(new Map(change.flows?.changes.map(({ from, after: is }) => [from, is])), new Map([[`${ns.name}/web`, "denied"], [`${ns.name}/job`, "allowed"]]));
    assert.equal(change.flows?.outdated, 0);
    const live = { ended: false };
    const listening = forecast("-f", join(dir, "next.json"), "--live", "--for", "10s").finally(() => (live.ended = true));
    while (!live.ended) for (const from of ["web", "job"]) await pod(from).ask("tcp", api.ipv4, 8080, { timeoutMs: 1000 });
    const heard = (await listening).flows?.changes.filter(({ to }) => to === `${ns.name}/api`) ?? [];
    assert.deepEqual(new Map(heard.map(({ from, after: is }) => [from, is])), new Map([[`${ns.name}/web`, "denied"], [`${ns.name}/job`, "allowed"]]), "as the agents tell it now");
    // Nothing was written: it is as before.
    await arrives(["web", "tcp", 8080], true);
    await enforce(ns.name, next);
    for (const one of TRIES) await arrives(one, one[0] === "job" && one[1] === "tcp" && one[2] === 8080);

    const deletion = await forecast("--delete", `${ns.name}/api`);
    assert.deepEqual(TRIES.map((one) => foretold(deletion.pairs, one)), ["allowed", "allowed", "allowed", undefined, "allowed", "allowed"]);
    await remove(ns.name, "api");
    await settled();
    for (const one of TRIES) await arrives(one, true);
  });
});
