import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** One mounted cgroup hierarchy of the machine. */
export interface Hierarchy {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /** Folder name below /sys/fs/cgroup, empty when cgroup v2 is mounted there itself. */
  readonly folder: string;
  /** Mount options that select the controllers (v1 only), as in `-o cpu,cpuacct` or `-o none,name=systemd`. */
  readonly options: string;
}

/** "unified": cgroup v2 alone; "hybrid": at least one v1 hierarchy, v2 beside it where there is one. */
export type CgroupLayout = { readonly kind: "unified" | "hybrid"; readonly hierarchies: readonly Hierarchy[] };

const CGROUP_ROOT = "/sys/fs/cgroup";
const NOT_CONTROLLERS = new Set(["rw", "ro", "xattr", "clone_children", "noprefix", "nsdelegate", "memory_recursiveprot", "favordynmods"]);

/** Reads /proc/self/mountinfo (proc(5)): ... mountPoint(5) options … " - " type source superOptions. */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const hierarchies: Hierarchy[] = [];
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const mountPoint = before.split(" ")[4] ?? "";
    const [type = "", , superOptions = ""] = after.split(" ");
    if (!mountPoint.startsWith(CGROUP_ROOT) || hierarchies.some((each) => each.mountPoint === mountPoint)) continue;
    const folder = mountPoint.slice(CGROUP_ROOT.length + 1);
    if (type === "cgroup2") hierarchies.push({ version: 2, mountPoint, folder, options: "" });
    if (type === "cgroup") hierarchies.push({ version: 1, mountPoint, folder, options: controllerOptions(superOptions) });
  }
  return { kind: hierarchies.every((each) => each.version === 2) ? "unified" : "hybrid", hierarchies };
}

function controllerOptions(superOptions: string): string {
  const kept = superOptions.split(",").filter((option) => !NOT_CONTROLLERS.has(option) && !option.startsWith("release_agent="));
  return kept.every((option) => option.startsWith("name=")) ? ["none", ...kept].join(",") : kept.join(",");
}

export function machineCgroups(): CgroupLayout {
  return parseCgroupLayout(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The cgroup of one part of the cluster ("control" or a node's name) in each hierarchy. */
export function cgroupDirs(layout: CgroupLayout, cluster: string, part: string): string[] {
  return layout.hierarchies.map((each) => join(each.mountPoint, clusterGroup(cluster), part));
}

function clusterGroup(cluster: string): string {
  return `${cluster}-cluster`;
}

/** Makes the cgroups of one part, ready to be joined. */
export function ensureCgroups(layout: CgroupLayout, cluster: string, part: string): string[] {
  for (const hierarchy of layout.hierarchies) {
    const group = join(hierarchy.mountPoint, clusterGroup(cluster));
    for (const dir of [group, join(group, part)]) {
      mkdirSync(dir, { recursive: true });
      if (hierarchy.version === 1) fillCpuset(dir);
    }
    if (layout.kind === "unified") for (const dir of [hierarchy.mountPoint, group]) delegateControllers(dir);
  }
  return cgroupDirs(layout, cluster, part);
}

/**
 * Moves this process into a cgroup of the cluster, so that `down` finds the commands it runs also when it is killed
 * meanwhile. One hierarchy is enough to be found by. Returns what moves it back and leaves no group behind.
 */
export function enterCommandGroup(layout: CgroupLayout, cluster: string): () => void {
  const hierarchy = layout.hierarchies.find((each) => each.version === 2) ?? layout.hierarchies.find((each) => !each.options.includes("cpuset"));
  if (hierarchy === undefined) return () => undefined;
  const home = join(hierarchy.mountPoint, groupOf(readFileSync("/proc/self/cgroup", "utf8"), hierarchy));
  const parent = join(hierarchy.mountPoint, clusterGroup(cluster));
  const group = join(parent, "commands");
  mkdirSync(group, { recursive: true });
  writeFileSync(join(group, "cgroup.procs"), String(process.pid));
  return () => {
    writeFileSync(join(home, "cgroup.procs"), String(process.pid));
    for (const dir of [group, parent]) {
      try {
        rmdirSync(dir);
      } catch {
        return; // Still in use: by another command, or by the cluster.
      }
    }
  };
}

/** The group that /proc/self/cgroup (cgroups(7)) names for a hierarchy: `0::/path`, or `4:cpu,cpuacct:/path`. */
export function groupOf(procCgroup: string, hierarchy: Hierarchy): string {
  const controllers = hierarchy.version === 2 ? "" : hierarchy.options.replace(/^none,/, "");
  const line = procCgroup.split("\n").find((each) => each.split(":")[1] === controllers);
  return line?.split(":").slice(2).join(":") ?? "/";
}

/** cpuset(7): a new v1 cpuset has no CPUs and no memory nodes, and no process may join it until it has. */
function fillCpuset(dir: string): void {
  for (const name of ["cpuset.cpus", "cpuset.mems"]) {
    const file = join(dir, name);
    if (existsSync(file) && readFileSync(file, "utf8").trim() === "") writeFileSync(file, readFileSync(join(dir, "..", name), "utf8"));
  }
}

/** cgroups(7), v2: a child has the controllers that its parent lists in cgroup.subtree_control. */
function delegateControllers(dir: string): void {
  const offered = readFileSync(join(dir, "cgroup.controllers"), "utf8").trim();
  for (const controller of offered === "" ? [] : offered.split(" ")) {
    try {
      writeFileSync(join(dir, "cgroup.subtree_control"), `+${controller}`);
    } catch {
      // A controller that cannot be delegated here (cpu with real-time processes, for one) is missing for the pods alone.
    }
  }
}

/** Every process in the cluster's cgroups, or in one part's: also those that nobody has a pid file of. */
export function cgroupPids(layout: CgroupLayout, cluster: string, part = ""): Set<number> {
  const pids = new Set<number>();
  for (const dir of cgroupDirs(layout, cluster, part)) {
    for (const group of groupsBottomUp(dir)) {
      for (const pid of readProcs(group)) pids.add(pid);
    }
  }
  return pids;
}

function readProcs(group: string): number[] {
  try {
    return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter((line) => line !== "").map(Number);
  } catch {
    return []; // Removed meanwhile, or a threaded group, whose processes its parent lists.
  }
}

/** Removes the cluster's cgroups, or one part's. Returns those that would not go (a process is still in them). */
export function removeCgroups(layout: CgroupLayout, cluster: string, part = ""): string[] {
  const left: string[] = [];
  for (const dir of cgroupDirs(layout, cluster, part)) {
    for (const group of groupsBottomUp(dir)) {
      try {
        rmdirSync(group);
      } catch {
        left.push(group);
      }
    }
  }
  return left;
}

function groupsBottomUp(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const children = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...children.flatMap((entry) => groupsBottomUp(join(dir, entry.name))), dir];
}
