/** What agents and operators hold of the machine's memory. */
import { readFileSync } from "node:fs";

import type { BenchCluster, Daemon } from "./cluster.ts";

export interface Memory {
  readonly process: "agent" | "operator";
  readonly node: string;
  /** MiB: resident, and of that private to the process (not pages of files that it shares with the other processes). */
  readonly rss: number;
  readonly anonymous: number;
}

export async function memory(cluster: BenchCluster): Promise<readonly Memory[]> {
  const [agents, operators] = await Promise.all([agentsOf(cluster), cluster.daemons("name=cilium-operator", "operator/main.js")]);
  return [...agents.map((daemon) => memoryOf("agent", daemon)), ...operators.map((daemon) => memoryOf("operator", daemon))];
}

export function agentsOf(cluster: BenchCluster): Promise<readonly Daemon[]> {
  return cluster.daemons("k8s-app=cilium", "agent/main.js");
}

function memoryOf(process: Memory["process"], { node, pid }: Daemon): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mebibytes = (field: string): number => Number(status.match(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m"))?.[1] ?? Number.NaN) / 1024;
  return { process, node, rss: mebibytes("VmRSS"), anonymous: mebibytes("RssAnon") };
}
