import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

import { type ClusterConfig, clusterPaths } from "./config.ts";
import { ClusterError } from "./errors.ts";

/** What a cluster was made with, in a file of its directory. */
type Settings = Pick<ClusterConfig, "name" | "kubernetes" | "cni" | "kubeProxy" | "podCidrSize" | "subnet4" | "subnet6" | "nodes">;

export function saveSettings(config: ClusterConfig): void {
  const { name, kubernetes, cni, kubeProxy, podCidrSize, subnet4, subnet6, nodes } = config;
  const settings: Settings = { name, kubernetes, cni, kubeProxy, podCidrSize, subnet4, subnet6, nodes };
  writeFileSync(clusterPaths(config).settings, `${JSON.stringify(settings, null, 2)}\n`);
}

/** The configuration of the cluster that is in the directory: what it was made with comes before what is asked for. */
export function runningConfig(config: ClusterConfig): ClusterConfig {
  return { ...config, ...readSettings(config) };
}

/** A running cluster keeps its settings: a second `up` must ask for the same, but for more nodes. */
export function refuseChange(wanted: ClusterConfig): void {
  const running = readSettings(wanted);
  if (running === undefined) return;
  const { nodes, ...fixed } = running;
  for (const [key, value] of Object.entries(fixed)) {
    const asked = wanted[key as keyof typeof fixed];
    if (asked !== value) throw new ClusterError(`the cluster in ${wanted.dir} has ${key} ${String(value)}, not ${String(asked)}`, "make cluster-down first, or ask for the same");
  }
  if (nodes > wanted.nodes) throw new ClusterError(`the cluster in ${wanted.dir} has ${nodes} nodes, not ${wanted.nodes}`, "make cluster-down first; nodes can only be added");
}

/**
 * Whether a directory may be used, and removed, as a cluster's: it has our settings, or nothing but what we make before
 * they are written. So no slip in CLUSTER_DIR removes somebody's files.
 */
export function isClusterDirectory(config: ClusterConfig): boolean {
  if (!existsSync(config.dir)) return true;
  const ours = new Set(Object.values(clusterPaths(config)).map((path) => basename(path)));
  const entries = readdirSync(config.dir);
  return entries.includes(basename(clusterPaths(config).settings)) || entries.every((name) => ours.has(name));
}

function readSettings(config: ClusterConfig): Settings | undefined {
  try {
    return JSON.parse(readFileSync(clusterPaths(config).settings, "utf8")) as Settings;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new ClusterError(`${clusterPaths(config).settings} cannot be read`, "make cluster-down removes it");
  }
}
