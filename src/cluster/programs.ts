import { resolve } from "node:path";

import { cniPlugins, coredns, etcd, helm, kubernetes, type Project } from "./binaries/catalog.ts";
import { findProject, type Found } from "./binaries/find.ts";
import { type ClusterConfig, clusterPaths } from "./config.ts";
import type { Progress } from "./progress.ts";

/** A project's server that has not answered by then is taken as out of reach. */
const CONNECT_MS = 3000;

/** Finds, downloads or builds every program of other projects that a cluster is made of. Quick once they are cached. */
export async function findPrograms(config: ClusterConfig, progress: Progress): Promise<Found> {
  // The cluster's own bin directory is on the user's PATH, and holds only links to what is found here.
  const pathDirs = config.pathDirs.filter((dir) => resolve(dir) !== clusterPaths(config).bin);
  const search = { cacheDir: config.cacheDir, kubeBin: config.kubeBin, pathDirs, fetching: { connectMs: CONNECT_MS }, say: (line: string) => progress.say(line) };
  const projects: readonly Project[] = [kubernetes(config.kubernetes), etcd(), helm(), coredns(), cniPlugins()];
  const found: Record<string, string> = {};
  for (const project of projects) Object.assign(found, await findProject(project, search));
  return found;
}
