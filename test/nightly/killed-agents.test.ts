/** Agents that die by SIGKILL, a hundred times, on two nodes: nothing that may pass is lost, nothing that may not passes. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { sideCluster } from "../e2e/harness/side-cluster.ts";
import type { Counts } from "../e2e/harness/traffic.ts";
import { recorded } from "./record.ts";

const cluster = sideCluster("kill", 82, { NODES: "2", CNI: "cilium", KUBE_PROXY: "1" });
cluster.adopt();
after(() => cluster.remove());
before(async () => {
  await cluster.start();
  await cluster.install("operator.replicas=2");
}, { timeout: 1_800_000 });
const { namespace, readyCluster } = await import("../e2e/harness/cluster.ts");
const { agentDies } = await import("../e2e/harness/faults.ts");
const { createPods } = await import("../e2e/harness/pods.ts");
const { enforce, policy } = await import("../e2e/harness/policy.ts");
const { inWords, sumOf, traffic } = await import("../e2e/harness/traffic.ts");

const NODES = [1, 2] as const;
/** Of one round's pods the kubelet keeps the whole log: it would rotate a longer one, and what is forbidden is looked for there. */
const [ROUNDS, KILLS_OF_EACH] = [10, 5];
/** The prober's own limit is 600 s. */
const ROUND_SECONDS = 580;

const selects = (app: string): object => ({ matchLabels: { app } });

/** Pods of its own under policy, and agents that die by twos meanwhile. */
async function round(): Promise<Counts> {
  const ns = await namespace("kill");
  const pods = await createPods(ns.name, [
    { name: "api", node: 1, labels: { app: "api" } }, { name: "api-far", node: 2, labels: { app: "api" } },
    { name: "frontend", node: 2, labels: { app: "frontend" } }, { name: "frontend-near", node: 1, labels: { app: "frontend" } },
    { name: "other", node: 2, labels: { app: "other" } }, { name: "other-near", node: 1, labels: { app: "other" } },
  ]);
  const pod = (one: string) => pods[one] ?? assert.fail(`no pod ${one}`);
  await enforce(ns.name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")], toPorts: [{ ports: [{ port: "8080" }] }] }] }));
  const running = await traffic({ servers: [pod("api"), pod("api-far")], allowed: [pod("frontend"), pod("frontend-near")], forbidden: [pod("other"), pod("other-near")] }, ROUND_SECONDS);
  for (let i = 0; i < KILLS_OF_EACH; i++) await Promise.all(NODES.map(agentDies));
  const counts = await running.judge();
  await ns.remove();
  return counts;
}

test(`agents are killed ${ROUNDS * KILLS_OF_EACH * NODES.length} times under traffic: nothing allowed is lost, nothing forbidden passes`, { timeout: 3_500_000 }, async (context) => {
  await recorded("M12, M13: agents killed by SIGKILL, two at once, under traffic", async () => {
    await readyCluster();
    const counts: Counts[] = [];
    for (let i = 0; i < ROUNDS; i++) counts.push(await round());
    const result = `${ROUNDS * KILLS_OF_EACH * NODES.length} SIGKILLs: ${inWords(sumOf(counts))}`;
    context.diagnostic(result);
    return result;
  });
});
