/**
 * `make bench-nodes`: what a table of 1,000 nodes costs an agent, encrypted: one more and one less, processor time, memory.
 * The cluster is made for the run and removed after it; NODES.md says what came of it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { CILIUM_ENCRYPTIONS, CILIUM_NODES } from "../../src/kube/index.ts";
import { sideCluster } from "../e2e/harness/side-cluster.ts";
import { BenchCluster, until } from "./cluster.ts";
import { nodesConfig, type NodesConfig, ROOT } from "./config.ts";
import { describeMachine, sampleLoad } from "./machine.ts";
import { agentsOf, memory } from "./memory.ts";
import { NodeWatch } from "./node-watch.ts";
import { type NodeChange, type NodesResults, nodesReport, type Rest } from "./nodes-report.ts";
import { SimulatedCluster } from "./simulated.ts";
import { cpuSecondsOf } from "./traffic.ts";

const WATCHED = "node-1";
const SETTLE_MS = 45_000;
const REST_MS = 60_000;
const APPEAR_MS = 600_000;
/** Between two changes, so that each is one of its own. */
const APART_MS = 1_000;

/** Where nobody is: what is sent to the simulated nodes ends in a device without ARP, whose other end nobody listens to. */
const SINK = "ip link add bench_sink arp off type veth peer name bench_sunk arp off; ip link set bench_sink up; ip link set bench_sunk up; ip route add 198.18.0.0/15 dev bench_sink";

const say = (text: string): void => void process.stderr.write(`bench-nodes: ${new Date().toISOString().slice(11, 19)} ${text}\n`);

async function main(): Promise<void> {
  const size = nodesConfig();
  const side = sideCluster("table", 192, { NODES: "2", CNI: "cilium", KUBE_PROXY: "0" });
  try {
    say("the cluster");
    await side.start();
    await side.install("encryption.enabled=true", "encryption.type=wireguard", "encryption.wireguard.userspace=always");
    const results = await measure(new BenchCluster(side.config), size);
    mkdirSync(join(ROOT, "build/bench"), { recursive: true });
    writeFileSync(join(ROOT, "build/bench/nodes.json"), JSON.stringify(results, null, 1));
    writeFileSync(join(ROOT, "test/bench/NODES.md"), nodesReport(results));
  } finally {
    await side.remove();
  }
}

async function measure(cluster: BenchCluster, size: NodesConfig): Promise<NodesResults> {
  const startedMs = Date.now();
  const load = sampleLoad();
  await until("both nodes encrypt", async () => ((await cluster.client.get(CILIUM_ENCRYPTIONS, { name: "default" }))?.status?.nodes === "2/2" ? true : undefined), APPEAR_MS);
  for (const node of ["node-1", "node-2"]) await cluster.inNode(node, ["sh", "-ec", SINK]);
  const simulated = new SimulatedCluster(cluster, { nodes: size.nodes, policies: 0, apps: 0 });
  const agent = (await agentsOf(cluster)).find(({ node }) => node === WATCHED)?.pid ?? 0;
  const watch = NodeWatch.start(cluster.config, WATCHED, agent);
  try {
    const few = await rest(cluster, agent);
    const all = await becomesKnown(simulated, watch, size.nodes);
    await sleep(SETTLE_MS);
    const many = await rest(cluster, agent);
    say(`${size.changes} changes among them`);
    const changes = await changesOf(cluster, simulated, watch, size.changes);
    return { machine: await describeMachine(cluster), size, startedMs, endedMs: Date.now(), load: load.seen(), allSeconds: all, few, many, changes };
  } finally {
    load.stop();
    watch.stop();
    await simulated.stop();
  }
}

/** How long it took, in seconds, from the first of them until the last one is in the maps. */
async function becomesKnown(simulated: SimulatedCluster, watch: NodeWatch, nodes: number): Promise<number> {
  say(`${nodes} simulated nodes`);
  const begun = performance.now();
  await simulated.prepare();
  await until("the node knows them all", async () => (simulated.nodes.every((node) => watch.has(node)) ? true : undefined), APPEAR_MS);
  return (performance.now() - begun) / 1000;
}

/** What agent and process cost while nothing changes. */
async function rest(cluster: BenchCluster, agent: number): Promise<Rest> {
  const wireguard = (await cluster.processes("k8s-app=cilium-wireguard", "wireguard-go")).filter(({ node }) => node === WATCHED).map(({ pid }) => pid);
  const seconds = (): number[] => [cpuSecondsOf(agent), wireguard.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)];
  const before = seconds();
  await sleep(REST_MS);
  const [ofAgent = Number.NaN, ofWireguard = Number.NaN] = seconds().map((after, index) => ((after - (before[index] ?? Number.NaN)) * 1000) / REST_MS);
  return { agentCpu: ofAgent, wireguardCpu: ofWireguard, memory: await memory(cluster) };
}

/** One goes and comes again, then the next one. */
async function changesOf({ client }: BenchCluster, simulated: SimulatedCluster, watch: NodeWatch, count: number): Promise<readonly NodeChange[]> {
  const changes: NodeChange[] = [];
  for (let index = 0; index < count; index++) {
    const node = simulated.nodes[Math.floor((index >> 1) * (simulated.nodes.length / count))];
    if (node === undefined) throw new Error("there are no simulated nodes");
    const comes = index % 2 === 1;
    const { answered, seen } = await watch.until(node, comes, () => (comes ? simulated.addCiliumNode(node) : client.delete(CILIUM_NODES, { name: node.name })));
    changes.push({ comes, maps: seen.maps - answered, routes: seen.routes - answered, encrypted: seen.encrypted - answered });
    await sleep(APART_MS);
  }
  return changes;
}

try {
  await main();
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
