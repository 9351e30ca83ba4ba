/** The oldest Kubernetes that the chart's kubeVersion admits; all other files run on the newest that we know. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { apply, ROOT, waitFor } from "./harness/cluster.ts";
import { sideCluster } from "./harness/side-cluster.ts";
import { capture } from "../../src/cluster/process.ts";

const OLDEST = "1.30.4";
const cluster = sideCluster("oldest", 84, { K8S: OLDEST, KUBE_PROXY: "1" });
const { kubectl, env } = cluster;
after(() => cluster.remove());

const busybox = (app: string, script: string): object => ({
  apiVersion: "v1", kind: "Pod", metadata: { name: app, labels: { app } },
  spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sh", "-c", script] }] },
});
const POLICY = {
  apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "api" },
  spec: { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "frontend" } }] }] },
};

test(`Kubernetes ${OLDEST}: the chart installs, a policy is in force and cuts who is not named`, { timeout: 4_500_000 }, async () => {
  const least = /^kubeVersion: ">=(\d+\.\d+)\./m.exec(readFileSync(join(ROOT, "config/helm/cilium/Chart.yaml"), "utf8"))?.[1];
  assert.equal(least, OLDEST.split(".").slice(0, 2).join("."), "the chart's oldest version is the one that is tested");
  await cluster.start();
  assert.match(await kubectl("version"), new RegExp(`Server Version: v${OLDEST.replaceAll(".", "\\.")}`));
  await cluster.install();
  const pods = [busybox("api", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"), busybox("frontend", "exec sleep 3600"), busybox("other", "exec sleep 3600")];
  await apply({ apiVersion: "v1", kind: "List", items: pods }, `--kubeconfig=${env["KUBECONFIG"] ?? ""}`);
  await kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=360s");
  const { items } = JSON.parse(await kubectl("get", "pods", "-l", "app=api", "-o", "json")) as { items: { status: { podIPs: { ip: string }[] } }[] };
  const urls = (items[0]?.status.podIPs ?? []).map(({ ip }) => `http://${ip.includes(":") ? `[${ip}]` : ip}:8080`);
  assert.equal(urls.length, 2);
  const answers = async (from: string, url: string): Promise<boolean> => (await capture(["kubectl", "exec", from, "--", "timeout", "3", "wget", "-qO-", url], { env })).stdout.trim() === "hello";
  for (const from of ["frontend", "other"]) for (const url of urls) await waitFor(`${from} reaches ${url}`, async () => ((await answers(from, url)) ? true : undefined), () => kubectl("get", "pods", "-o", "wide"));

  await apply(POLICY, `--kubeconfig=${env["KUBECONFIG"] ?? ""}`);
  await kubectl("wait", "--for=condition=Enforced", "cnp/api", "--timeout=180s");
  for (const url of urls) {
    assert.ok(await answers("frontend", url));
    assert.ok(!(await answers("other", url)), "whom the policy does not name is cut");
  }
});
