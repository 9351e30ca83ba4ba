/** Agents that die by SIGKILL, a hundred times, on two nodes: nothing that may pass is lost, nothing that may not passes. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { ownCluster } from "../e2e/harness/own-cluster.ts";

const cluster = await ownCluster({ name: "e2ekill", subnet: "172.29.82.0/24", subnet6: "fd00:172:29:52::/64", chartPort: 8874, nodes: 2 });
after(() => cluster.remove());
const { kubectl, namespace, readyCluster, waitFor } = await import("../e2e/harness/cluster.ts");
const { agentPod, killAgent } = await import("../e2e/harness/faults.ts");
const { createPods, isReady } = await import("../e2e/harness/pods.ts");
const { enforce, policy } = await import("../e2e/harness/policy.ts");
const { traffic } = await import("../e2e/harness/traffic.ts");

const [ROUNDS, KILLS] = [10, 10];
/** The prober's own limit is 600 s. */
const ROUND_SECONDS = 580;

const selects = (app: string): object => ({ matchLabels: { app } });

/** Another process serves: the kubelet waits longer after each crash, another pod it starts at once. */
async function agentIsBack(node: number, killed: string): Promise<void> {
  await waitFor(`another agent on node-${node}`, async () => {
    const agent = await agentPod(node);
    return agent !== undefined && agent.metadata.uid !== killed && isReady(agent) ? true : undefined;
  }, () => kubectl("get", "pods", "-n", "kube-system", "-o", "wide"), { timeoutMs: 180_000, everyMs: 500 });
}

test(`agents are killed ${ROUNDS * KILLS} times under traffic: nothing allowed is lost, nothing forbidden passes`, { timeout: 3_500_000 }, async (context) => {
  await readyCluster();
  const { name } = await namespace("kill");
  const pods = await createPods(name, [
    { name: "api", node: 1, labels: { app: "api" } }, { name: "api-far", node: 2, labels: { app: "api" } },
    { name: "frontend", node: 2, labels: { app: "frontend" } }, { name: "frontend-near", node: 1, labels: { app: "frontend" } },
    { name: "other", node: 2, labels: { app: "other" } }, { name: "other-near", node: 1, labels: { app: "other" } },
  ]);
  const pod = (one: string) => pods[one] ?? assert.fail(`no pod ${one}`);
  await enforce(name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")], toPorts: [{ ports: [{ port: "8080" }] }] }] }));
  let kills = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const running = await traffic({ servers: [pod("api"), pod("api-far")], allowed: [pod("frontend"), pod("frontend-near")], forbidden: [pod("other"), pod("other-near")] }, ROUND_SECONDS);
    for (let i = 0; i < KILLS; i++) {
      const node = 1 + (i % 2);
      const agent = (await agentPod(node)) ?? assert.fail(`no agent on node-${node}`);
      await killAgent(node);
      kills++;
      await kubectl("-n", "kube-system", "delete", "pod", agent.metadata.name, "--grace-period=1", "--wait=false");
      await agentIsBack(node, agent.metadata.uid);
    }
    await running.judge();
  }
  context.diagnostic(`${kills} agents killed`);
});
