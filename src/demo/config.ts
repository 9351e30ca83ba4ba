/** The demo's surroundings; the only file of this folder that reads the environment. */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { clusterConfig, clusterPaths } from "../cluster/config.ts";
import { CHART_REPO_PORT } from "../image/config.ts";

export interface DemoConfig {
  readonly root: string;
  /** For the commands of the story: ./bin first on PATH, the cluster's kubeconfig, a Helm home of its own. */
  readonly env: NodeJS.ProcessEnv;
  /** Where `make chart-repo` serves the chart. */
  readonly chartRepo: string;
  /** Nothing was built on this machine yet. */
  readonly cold: boolean;
}

export function demoConfig(env: NodeJS.ProcessEnv = process.env): DemoConfig {
  const root = resolve(import.meta.dirname, "..", "..");
  const cluster = clusterConfig(env);
  const helm = join(root, "build", "demo-helm");
  return {
    root,
    env: {
      ...env,
      PATH: `${join(root, "bin")}:${env["PATH"] ?? ""}`,
      KUBECONFIG: clusterPaths(cluster).kubeconfig,
      HELM_CONFIG_HOME: join(helm, "config"),
      HELM_CACHE_HOME: join(helm, "cache"),
      HELM_DATA_HOME: join(helm, "data"),
    },
    chartRepo: `http://127.0.0.1:${env["CHART_REPO_PORT"] ?? CHART_REPO_PORT}`,
    cold: !filled(join(cluster.cacheDir, "rootfs")) || !filled(join(cluster.cacheDir, "kubernetes")),
  };
}

function filled(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).length > 0;
}
