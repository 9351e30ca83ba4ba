/**
 * `make bench-scale`: M9 and M11 in a cluster of 10,000 and 50,000 simulated pods around two real nodes. The cluster is
 * made for the run and removed after it; SCALE.md says what came of it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { sideCluster } from "../e2e/harness/side-cluster.ts";
import { BenchCluster } from "./cluster.ts";
import { ROOT, type ScaleConfig, scaleConfig } from "./config.ts";
import { describeMachine, sampleLoad } from "./machine.ts";
import { type Memory, memory } from "./memory.ts";
import { type PolicyChange, policyChanges } from "./policy-change.ts";
import { JUDGED } from "./policies.ts";
import { type ScaleResults, scaleReport } from "./scale-report.ts";
import { SimulatedCluster } from "./simulated.ts";

/** Until garbage of the load is collected and nothing is left to do. */
const SETTLE_MS = 45_000;

const say = (text: string): void => void process.stderr.write(`bench-scale: ${new Date().toISOString().slice(11, 19)} ${text}\n`);

async function measure(cluster: BenchCluster, size: ScaleConfig): Promise<ScaleResults> {
  const startedMs = Date.now();
  const load = sampleLoad();
  const simulated = new SimulatedCluster(cluster, size);
  const at: { pods: number; memory: readonly Memory[] }[] = [];
  const look = async (): Promise<void> => {
    await sleep(SETTLE_MS);
    at.push({ pods: simulated.pods, memory: await memory(cluster) });
  };
  try {
    await cluster.freshNamespace();
    const [from, to] = await cluster.startPods([{ name: "asker", node: "node-1", app: "bench-asker" }, { name: "judged", node: "node-2", app: JUDGED }]);
    say(`${size.changes} policy changes in the empty cluster`);
    const few: readonly PolicyChange[] = await policyChanges(cluster, { from, to }, size.changes);
    await look();
    say(`${size.nodes} simulated nodes, ${size.policies} policies, ${size.pods} pods`);
    await simulated.prepare();
    await simulated.startPods(size.pods);
    await look();
    say(`${size.changes} policy changes among them`);
    const many = await policyChanges(cluster, { from, to }, size.changes);
    say(`${size.endpoints} more endpoints`);
    await simulated.addEndpoints(size.endpoints);
    await look();
    return { machine: await describeMachine(cluster), size, pods: size.pods, startedMs, endedMs: Date.now(), load: load.seen(), few, many, memory: at };
  } finally {
    load.stop();
    await simulated.stop();
  }
}

async function main(): Promise<void> {
  const size = scaleConfig();
  const side = sideCluster("scale", 91, { NODES: "2", CNI: "cilium", KUBE_PROXY: "1" });
  try {
    say("the cluster");
    await side.start();
    await side.install();
    const results = await measure(new BenchCluster(side.config), size);
    mkdirSync(join(ROOT, "build/bench"), { recursive: true });
    writeFileSync(join(ROOT, "build/bench/scale.json"), JSON.stringify(results, null, 1));
    writeFileSync(join(ROOT, "test/bench/SCALE.md"), scaleReport(results));
  } finally {
    await side.remove();
  }
}

try {
  await main();
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
