/** Where builds find and put things; the only file of this folder that reads the environment. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Search } from "../cluster/binaries/find.ts";
import { clusterConfig } from "../cluster/config.ts";

export interface ImageBuildConfig {
  readonly root: string;
  readonly cache: string;
  readonly version: string;
  readonly archive: string;
}

export function imageBuildConfig(env: NodeJS.ProcessEnv = process.env): ImageBuildConfig {
  const root = repository();
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  return {
    root,
    cache: clusterConfig(env).cacheDir,
    version,
    archive: join(root, "build", "image", "cilium.tar"),
  };
}

export interface ChartRepoConfig {
  readonly chart: string;
  /** What is served: the packed chart and its index. */
  readonly folder: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** Where Helm is looked for. */
  readonly search: Omit<Search, "say">;
}

/** A project's server that has not answered by then is taken as out of reach. */
const CONNECT_MS = 3000;

export const CHART_REPO_PORT = 8879;

/** Repositories on different ports live side by side. */
export function chartRepoConfig(port: number, env: NodeJS.ProcessEnv = process.env): ChartRepoConfig {
  const root = repository();
  const served = join(root, "build", "chart-repo", String(port));
  const { cacheDir, kubeBin, pathDirs } = clusterConfig(env);
  return {
    chart: join(root, "config", "helm", "cilium"),
    folder: served,
    pidFile: `${served}.pid`,
    logFile: `${served}.log`,
    search: { cacheDir, kubeBin, pathDirs, fetching: { connectMs: CONNECT_MS } },
  };
}

export interface ToolsConfig {
  readonly bin: string;
  readonly kubernetesVersion: string;
  readonly search: Omit<Search, "say">;
}

export function toolsConfig(env: NodeJS.ProcessEnv = process.env): ToolsConfig {
  const bin = join(repository(), "bin");
  const { search } = chartRepoConfig(CHART_REPO_PORT, env);
  // Links in bin that lead nowhere, or to an older release, must not be found again.
  const pathDirs = search.pathDirs.filter((dir) => resolve(dir) !== bin);
  return { bin, kubernetesVersion: clusterConfig(env).kubernetes, search: { ...search, pathDirs } };
}

function repository(): string {
  return resolve(import.meta.dirname, "..", "..");
}
