/**
 * A cluster of its own without kube-proxy or another CNI: no service address
 * works, and agent and operator reach the API server by the address that the chart is given.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { clusterConfig, clusterPaths, controlAddresses } from "../../src/cluster/config.ts";
import { nodeExec } from "../../src/cluster/exec.ts";
import { capture, run } from "../../src/cluster/process.ts";
import { ROOT, waitFor } from "./harness/cluster.ts";

const CHART_PORT = "8878";
const work = mkdtempSync("/var/tmp/e2e-no-kube-proxy-");
const SETTINGS = { CLUSTER_NAME: "e2enoprx", CLUSTER_DIR: join(work, "state"), CLUSTER_SUBNET: "172.29.78.0/24", CLUSTER_SUBNET6: "fd00:172:29:4e::/64", NODES: "1", CNI: "none", KUBE_PROXY: "0" };
const config = clusterConfig({ ...process.env, ...SETTINGS });
const paths = clusterPaths(config);
const env = {
  ...SETTINGS, CHART_REPO_PORT: CHART_PORT, KUBECONFIG: paths.kubeconfig, PATH: `${paths.bin}:${process.env["PATH"] ?? ""}`,
  HELM_CONFIG_HOME: join(work, "helm/config"), HELM_CACHE_HOME: join(work, "helm/cache"), HELM_DATA_HOME: join(work, "helm/data"),
};
const make = (...args: string[]): Promise<string> => run(["make", "-s", "-C", ROOT, ...args], { env, timeoutMs: 300_000 });
const kubectl = (...args: string[]): Promise<string> => run(["kubectl", ...args], { env, timeoutMs: 120_000 });

after(async () => {
  await make("cluster-down", "chart-repo-stop");
  rmSync(work, { recursive: true, force: true });
});

test("one node, no kube-proxy: with k8sServiceHost the agents become Ready and pods reach one another", { timeout: 400_000 }, async () => {
  await make("cluster", "NODES=1", "CNI=none", "KUBE_PROXY=0");
  assert.equal(await kubectl("get", "daemonsets", "--all-namespaces", "--output=name"), "");
  await make("cluster-load", `ARCHIVE=${join(ROOT, "build/image/cilium.tar")}`);
  await make("chart-repo");
  await run(["helm", "repo", "add", "cilium", `http://127.0.0.1:${CHART_PORT}`], { env });
  await run(["helm", "install", "cilium", "cilium/cilium", "--namespace", "kube-system", "--set", "operator.replicas=1", "--set", `k8sServiceHost=${controlAddresses(config).ipv4}`], { env });
  await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=100s");
  await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=100s");
  await kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=60s");
  // No service address is rewritten on this node, so nothing can have come that way.
  assert.doesNotMatch((await nodeExec("node-1", ["iptables-save"], { config })).stdout, /KUBE-SVC/);

  await kubectl("create", "deployment", "web", "--image=localhost/busybox:1", "--replicas=2", "--", "sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www");
  await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  const { items } = JSON.parse(await kubectl("get", "pods", "-o", "json")) as { items: { metadata: { name: string }; status: { podIPs: { ip: string }[] } }[] };
  const [from, to] = items;
  assert.ok(from !== undefined && to !== undefined && to.status.podIPs.length === 2);
  for (const { ip } of to.status.podIPs) {
    const url = `http://${ip.includes(":") ? `[${ip}]` : ip}:8080`;
    const answer = async (): Promise<string> => (await capture(["kubectl", "exec", from.metadata.name, "--", "timeout", "5", "wget", "-qO-", url], { env })).stdout.trim();
    await waitFor(`an answer of ${url}`, async () => ((await answer()) === to.metadata.name ? true : undefined), () => kubectl("get", "pods", "-A", "-o", "wide"), { timeoutMs: 15_000 });
  }
});
