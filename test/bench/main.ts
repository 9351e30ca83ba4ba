/**
 * `make bench`: our cluster and a plain one (CNI=ptp) beside it on the same machine, measured in turn, and what came of
 * it in RESULTS.md. The peer is made for the run and removed after it; ours is used as it runs, or made when none does.
 */
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { type ClusterConfig, clusterPaths } from "../../src/cluster/config.ts";
import { run } from "../../src/cluster/process.ts";
import { addCounters, addOnce, type AddArm, pluginConfiguration } from "./cni-add.ts";
import { BenchCluster, type Pod, type PodSpec } from "./cluster.ts";
import { benchConfig, type BenchConfig, type Part, ROOT } from "./config.ts";
import { routeThroughWireguard, whileEncrypted, wireguardPod } from "./encryption.ts";
import { describeMachine, sampleLoad, untilQuiet } from "./machine.ts";
import { memory } from "./memory.ts";
import { whileNative } from "./native.ts";
import { policyChanges } from "./policy-change.ts";
import { CLIENT, enforceTrafficPolicies, JUDGED, SERVER } from "./policies.ts";
import { type AddResult, type MemoryResult, type Results, report } from "./report.ts";
import { type Arm, type Kind, type Series, trafficRounds } from "./rounds.ts";
import type { Path } from "./traffic.ts";
import { routeThroughVxlan } from "./vxlan.ts";

const RAW_FILE = join(ROOT, "build/bench/raw.json");
const SETUP_MS = 1_500_000;
/** Pods of our node while CNI ADD is measured, and how long they may take to start. */
const NODE_PODS = 100;
const START_MS = 900_000;

/** What needs the policies of the traffic. */
const TRAFFIC_PARTS: readonly Part[] = ["traffic", "native", "encryption"];

const say = (text: string): void => void process.stderr.write(`bench: ${text}\n`);

async function main(): Promise<void> {
  const config = benchConfig();
  if (process.getuid?.() !== 0) throw new Error("network namespaces of pods are root's: run it as root");
  const ours = await ourCluster(config);
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => reject(new Error(`interrupted by ${signal}`)));
  });
  let peer: BenchCluster | undefined;
  try {
    say("the peer cluster (CNI=ptp)");
    await clusterCommand(config.peer, "up");
    peer = new BenchCluster(config.peer);
    const results = await Promise.race([measureAll(config, ours, peer), interrupted]);
    mkdirSync(join(ROOT, "build/bench"), { recursive: true });
    writeFileSync(RAW_FILE, JSON.stringify(results, null, 1));
    writeFileSync(config.resultsFile, report(results));
    say(`written: ${config.resultsFile}, ${RAW_FILE}`);
    if (results.problems.length > 0) throw new Error(`not all could be measured:\n${results.problems.join("\n")}`);
  } finally {
    await ours.removeNamespace().catch((error: unknown) => say(String(error)));
    if (config.keepPeer) await peer?.removeNamespace().catch((error: unknown) => say(String(error)));
    else await clusterCommand(config.peer, "down");
  }
}

async function measureAll(config: BenchConfig, ours: BenchCluster, peer: BenchCluster): Promise<Results> {
  const startedMs = Date.now();
  const load = sampleLoad();
  const problems: string[] = [];
  /** What one part cannot measure does not cost the others. */
  const measure = async <T>(part: Part, task: () => Promise<T>, nothing: T): Promise<T> => {
    if (!config.parts.has(part)) return nothing;
    say(part);
    try {
      return await task();
    } catch (error) {
      problems.push(`${part}: ${error instanceof Error ? error.message : String(error)}`);
      return nothing;
    }
  };
  try {
    await Promise.all([ours.freshNamespace(), peer.freshNamespace()]);
    const idle = await memory(ours);
    const pods = await startPods(ours, peer);
    const changes = await measure("policy", () => policyChanges(ours, pods.judged, config.policyChanges), []);
    const adds = await measure("cni", () => amongPods(ours, pods.added.ours.node, (present) => cniAdds(config, ours, peer, pods.added, present)), []);
    if (TRAFFIC_PARTS.some((part) => config.parts.has(part))) await enforceTrafficPolicies(ours);
    const traffic = await measure("traffic", () => trafficRounds(pods.paths, config, say), []);
    const native = await measure("native", () => nativeRounds(config, ours, pods.paths["across nodes"].ptp), []);
    const encrypted = await measure("encryption", () => encryptedRounds(config, ours, peer), []);
    const memories = await measure("memory", () => podsInMemory(config, ours, idle), undefined);
    return {
      machine: await describeMachine(ours), rounds: config.rounds, seconds: config.seconds, kubeProxy: { ours: config.ours.kubeProxy, peer: config.peer.kubeProxy },
      startedMs, endedMs: Date.now(), load: load.seen(), traffic: [...traffic, ...native, ...encrypted], changes, adds, memory: memories, problems,
    };
  } finally {
    load.stop();
  }
}

/** The cluster that runs, or a new one with the image and the chart of this checkout. */
async function ourCluster(config: BenchConfig): Promise<BenchCluster> {
  const paths = clusterPaths(config.ours);
  const installed = await run([join(paths.bin, "kubectl"), "--kubeconfig", paths.kubeconfig, "-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=60s"]).catch(() => undefined);
  if (installed === undefined) {
    say("no cluster with our chart runs: it is made (a cold one takes minutes)");
    await run(["make", "-s", "-C", ROOT, "image", "cli"], { timeoutMs: SETUP_MS });
    await run([process.execPath, join(ROOT, "test/e2e/harness/setup.ts")], { timeoutMs: SETUP_MS, cwd: ROOT });
  }
  return new BenchCluster(config.ours);
}

async function clusterCommand(config: ClusterConfig, verb: "up" | "down"): Promise<void> {
  const env = {
    ...process.env, CLUSTER_NAME: config.name, CLUSTER_DIR: config.dir, CLUSTER_SUBNET: `${config.subnet4}.0/24`, CLUSTER_SUBNET6: `${config.subnet6}::/64`,
    NODES: String(config.nodes), K8S: config.kubernetes, CNI: config.cni, KUBE_PROXY: config.kubeProxy ? "1" : "0",
  };
  await promisify(execFile)(process.execPath, [join(ROOT, "src/cluster/main.ts"), verb], { env, timeout: SETUP_MS });
}

interface BenchPods {
  readonly paths: Readonly<Record<"same node" | "across nodes", Readonly<Partial<Record<Arm, Path>> & Record<"ptp", Path>>>>;
  readonly judged: { readonly from: Pod; readonly to: Pod };
  readonly added: { readonly ours: Pod; readonly peer: Pod };
}

const NEAR_NODE = "node-1";
const FAR_NODE = "node-2";
const TRAFFIC_PODS = [
  { name: "client", node: NEAR_NODE, app: CLIENT },
  { name: "near", node: NEAR_NODE, app: SERVER },
  { name: "far", node: FAR_NODE, app: SERVER },
] as const satisfies readonly PodSpec[];

async function startPods(ours: BenchCluster, peer: BenchCluster): Promise<BenchPods> {
  const [[client, near, far, asker, judged], [peerClient, peerNear, peerFar, vxlanClient, vxlanFar]] = await Promise.all([
    ours.startPods([...TRAFFIC_PODS, { name: "asker", node: NEAR_NODE, app: "bench-asker" }, { name: "judged", node: FAR_NODE, app: JUDGED }]),
    peer.startPods([...TRAFFIC_PODS, { name: "vxlan-client", node: NEAR_NODE, app: CLIENT }, { name: "vxlan-far", node: FAR_NODE, app: SERVER }]),
  ]);
  await routeThroughVxlan(peer, vxlanClient, vxlanFar);
  return {
    paths: {
      "same node": { cilium: { from: client, to: near }, ptp: { from: peerClient, to: peerNear } },
      "across nodes": { cilium: { from: client, to: far }, ptp: { from: peerClient, to: peerFar }, vxlan: { from: vxlanClient, to: vxlanFar } },
    },
    judged: { from: asker, to: judged },
    added: { ours: asker, peer: peerClient },
  };
}

/** A client and a server on two nodes. */
async function pair(cluster: BenchCluster, name: string): Promise<Path> {
  const [from, to] = await cluster.startPods([{ name: `${name}-client`, node: NEAR_NODE, app: CLIENT }, { name: `${name}-far`, node: FAR_NODE, app: SERVER }]);
  return { from, to };
}

/** New pods of ours: one that runs keeps the MTU with which it was started. */
async function nativeRounds(config: BenchConfig, ours: BenchCluster, ptp: Path): Promise<readonly Series[]> {
  return await whileNative(ours, async () => trafficRounds({ natively: { cilium: await pair(ours, "native"), ptp } }, config, say));
}

/** No new connections: WireGuard knows none. */
const ENCRYPTED_KINDS = ["stream", "round trips"] as const satisfies readonly Kind[];

async function encryptedRounds(config: BenchConfig, ours: BenchCluster, peer: BenchCluster): Promise<readonly Series[]> {
  await peer.startPods([wireguardPod(NEAR_NODE), wireguardPod(FAR_NODE)]);
  const [plain, tunnelled] = await Promise.all([pair(peer, "wireguard"), pair(peer, "wireguard-vxlan")]);
  const { under, carriers } = await routeThroughWireguard(peer, plain.from, plain.to);
  await routeThroughVxlan(peer, tunnelled.from, tunnelled.to, 1, under);
  return await whileEncrypted(ours, [NEAR_NODE, FAR_NODE], async (own) => {
    const encrypted = await pair(ours, "encrypted");
    await untilQuiet();
    const arms = { "cilium": { ...encrypted, carriers: own }, "wireguard": { ...plain, carriers }, "vxlan in wireguard": { ...tunnelled, carriers } };
    return await trafficRounds({ encrypted: arms }, config, say, ENCRYPTED_KINDS);
  });
}

/** The node has as many pods as the target says. They go before the other parts are measured. */
async function amongPods(ours: BenchCluster, node: string, task: (present: number) => Promise<readonly AddResult[]>): Promise<readonly AddResult[]> {
  const present = await ours.networkedPods(node);
  const names = Array.from({ length: Math.max(0, NODE_PODS - present) }, (_, index) => `full-${index}`);
  try {
    if (names.length > 0) await ours.startPods(names.map((name) => ({ name, node, app: "bench-full" })), START_MS);
    await untilQuiet();
    return await task(await ours.networkedPods(node));
  } finally {
    await ours.removePods(names);
  }
}

async function cniAdds(config: BenchConfig, ours: BenchCluster, peer: BenchCluster, pods: BenchPods["added"], present: number): Promise<readonly AddResult[]> {
  const arms: Readonly<Record<"cilium" | "ptp", AddArm>> = {
    cilium: { cluster: ours, pod: pods.ours, plugin: "cilium-cni", conflist: "05-cilium.conflist" },
    ptp: { cluster: peer, pod: pods.peer, plugin: "ptp", conflist: "10-ptp.conflist" },
  };
  const configurations = { cilium: await pluginConfiguration(arms.cilium), ptp: await pluginConfiguration(arms.ptp) };
  const before = await addCounters(ours, pods.ours.node);
  const samples: AddResult[] = [{ arm: "cilium", samples: [] }, { arm: "ptp", samples: [] }];
  for (let index = 0; index < config.cniAdds; index++) {
    for (const each of index % 2 === 0 ? samples : samples.toReversed()) each.samples.push(await addOnce(arms[each.arm], configurations[each.arm]));
  }
  const after = await addCounters(ours, pods.ours.node);
  return samples.map((each) => (each.arm === "ptp" ? each : { ...each, present, meanWaitMs: ((after.waitSeconds - before.waitSeconds) / (after.count - before.count)) * 1000 }));
}

/** Memory before and after `pods` more pods, and what the agents' metrics say of their real ADDs. */
async function podsInMemory(config: BenchConfig, ours: BenchCluster, idle: MemoryResult["idle"]): Promise<MemoryResult> {
  const nodes = [NEAR_NODE, FAR_NODE];
  const counters = (): Promise<Awaited<ReturnType<typeof addCounters>>[]> => Promise.all(nodes.map((node) => addCounters(ours, node)));
  const before = await counters();
  await ours.startPods(Array.from({ length: config.pods }, (_, index) => ({ name: `many-${index}`, node: nodes[index % nodes.length] ?? NEAR_NODE, app: "bench-many" })));
  const after = await counters();
  const difference = (field: keyof (typeof before)[number]): number => after.reduce((sum, each) => sum + each[field], 0) - before.reduce((sum, each) => sum + each[field], 0);
  const adds = difference("count");
  return { pods: config.pods, idle, loaded: await memory(ours), starts: { adds, ownMs: (difference("ownSeconds") / adds) * 1000, waitMs: (difference("waitSeconds") / adds) * 1000 } };
}

try {
  await main();
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
