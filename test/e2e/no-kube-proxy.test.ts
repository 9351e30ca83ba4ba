/**
 * A cluster of its own without kube-proxy or another CNI: no service address
 * works, and agent and operator reach the API server by the address that the chart is given.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { nodeExec } from "../../src/cluster/exec.ts";
import { capture } from "../../src/cluster/process.ts";
import { waitFor } from "./harness/cluster.ts";
import { sideCluster } from "./harness/side-cluster.ts";

const cluster = sideCluster("noprx", 78);
const { kubectl, env, config } = cluster;
after(() => cluster.remove());

test("one node, no kube-proxy: with k8sServiceHost the agents become Ready and pods reach one another", { timeout: 1_200_000 }, async () => {
  await cluster.start();
  assert.equal(await kubectl("get", "daemonsets", "--all-namespaces", "--output=name"), "");
  await cluster.install();
  await kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=180s");
  // No service address is rewritten on this node, so nothing can have come that way.
  assert.doesNotMatch((await nodeExec("node-1", ["iptables-save"], { config })).stdout, /KUBE-SVC/);

  await kubectl("create", "deployment", "web", "--image=localhost/busybox:1", "--replicas=2", "--", "sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www");
  await kubectl("rollout", "status", "deployment/web", "--timeout=180s");
  const { items } = JSON.parse(await kubectl("get", "pods", "-o", "json")) as { items: { metadata: { name: string }; status: { podIPs: { ip: string }[] } }[] };
  const [from, to] = items;
  assert.ok(from !== undefined && to !== undefined && to.status.podIPs.length === 2);
  for (const { ip } of to.status.podIPs) {
    const url = `http://${ip.includes(":") ? `[${ip}]` : ip}:8080`;
    const answer = async (): Promise<string> => (await capture(["kubectl", "exec", from.metadata.name, "--", "timeout", "5", "wget", "-qO-", url], { env })).stdout.trim();
    await waitFor(`an answer of ${url}`, async () => ((await answer()) === to.metadata.name ? true : undefined), () => kubectl("get", "pods", "-A", "-o", "wide"), { timeoutMs: 15_000 });
  }
});
