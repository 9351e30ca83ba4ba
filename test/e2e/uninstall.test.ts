/** Installing beside another CNI and leaving again: files change hands whole, policies and running pods stay. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { cniPlugins } from "../../src/cluster/binaries/catalog.ts";
import { apply, command, CONFIG, get, kubectl, must, namespace, NODES, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod, podObject, readyPods } from "./harness/pods.ts";
import { enforce, getPolicy, policy, waitCondition } from "./harness/policy.ts";
import { install } from "./harness/setup.ts";

await readyCluster();
const ns = await namespace("uninstall");
const OURS = "05-cilium.conflist";
const OTHER = "10-other.conflist";
type Node = (typeof NODES)[number];
const configurations = (node: Node): string => join(node.disk, "etc/cni/net.d");
/** The files that matter here; the runtime has some of its own. */
const files = (node: Node): string[] => readdirSync(configurations(node)).filter((name) => /\.conflist/.test(name)).toSorted();
const everywhere = (expected: readonly string[]): void => NODES.forEach((node) => assert.deepEqual(files(node), expected, node.name));
after(async () => {
  for (const node of NODES) for (const name of [OTHER, `${OTHER}.cilium_bak`]) rmSync(join(configurations(node), name), { force: true });
  await ns.remove();
});

/** Another CNI: point-to-point links, addresses from a range of the node's own. */
function otherText(node: Node): string {
  const subnet = `10.245.${NODES.indexOf(node)}.0/24`;
  const ipam = { type: "host-local", ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] };
  return JSON.stringify({ cniVersion: "1.0.0", name: "other", plugins: [{ type: "ptp", ipMasq: false, ipam }] });
}

function otherCni(node: Node): void {
  const plugins = join(node.disk, "opt/cni/bin");
  mkdirSync(plugins, { recursive: true });
  const { name, version } = cniPlugins();
  for (const plugin of ["ptp", "host-local"]) copyFileSync(join(CONFIG.cacheDir, name, version, plugin), join(plugins, plugin));
  writeFileSync(join(configurations(node), OTHER), otherText(node));
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
  everywhere([OURS]);

  // An agent that stops takes nothing with it; one that starts sets the other CNI's file aside.
  for (const node of NODES) otherCni(node);
  await kubectl("-n", "kube-system", "rollout", "restart", "daemonset/cilium");
  for (const node of NODES) assert.ok(files(node).includes(OURS), node.name);
  await readyCluster();
  everywhere([OURS, `${OTHER}.cilium_bak`]);

  await must(["helm", "uninstall", "cilium", "--namespace", "kube-system", "--wait", "--timeout", "120s"]);
  try {
    const ours = (): Node[] => NODES.filter((node) => existsSync(join(configurations(node), OURS)));
    await waitFor("our CNI file gone", async () => (ours().length === 0 ? true : undefined), async () => ours().map(({ name }) => name).join(" "), { timeoutMs: 30_000 });
    everywhere([OTHER]);
    for (const node of NODES) assert.equal(readFileSync(join(configurations(node), OTHER), "utf8"), otherText(node), `${node.name} has the other CNI's file back`);
    assert.equal((await command(["kubectl", "get", "crd", "ciliumnetworkpolicies.cilium.io"])).code, 0, "CRDs stay");
    assert.equal((await getPolicy(ns.name, "api")).metadata.name, "api", "policies stay");
    await judge();
    await apply(podObject(ns.name, { name: "stranger", node: 1, labels: { app: "api" } }));
    await waitFor("the pod of the other CNI runs", async () => ((await get<{ status: { phase: string } }>("pod", "stranger", "-n", ns.name)).status.phase === "Running" ? true : undefined),
      () => kubectl("describe", "pod", "stranger", "-n", ns.name), { timeoutMs: 60_000 });
  } finally {
    await install();
  }
  await readyCluster();
  everywhere([OURS, `${OTHER}.cilium_bak`]);
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
