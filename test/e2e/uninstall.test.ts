/** Installing beside another CNI and leaving again: files change hands whole, policies and running pods stay. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { cniPlugins } from "../../src/cluster/binaries/catalog.ts";
import { apply, command, CONFIG, get, kubectl, must, namespace, NODES, readyCluster, waitFor } from "./harness/cluster.ts";
import { power, withoutAgent } from "./harness/faults.ts";
import { createPods, type Pod, podObject, readyPods } from "./harness/pods.ts";
import { enforce, getPolicy, policy, waitCondition } from "./harness/policy.ts";
import { install } from "./harness/setup.ts";
import { keptSnapshot, snapshot } from "./harness/snapshot.ts";

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

/** Node by node and kind by kind, so that a failure says where and what. */
async function nothingIsLeft(on: readonly Node[] = NODES): Promise<void> {
  const before = keptSnapshot() ?? assert.fail("no snapshot of before the first install: make cluster-down, then make test-e2e");
  const now = await snapshot(on);
  for (const [node, kinds] of Object.entries(before)) if (node in now) for (const [kind, lines] of Object.entries(kinds)) assert.deepEqual(now[node]?.[kind], lines, `${node}: ${kind}`);
}

/** Pods that lost their network with the uninstall are made anew, as README.md says. */
async function comeBack(installed: () => Promise<void> = install): Promise<void> {
  await installed();
  await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
  await kubectl("-n", "kube-system", "rollout", "restart", "deployment/coredns");
  await kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=360s");
  await readyCluster();
}

async function phase(pod: string): Promise<string> {
  return (await get<{ status: { phase: string } }>("pod", pod, "-n", ns.name)).status.phase;
}

/** A pod of another CNI runs: what was there before has taken over again. */
async function otherTakesOver(pod: string): Promise<void> {
  everywhere([OTHER]);
  for (const node of NODES) assert.equal(readFileSync(join(configurations(node), OTHER), "utf8"), otherText(node), `${node.name} has the other CNI's file back`);
  await apply(podObject(ns.name, { name: pod, node: 1, labels: { app: "api" } }));
  await waitFor("the pod of the other CNI runs", async () => ((await phase(pod)) === "Running" ? true : undefined), () => kubectl("describe", "pod", pod, "-n", ns.name), { timeoutMs: 60_000 });
}

const PODS = [
  { name: "api", node: 1, labels: { app: "api" } },
  { name: "frontend", node: 2, labels: { app: "frontend" } },
  { name: "other", node: 2, labels: { app: "other" } },
] as const;

async function judge(): Promise<void> {
  await kubectl("-n", ns.name, "delete", "pod", "--ignore-not-found", "--grace-period=1", ...PODS.map(({ name }) => name));
  const pods = await createPods(ns.name, PODS);
  const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
  await waitCondition(ns.name, "api", "Enforced", "True");
  await pod("frontend").reaches("tcp", pod("api").ipv4, 8080);
  await pod("other").isCutFrom("tcp", pod("api").ipv4, 8080);
}

test("helm uninstall leaves nothing on any node; the other CNI takes over; policies stay and are in force after an install", { timeout: 1_800_000 }, async () => {
  await createPods(ns.name, PODS);
  await enforce(ns.name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")] }] }));
  await judge();
  everywhere([OURS]);

  // An agent that stops takes nothing with it; one that starts sets the other CNI's file aside.
  for (const node of NODES) otherCni(node);
  await kubectl("-n", "kube-system", "rollout", "restart", "daemonset/cilium");
  for (const node of NODES) assert.ok(files(node).includes(OURS), node.name);
  await readyCluster();
  everywhere([OURS, `${OTHER}.cilium_bak`]);

  await must(["helm", "uninstall", "cilium", "--namespace", "kube-system", "--wait", "--timeout", "180s"]);
  try {
    await nothingIsLeft();
    assert.equal((await command(["kubectl", "get", "crd", "ciliumnetworkpolicies.cilium.io"])).code, 0, "CRDs stay");
    assert.equal((await getPolicy(ns.name, "api")).metadata.name, "api", "policies stay");
    await otherTakesOver("stranger");
  } finally {
    await comeBack();
  }
  everywhere([OURS, `${OTHER}.cilium_bak`]);
  await judge();
  const status = await command(["cilium", "status"]);
  assert.match(status.stdout, new RegExp(`${ns.name}/stranger`), "the pod of the other CNI is listed as unmanaged");
  const object = await waitCondition(ns.name, "api", "Enforced", "True");
  assert.equal(object.status?.endpoints, 1, "an unmanaged pod is never counted");
  assert.equal(object.status?.enforced, "1/1");
});

const node = (number: number): Node => NODES[number - 1] ?? assert.fail(`no node ${number}`);

test("cilium uninstall takes one node that the agents are kept off, and refuses one whose agent runs; the others go on", { timeout: 900_000 }, async () => {
  const refused = await command(["cilium", "uninstall", "--node", "node-1"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /an agent runs on node node-1/);
  const missing = await command(["cilium", "uninstall", "--node", "node-9"]);
  assert.match(missing.stderr, /no node node-9/);
  await enforce(ns.name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")] }] }));
  await judge();
  const agents = await withoutAgent(3);
  try {
    assert.match(await must(["cilium", "uninstall", "--node", "node-3", "--wait-duration", "3m"]), /^1 nodes are done/);
    await nothingIsLeft([node(3)]);
    assert.ok(files(node(1)).includes(OURS) && files(node(2)).includes(OURS), "the other nodes are as they were");
    await judge();
  } finally {
    await comeBack(agents.back);
  }
  assert.ok(files(node(3)).includes(OURS), "the agent that comes back sets the node up again");
  const onThree = (await createPods(ns.name, [{ name: "again", node: 3, labels: { app: "frontend" } }]))["again"] ?? assert.fail("no pod");
  await onThree.reaches("tcp", (await readyPods(ns.name, ["api"]))["api"]?.ipv4 ?? "", 8080);
});

test("cilium uninstall does the same without Helm; a node that is down is named, and done when it is back", { timeout: 1_200_000 }, async () => {
  let isDown = true;
  await power(3, false);
  try {
    const unfinished = await command(["cilium", "uninstall", "--wait-duration", "60s"]);
    assert.equal(unfinished.code, 1, unfinished.stdout);
    assert.match(unfinished.stderr, /these nodes are not done: node-3; the DaemonSet cilium-uninstall stays/);
    await nothingIsLeft([node(1), node(2)]);
    await power(3, true);
    isDown = false;
    assert.match(await must(["cilium", "uninstall", "--wait-duration", "6m"], { timeoutMs: 420_000 }), new RegExp(`^${NODES.length} nodes are done`));
    await nothingIsLeft();
    assert.equal(await kubectl("-n", "kube-system", "get", "all,configmaps,serviceaccounts,roles", "-l", "app.kubernetes.io/part-of=cilium", "-o", "name"), "");
  } finally {
    if (isDown) await power(3, true);
    // The release's record is Helm's own.
    await must(["helm", "uninstall", "cilium", "--namespace", "kube-system", "--wait", "--timeout", "180s"]);
    await comeBack();
  }
  await judge();
});
