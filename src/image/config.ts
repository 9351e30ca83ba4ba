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
  readonly port: number;
  /** Where Helm is looked for. */
  readonly search: Omit<Search, "say">;
}

/** A project's server that has not answered by then is taken as out of reach. */
const CONNECT_MS = 3000;

export function chartRepoConfig(env: NodeJS.ProcessEnv = process.env): ChartRepoConfig {
  const root = repository();
  const { cacheDir, kubeBin, pathDirs } = clusterConfig(env);
  return {
    chart: join(root, "config", "helm", "cilium"),
    folder: join(root, "build", "chart-repo"),
    pidFile: join(root, "build", "chart-repo.pid"),
    logFile: join(root, "build", "chart-repo.log"),
    port: 8879,
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
  const { search } = chartRepoConfig(env);
  // Links in bin that lead nowhere, or to an older release, must not be found again.
  const pathDirs = search.pathDirs.filter((dir) => resolve(dir) !== bin);
  return { bin, kubernetesVersion: clusterConfig(env).kubernetes, search: { ...search, pathDirs } };
}

function repository(): string {
  return resolve(import.meta.dirname, "..", "..");
}
