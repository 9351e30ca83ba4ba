/** A policy of nodes on the live cluster: what a process of the node received decides. It denies ports of this test alone. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { apply, get, kubectl, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite } from "./harness/outside.ts";
import { createPods, type Pod, type Site } from "./harness/pods.ts";
import { conditionOf, settled, type PolicyObject } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("host");
const NAME = `host-${ns.name}`;
after(async () => {
  await kubectl("delete", "ccnp", NAME, "--ignore-not-found");
  await ns.remove();
});

/** One that the policy closes, and one of the failsafe that it would close. */
const [CLOSED, KEPT] = [18_077, 22];
const pods = await createPods(ns.name, [
  { name: "server", node: 2, hostNetwork: true, ports: [CLOSED, KEPT] },
  { name: "near", node: 2 },
  { name: "far", node: 3 },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [server, near, far] = [pod("server"), pod("near"), pod("far")];
const clients: readonly Site[] = [near, far, nodeSite(3)];
const PATIENT = { timeoutMs: 90_000, everyMs: 250 };
const word = (): string => `try-${Math.random().toString(36).slice(2, 10)}`;

async function tries(port: number, isHeard: boolean): Promise<void> {
  for (const address of server.addresses) {
    await Promise.all(clients.map(async (from) => {
      const text = word();
      if (isHeard) await from.reaches("tcp", address, port, text);
      else await from.isCutFrom("tcp", address, port, text);
      assert.equal((await server.received()).some((one) => one.text === text), isHeard, `${from.name} → ${address} ${port}`);
    }));
  }
}

test("a port of a node is closed to whoever opens it anew, the failsafe stays, what is open goes on, and removal opens again", { timeout: 400_000 }, async () => {
  await tries(CLOSED, true);
  const open = server.addresses.map((address) => far.flow("tcp", address, CLOSED, 5, 300));
  await apply({
    apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: NAME },
    spec: {
      nodeSelector: { matchLabels: { "kubernetes.io/hostname": "node-2" } },
      enableDefaultDeny: { ingress: false },
      ingressDeny: [{ fromEntities: ["all"], toPorts: [{ ports: [{ port: String(CLOSED), protocol: "TCP" }, { port: String(KEPT), protocol: "TCP" }] }] }],
    },
  });
  const policy = await waitFor("the policy in force on its node", async () => {
    const object = await get<PolicyObject>("ccnp", NAME);
    return conditionOf(object, "Enforced")?.status === "True" && object.status?.enforced === "1/1" ? object : undefined;
  }, () => kubectl("describe", "ccnp", NAME), PATIENT);
  const warned = conditionOf(policy, "Warnings")?.message ?? "";
  assert.match(warned, /22\/TCP/, "what the failsafe keeps open");
  await tries(CLOSED, false);
  await tries(KEPT, true);
  for (const flow of open) {
    const { sent, answered, error } = await flow.stop();
    assert.deepEqual([error, sent > 0, answered], ["", true, sent], "the connection that was open before is whole");
  }
  await kubectl("delete", "ccnp", NAME);
  await settled();
  await waitFor("the port open again", async () => (await near.ask("tcp", server.addresses[0] ?? "", CLOSED)).answered || undefined, () => kubectl("get", "ccnp"), PATIENT);
  await tries(CLOSED, true);
});
