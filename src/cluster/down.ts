import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { cgroupPids, machineCgroups, removeCgroups } from "./cgroup.ts";
import { type ClusterConfig, clusterPaths } from "./config.ts";
import { ClusterError } from "./errors.ts";
import { killAll } from "./kill.ts";
import { withLock } from "./lock.ts";
import { removeNetwork } from "./network.ts";
import { readPidFile, run } from "./process.ts";
import type { Progress } from "./progress.ts";
import { isClusterDirectory } from "./settings.ts";

/**
 * Removes everything that `up` made. It finds what is there by cgroup membership and by name, not by what `up` noted,
 * so that it works after a crash at any moment, and for a cluster whose directory is gone. Mounts and pins live in the
 * nodes' own mount namespaces and go with the last process in them.
 */
export async function down(config: ClusterConfig, progress: Progress): Promise<void> {
  await withLock(clusterPaths(config).lock, "make cluster-down", async () => {
    const layout = machineCgroups();
    await progress.step("processes ended", () => killAll(() => [...cgroupPids(layout, config.name), ...pidsOnFile(clusterPaths(config).run)]));
    await progress.step("network removed", () => removeNetwork(config));
    await progress.step("cgroups removed", () => untilEmpty(() => removeCgroups(layout, config.name)));
    await progress.step("files removed", () => removeDirectory(config));
  });
}

function pidsOnFile(dir: string): number[] {
  if (!existsSync(dir)) return [];
  const live = readdirSync(dir).map((name) => readPidFile(join(dir, name)));
  return live.flatMap((identity) => (identity === undefined ? [] : [identity.pid]));
}

/** The kernel takes a moment to let go of a group after its last process. */
async function untilEmpty(remove: () => string[]): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (remove().length === 0) return;
    await sleep(100);
  }
  const left = remove();
  if (left.length > 0) throw new ClusterError(`cgroups ${left.join(", ")} cannot be removed`, "see cgroup.procs in them, end those processes, then run make cluster-down again");
}

async function removeDirectory(config: ClusterConfig): Promise<void> {
  if (!isClusterDirectory(config)) throw new ClusterError(`${config.dir} holds files that are not a cluster's`, "remove it by hand if you want it gone");
  // The nodes mount in namespaces of their own; what somebody mounted below the directory here must not be emptied.
  for (const point of mountsBelow(config.dir)) await run(["umount", point]);
  await rm(config.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

function mountsBelow(dir: string): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8").split("\n").map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point.startsWith(`${dir}/`)).toReversed();
}
