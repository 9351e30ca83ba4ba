/** Versions of before, built from the repository's history: what a cluster has that is upgraded. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { capture, run } from "../../../src/cluster/process.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

export interface Version {
  /** Folder of the Helm chart. */
  readonly chart: string;
  /** OCI archive of the image that the chart names. */
  readonly image: string;
}

export const CURRENT: Version = { chart: join(ROOT, "config/helm/cilium"), image: join(ROOT, "build/image/cilium.tar") };

/** Why these commits cannot be built here; undefined: they can. A shallow clone and a copy without .git have no history. */
export async function whyNotInHistory(...commits: readonly string[]): Promise<string | undefined> {
  for (const commit of commits) {
    const { code } = await capture(["git", "-C", ROOT, "cat-file", "-e", `${commit}^{commit}`]);
    if (code !== 0) return `this clone's history does not have commit ${commit}: git fetch --unshallow`;
  }
  return undefined;
}

/** Chart and image of the commit, under a version of their own, as two images of one name would be one on a node. */
export async function earlier(commit: string): Promise<Version> {
  const folder = join(ROOT, "build/earlier", commit);
  const version: Version = { chart: join(folder, "config/helm/cilium"), image: join(folder, "build/image/cilium.tar") };
  if (existsSync(folder)) return version;
  const fresh = `${folder}.${process.pid}`;
  try {
    mkdirSync(fresh, { recursive: true });
    await run(["git", "-C", ROOT, "archive", "--output", join(fresh, "tree.tar"), commit]);
    await run(["tar", "-C", fresh, "-xf", join(fresh, "tree.tar")]);
    rmSync(join(fresh, "tree.tar"));
    rename(fresh, `0.0.0-${commit.slice(0, 7)}`);
    symlinkSync(join(ROOT, "node_modules"), join(fresh, "node_modules"));
    // What the machine lacks was installed for this checkout; the commit has nothing to install.
    await run(["make", "-s", "-C", fresh, "-o", "node_modules/.setup", "image"], { timeoutMs: 400_000 });
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return version;
}

function rename(tree: string, version: string): void {
  const manifest = join(tree, "package.json");
  writeFileSync(manifest, JSON.stringify({ ...(JSON.parse(readFileSync(manifest, "utf8")) as object), version }));
  const chart = join(tree, "config/helm/cilium/Chart.yaml");
  writeFileSync(chart, readFileSync(chart, "utf8").replaceAll(/^(version|appVersion): .*$/gm, `$1: ${version}`));
}
