/** What the numbers depend on: the machine, its kernel, and what else it had to do meanwhile. */
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { capture } from "../../src/cluster/process.ts";
import type { BenchCluster } from "./cluster.ts";
import { ROOT } from "./config.ts";
import { agentsOf } from "./memory.ts";

export interface Machine {
  readonly kernel: string;
  readonly processors: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly commit: string;
  /** When the measured agents were started. */
  readonly agentsSince: string;
}

export interface Load {
  /** 1-minute load average, at the start, the highest seen, at the end. */
  readonly start: number;
  readonly highest: number;
  readonly end: number;
  /** Part of the processors' time that the hypervisor gave to others. */
  readonly steal: number;
}

const EVERY_MS = 5_000;

export async function describeMachine(ours: BenchCluster): Promise<Machine> {
  const { stdout: commit } = await capture(["git", "-C", ROOT, "describe", "--always", "--dirty"]);
  const agents = await agentsOf(ours);
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  const started = agents.map(({ pid }) => Date.now() - (uptime - startSeconds(pid)) * 1000);
  return {
    kernel: release(), processors: `${cpus().length} × ${cpus()[0]?.model ?? "?"}`, memoryGiB: Math.round(totalmem() / 2 ** 30), node: process.version,
    commit: commit.trim(), agentsSince: new Date(Math.min(...started)).toISOString(),
  };
}

/** Looks at the load until `stop`. */
export function sampleLoad(): { seen(): Load; stop(): void } {
  const start = loadavg()[0] ?? Number.NaN;
  const before = cpuTimes();
  let highest = start;
  const timer = setInterval(() => (highest = Math.max(highest, loadavg()[0] ?? 0)), EVERY_MS);
  timer.unref();
  return {
    seen: () => {
      const after = cpuTimes();
      return { start, highest, end: loadavg()[0] ?? Number.NaN, steal: (after.steal - before.steal) / (after.all - before.all) };
    },
    stop: () => clearInterval(timer),
  };
}

const QUIET_PART = 0.25;
const QUIET_MS = 3_000;
const QUIET_LIMIT_MS = 180_000;

/** Until the machine has little else to do: pods that have just been started keep kubelet and runtime busy for a while. */
export async function untilQuiet(): Promise<void> {
  for (const end = performance.now() + QUIET_LIMIT_MS; performance.now() < end;) {
    const before = cpuTimes();
    await sleep(QUIET_MS);
    const after = cpuTimes();
    if ((after.busy - before.busy) / (after.all - before.all) < QUIET_PART) return;
  }
}

/** proc_stat(5): user nice system idle iowait irq softirq steal, summed over the processors. */
function cpuTimes(): { readonly all: number; readonly busy: number; readonly steal: number } {
  const fields = (readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "").trim().split(/\s+/).slice(1, 9).map(Number);
  const all = fields.reduce((sum, each) => sum + each, 0);
  return { all, busy: all - (fields[3] ?? 0) - (fields[4] ?? 0), steal: fields[7] ?? 0 };
}

/** Field 22 of proc_pid_stat(5), in clock ticks of 10 ms. */
function startSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) / 100;
}
