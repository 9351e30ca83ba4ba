/** What a run measures and how long; the only reader of the environment. */
import { join, resolve } from "node:path";

import { type ClusterConfig, clusterConfig } from "../../src/cluster/config.ts";
import { runningConfig } from "../../src/cluster/settings.ts";

export type Part = "traffic" | "native" | "encryption" | "policy" | "cni" | "memory";
export const PARTS: readonly Part[] = ["traffic", "native", "encryption", "policy", "cni", "memory"];

export interface BenchConfig {
  /** What is measured. */
  readonly parts: ReadonlySet<Part>;
  /** Interleaved rounds of the traffic measurements. */
  readonly rounds: number;
  readonly seconds: { readonly stream: number; readonly roundTrips: number; readonly connections: number };
  /** Policy changes; half of them close, half of them open. */
  readonly policyChanges: number;
  readonly cniAdds: number;
  /** Pods that are started at once, to see what they cost the agent. */
  readonly pods: number;
  readonly ours: ClusterConfig;
  readonly peer: ClusterConfig;
  /** Leave the peer cluster running. */
  readonly keepPeer: boolean;
  readonly resultsFile: string;
}

export const ROOT = resolve(import.meta.dirname, "../..");
const FEW_ROUNDS = 5;

export function benchConfig(env: Readonly<Record<string, string | undefined>> = process.env): BenchConfig {
  const rounds = count(env, "ROUNDS", 10);
  const short = rounds < FEW_ROUNDS; // few and long, or many and short: other work comes and goes by the second
  const ours = runningConfig(clusterConfig({ ...env, CLUSTER_DIR: env["CLUSTER_DIR"] ?? join(ROOT, ".cluster"), CNI: "cilium" }));
  return {
    parts: parts(env["PARTS"] ?? ""),
    rounds,
    seconds: short ? { stream: 3, roundTrips: 2, connections: 2 } : { stream: 2, roundTrips: 1.5, connections: 1.5 },
    policyChanges: short ? 30 : 60,
    cniAdds: short ? 50 : 100,
    pods: short ? 20 : 40,
    ours,
    peer: clusterConfig({
      ...env,
      CLUSTER_NAME: "bench",
      CLUSTER_DIR: env["PEER_DIR"] ?? join(ROOT, ".cluster-bench"),
      CLUSTER_SUBNET: env["PEER_SUBNET"] ?? "172.30.0.0/24",
      CLUSTER_SUBNET6: env["PEER_SUBNET6"] ?? "fd00:172:30:0::/64",
      NODES: "2",
      CNI: "ptp",
      KUBE_PROXY: env["PEER_KUBE_PROXY"] ?? (ours.kubeProxy ? "1" : "0"),
    }),
    keepPeer: env["KEEP_PEER"] === "1",
    resultsFile: resolve(env["RESULTS"] ?? join(ROOT, "test/bench/RESULTS.md")),
  };
}

/** How large the simulated cluster gets. */
export interface ScaleConfig {
  readonly nodes: number;
  readonly policies: number;
  /** Applications, each with an identity of its own. */
  readonly apps: number;
  /** Pods that exist, and then endpoints alone: an agent sees no difference. */
  readonly pods: number;
  readonly endpoints: number;
  /** Policy changes, in the empty cluster and in the full one. */
  readonly changes: number;
}

export function scaleConfig(env: Readonly<Record<string, string | undefined>> = process.env): ScaleConfig {
  const of = (name: string, absent: number): number => count(env, name, absent, 100_000);
  return { nodes: of("SIMULATED_NODES", 200), policies: of("POLICIES", 1000), apps: of("APPS", 1000), pods: of("PODS", 10_000), endpoints: of("ENDPOINTS", 40_000), changes: of("CHANGES", 60) };
}

/** A table of many nodes, and how many of them come and go one by one. */
export interface NodesConfig {
  readonly nodes: number;
  readonly changes: number;
}

export function nodesConfig(env: Readonly<Record<string, string | undefined>> = process.env): NodesConfig {
  return { nodes: count(env, "SIMULATED_NODES", 1000, 10_000), changes: count(env, "CHANGES", 60, 1000) };
}

function parts(text: string): ReadonlySet<Part> {
  const names = text.split(/[ ,]+/).filter((name) => name !== "");
  const found = names.map((name) => {
    const part = PARTS.find((each) => each === name);
    if (part === undefined) throw new Error(`PARTS=${text} is not valid: give some of ${PARTS.join(",")}`);
    return part;
  });
  return new Set(found.length === 0 ? PARTS : found);
}

function count(env: Readonly<Record<string, string | undefined>>, name: string, absent: number, most = 100): number {
  const text = env[name] ?? "";
  const value = text === "" ? absent : Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) throw new Error(`${name}=${text} is not valid: give a number from 1 to ${most}`);
  return value;
}
