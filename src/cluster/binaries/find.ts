import { accessSync, constants, realpathSync } from "node:fs";
import { join } from "node:path";

import { capture } from "../process.ts";
import { isPublished, type Binary, type Project } from "./catalog.ts";
import { downloadProject, type Fetching } from "./download.ts";
import { buildProject } from "./gobuild.ts";

export interface Search {
  readonly cacheDir: string;
  readonly kubeBin: string | undefined;
  readonly pathDirs: readonly string[];
  readonly fetching: Fetching;
  readonly say: (line: string) => void;
}

/** Path of each binary of a project, by its name. */
export type Found = Readonly<Record<string, string>>;

/**
 * Finds every binary of a project: KUBE_BIN and PATH where the version is exactly the wanted one, the cache, the
 * project's own download, a build of its Go module. The last two fill the cache.
 */
export async function findProject(project: Project, search: Search): Promise<Found> {
  const dirs = search.kubeBin === undefined ? search.pathDirs : [search.kubeBin, ...search.pathDirs];
  const cache = join(search.cacheDir, project.name, project.version);
  const found = await located(project, dirs, cache);
  const missing = project.binaries.filter((binary) => found[binary.name] === undefined);
  if (missing.length === 0) return found;
  const isDownloaded = isPublished(project) && (await downloadProject(project, missing, cache, search.fetching, search.say));
  if (!isDownloaded) await buildProject(project, missing, cache, search.say);
  return { ...found, ...Object.fromEntries(missing.map((binary) => [binary.name, join(cache, binary.name)])) };
}

async function located(project: Project, dirs: readonly string[], cache: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const binary of project.binaries) {
    const path = (await matching(binary, dirs)) ?? (isExecutable(join(cache, binary.name)) ? join(cache, binary.name) : undefined);
    if (path !== undefined) found[binary.name] = path;
  }
  return found;
}

async function matching(binary: Binary, dirs: readonly string[]): Promise<string | undefined> {
  for (const dir of dirs) {
    const path = join(dir, binary.name);
    // The program itself: a link that we made in a folder on PATH must never come to point at itself.
    if (isExecutable(path) && (await hasVersion(path, binary))) return realpathSync(path);
  }
  return undefined;
}

export async function hasVersion(path: string, binary: Binary): Promise<boolean> {
  try {
    const { stdout, stderr } = await capture([path, ...binary.versionArgs], { timeoutMs: 10_000 });
    return `${stdout}\n${stderr}\n`.includes(binary.versionText);
  } catch {
    return false; // Not a program that this machine can start.
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
