/**
 * What `make test-e2e` does before the first test: the cluster, our image on its nodes, and the chart installed from a
 * chart repository as a user does it. Each step is quick when it was done before.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { CHART_URL, command, CONFIG, must, NODES, readyCluster, ROOT } from "./cluster.ts";
import { keepSnapshot, keptSnapshot } from "./snapshot.ts";

const IMAGE = join(ROOT, "build/image/cilium.tar");
const LOADED = join(CONFIG.dir, "e2e-image");

/** Loads the image where a node has another one; true when it was loaded. */
async function loadImage(): Promise<boolean> {
  const digest = `${createHash("sha256").update(readFileSync(IMAGE)).digest("hex")} on ${NODES.length}`;
  if (existsSync(LOADED) && readFileSync(LOADED, "utf8") === digest) return false;
  await must(["make", "-s", "-C", ROOT, "cluster-load", `ARCHIVE=${IMAGE}`], { timeoutMs: 300_000 });
  writeFileSync(LOADED, digest);
  return true;
}

export async function install(): Promise<void> {
  await must(["helm", "repo", "add", "--force-update", "cilium", CHART_URL]);
  await must(["helm", "install", "cilium", "cilium/cilium", "--namespace", "kube-system"]);
}

/** What a run that was killed half way has taken away or left behind. */
async function restore(): Promise<void> {
  await must(["kubectl", "label", "nodes", "--all", "kubernetes.io/os=linux", "--overwrite"]);
  await must(["kubectl", "-n", "kube-system", "scale", "deployment/cilium-operator", "--replicas=2"]);
  await must(["kubectl", "-n", "kube-system", "patch", "daemonset/kube-proxy", "--type=merge", "-p", '{"spec":{"template":{"spec":{"nodeSelector":null}}}}']);
  const names = (await must(["kubectl", "get", "namespaces", "-o", "name"])).split("\n").filter((name) => name.startsWith("namespace/e2e-"));
  if (names.length > 0) await must(["kubectl", "delete", "--wait=false", ...names]);
}

async function main(): Promise<void> {
  mkdirSync(join(ROOT, "build/e2e"), { recursive: true });
  await must(["make", "-s", "-C", ROOT, "cluster", "CNI=cilium"], { timeoutMs: 1_200_000 });
  const fresh = await loadImage();
  await must(["make", "-s", "-C", ROOT, "chart-repo"]);
  if ((await command(["helm", "status", "cilium", "--namespace", "kube-system"])).code !== 0) {
    if (keptSnapshot() === undefined) await keepSnapshot();
    await install();
  } else {
    await must(["helm", "repo", "add", "--force-update", "cilium", CHART_URL]);
    await must(["helm", "upgrade", "cilium", "cilium/cilium", "--namespace", "kube-system", "--reset-values"]);
    if (fresh) await must(["kubectl", "-n", "kube-system", "rollout", "restart", "daemonset/cilium", "deployment/cilium-operator"]);
  }
  await restore();
  await readyCluster();
}

if (import.meta.main) await main();
