/** Many changes, several policies, another leader: at every moment a packet is judged by the old rules or by the new. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { apply, get, kubectl, namespace, NODES, readyCluster, waitFor } from "./harness/cluster.ts";
import { kernelKnows } from "./harness/faults.ts";
import { containerPid, createPods, type Pod, type PodObject } from "./harness/pods.ts";
import { enforce, policy, remove, settled, waitCondition } from "./harness/policy.ts";
import { traffic } from "./harness/traffic.ts";

await readyCluster();
const ns = await namespace("changes");
after(() => ns.remove());
const pods = await createPods(ns.name, [
  { name: "server", node: 1, labels: { app: "server" } },
  { name: "server-far", node: 2, labels: { app: "server" } },
  { name: "friend", node: 2, labels: { app: "friend" } },
  { name: "friend-near", node: 1, labels: { app: "friend" } },
  { name: "stranger", node: 2, labels: { app: "stranger" } },
  { name: "stranger-near", node: 1, labels: { app: "stranger" } },
  { name: "union", node: 1, labels: { app: "union" } },
  { name: "led", node: 2, labels: { app: "led" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const selects = (app: string): object => ({ matchLabels: { app } });
const from = (app: string, ...ports: readonly number[]): object => ({
  fromEndpoints: [selects(app)],
  ...(ports.length > 0 && { toPorts: [{ ports: ports.map((port) => ({ port: String(port), protocol: "ANY" })) }] }),
});

/** Rules that say in many ways that friends, and nobody else of ours, reach 8080. */
function variant(round: number): object {
  const ports = Array.from({ length: 1 + ((round * 7) % 30) }, (_, index) => 20_000 + round * 40 + index);
  const fillers = Array.from({ length: round % 4 }, (_, index) => from(`nobody-${round}-${index}`, ...ports));
  const friends = round % 3 === 0 ? from("friend") : from("friend", 8080, ...ports);
  return policy("server", { endpointSelector: selects("server"), ingress: round % 2 === 0 ? [...fillers, friends] : [friends, from("stranger", 9090), ...fillers] });
}

describe("changes", { concurrency: 2 }, () => {
  test("twenty-five changes under traffic: what every version allows is never lost, what none allows never passes", { timeout: 540_000 }, async () => {
    await enforce(ns.name, variant(0));
    const running = await traffic({ servers: [pod("server"), pod("server-far")], allowed: [pod("friend"), pod("friend-near")], forbidden: [pod("stranger"), pod("stranger-near")] }, 150);
    for (let round = 1; round <= 25; round++) {
      await apply(variant(round), "-n", ns.name);
      if (round % 5 === 0) await waitCondition(ns.name, "server", "Enforced", "True");
    }
    await waitCondition(ns.name, "server", "Enforced", "True");
    await settled();
    await running.judge();
  });

  test("policies add up, and one that goes takes its own part only", async () => {
    const union = pod("union");
    const reaches = async (friend: boolean, stranger: boolean): Promise<void> => {
      for (const [name, expected] of [["friend", friend], ["stranger", stranger]] as const) {
        for (const address of union.addresses) {
          if (expected) await pod(name).reaches("tcp", address, 8080);
          else await pod(name).isCutFrom("tcp", address, 8080);
        }
      }
    };
    await enforce(ns.name, policy("first", { endpointSelector: selects("union"), ingress: [from("friend")] }));
    await reaches(true, false);
    await enforce(ns.name, policy("second", { endpointSelector: selects("union"), ingress: [from("stranger", 8080)] }));
    await reaches(true, true);
    await remove(ns.name, "first");
    await waitFor("friend is cut", async () => ((await pod("friend").ask("tcp", union.ipv4, 8080, { timeoutMs: 400 })).answered ? undefined : true), async () => "reaches");
    await reaches(false, true);
    await remove(ns.name, "second");
    await waitFor("friend is back", async () => ((await pod("friend").ask("tcp", union.ipv4, 8080, { timeoutMs: 400 })).answered ? true : undefined), async () => "cut");
    await reaches(true, true);
  });
});

test("a namespace that goes leaves nothing: no endpoint, no address in a kernel, no rule", { timeout: 360_000 }, async () => {
  const gone = await namespace("gone");
  const short = Object.values(await createPods(gone.name, [{ name: "a", node: 1, labels: { app: "a" } }, { name: "b", node: 2, labels: { app: "b" } }]));
  await enforce(gone.name, policy("a", { endpointSelector: selects("a"), ingress: [from("b", 8080)] }));
  await kubectl("delete", "namespace", gone.name, "--timeout=270s");
  for (const { name } of NODES) {
    for (const { ipv4 } of short) await waitFor(`no ${ipv4} of ${gone.name} on ${name}`, async () => ((await kernelKnows(name, ipv4)) ? undefined : true), async () => ipv4, { timeoutMs: 30_000 });
  }
  const { items } = await get<{ items: { metadata: { namespace: string } }[] }>("cep", "-A");
  assert.deepEqual(items.filter(({ metadata }) => metadata.namespace === gone.name), []);
  // A policy that left is remembered until every node has acknowledged that.
  await waitFor("no node state to name the namespace", async () => !(await kubectl("get", "cns", "-o", "json")).includes(gone.name) || undefined, () => kubectl("get", "cns"), { timeoutMs: 30_000 });
});

interface Lease {
  readonly spec: { readonly holderIdentity?: string };
}

test("the leading operator is killed: another takes over and policies go on", { timeout: 360_000 }, async () => {
  const holder = async (): Promise<string> => (await get<Lease>("lease", "cilium-operator", "-n", "kube-system")).spec.holderIdentity ?? "";
  const before = await holder();
  const { items } = await get<{ items: PodObject[] }>("pods", "-n", "kube-system", "-l", "name=cilium-operator");
  const leader = items.find(({ metadata }) => before.startsWith(metadata.name)) ?? assert.fail(`no pod of ${before}`);
  process.kill(containerPid(leader), "SIGKILL");
  await apply(policy("led", { endpointSelector: selects("led"), ingress: [from("friend")] }), "-n", ns.name);
  await waitCondition(ns.name, "led", "Enforced", "True", { timeoutMs: 60_000 });
  await pod("friend").reaches("tcp", pod("led").ipv4, 8080);
  await pod("stranger").isCutFrom("tcp", pod("led").ipv4, 8080);
  await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=180s");
});
