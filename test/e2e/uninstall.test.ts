/** Installing beside another CNI and leaving again: files change hands whole, policies and running pods stay. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { cniPlugins } from "../../src/cluster/binaries/catalog.ts";
import { apply, command, CONFIG, get, kubectl, must, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod, podObject, readyPods } from "./harness/pods.ts";
import { enforce, getPolicy, policy, waitCondition } from "./harness/policy.ts";
import { install } from "./harness/setup.ts";

await readyCluster();
const ns = await namespace("uninstall");
const CONFIGURATIONS = join(node(1).disk, "etc/cni/net.d");
const PLUGINS = join(node(1).disk, "opt/cni/bin");
const OTHER = "10-other.conflist";
const files = (): string[] => readdirSync(CONFIGURATIONS).toSorted();
after(async () => {
  for (const name of [OTHER, `${OTHER}.cilium_bak`]) rmSync(join(CONFIGURATIONS, name), { force: true });
  await ns.remove();
});

/** Another CNI on node 1: a point-to-point link, addresses from a range of its own. */
function otherCni(): void {
  mkdirSync(PLUGINS, { recursive: true });
  const { name, version } = cniPlugins();
  for (const plugin of ["ptp", "host-local"]) copyFileSync(join(CONFIG.cacheDir, name, version, plugin), join(PLUGINS, plugin));
  const ipam = { type: "host-local", ranges: [[{ subnet: "10.245.1.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
  writeFileSync(join(CONFIGURATIONS, OTHER), JSON.stringify({ cniVersion: "1.0.0", name: "other", plugins: [{ type: "ptp", ipMasq: false, ipam }] }));
}

const selects = (app: string): object => ({ matchLabels: { app } });

test("leaving and coming back: CNI files, policies, running pods, pods of another CNI", { timeout: 400_000 }, async () => {
  const pods = await createPods(ns.name, [
    { name: "api", node: 1, labels: { app: "api" } },
    { name: "frontend", node: 2, labels: { app: "frontend" } },
    { name: "other", node: 2, labels: { app: "other" } },
  ]);
  const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
  const judge = async (): Promise<void> => {
    await pod("frontend").reaches("tcp", pod("api").ipv4, 8080);
    await pod("other").isCutFrom("tcp", pod("api").ipv4, 8080);
  };
  await enforce(ns.name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")] }] }));
  assert.ok(files().includes("05-cilium.conflist"));

  // An agent that stops takes nothing with it.
  await kubectl("-n", "kube-system", "rollout", "restart", "daemonset/cilium");
  assert.ok(files().includes("05-cilium.conflist"));
  await readyCluster();

  await must(["helm", "uninstall", "cilium", "--namespace", "kube-system", "--wait", "--timeout", "120s"]);
  try {
    await waitFor("our CNI file gone", async () => (existsSync(join(CONFIGURATIONS, "05-cilium.conflist")) ? undefined : true), async () => files().join(" "), { timeoutMs: 30_000 });
    assert.equal((await command(["kubectl", "get", "crd", "ciliumnetworkpolicies.cilium.io"])).code, 0, "CRDs stay");
    assert.equal((await getPolicy(ns.name, "api")).metadata.name, "api", "policies stay");
    await judge();
    otherCni();
    await apply(podObject(ns.name, { name: "stranger", node: 1, labels: { app: "api" } }));
    await waitFor("the pod of the other CNI runs", async () => ((await get<{ status: { phase: string } }>("pod", "stranger", "-n", ns.name)).status.phase === "Running" ? true : undefined),
      () => kubectl("describe", "pod", "stranger", "-n", ns.name), { timeoutMs: 60_000 });
  } finally {
    await install();
  }
  await readyCluster();
  assert.deepEqual(files().filter((name) => name.endsWith(".conflist")), ["05-cilium.conflist"]);
  assert.ok(files().includes(`${OTHER}.cilium_bak`), "the other CNI's file is set aside");
  await judge();
  const status = await command(["cilium", "status"]);
  assert.match(status.stdout, new RegExp(`${ns.name}/stranger`), "the pod of the other CNI is listed as unmanaged");
  const object = await waitCondition(ns.name, "api", "Enforced", "True");
  assert.equal(object.status?.endpoints, 1, "an unmanaged pod is never counted");
  assert.equal(object.status?.enforced, "1/1");
  const { fresh } = await createPods(ns.name, [{ name: "fresh", node: 1, labels: { app: "api" } }]);
  await pod("other").isCutFrom("tcp", fresh?.ipv4 ?? "", 8080);
  await readyPods(ns.name, ["fresh"]);
});
