import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, statfsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { type CgroupLayout, cgroupPids } from "./cgroup.ts";
import { type ClusterConfig, clusterPaths, controlNetns, machineLink } from "./config.ts";
import { ClusterError } from "./errors.ts";
import { netnsExists } from "./network.ts";
import { capture, run } from "./process.ts";
import { isClusterDirectory } from "./settings.ts";

/** What is known of the machine before anything is made on it. The judgement below is a function of this alone. */
export interface MachineFacts {
  readonly isRoot: boolean;
  readonly missingCommands: readonly string[];
  readonly cgroups: CgroupLayout;
  readonly hasIpv6: boolean;
  readonly routes: readonly Route[];
  /** `iptables -S` of the machine's filter table; empty where there is none. */
  readonly firewall: string;
  readonly disk: { readonly freeBytes: number; readonly isOverlay: boolean };
  /** inotify(7) instances of all processes of root, and how many it may have. */
  readonly inotify: { readonly used: number; readonly limit: number };
  /** The directory of a cluster of our name that is on the machine, when it is not ours; empty when nothing tells it. */
  readonly foreignCluster: string | undefined;
  /** The directory holds files of somebody else. */
  readonly foreignDirectory: boolean;
  /** Our directory already holds a cluster. */
  readonly isRunning: boolean;
}

export interface Route {
  readonly dst: string;
  readonly dev?: string;
}

const COMMANDS = ["ip", "nsenter", "unshare", "sysctl", "containerd", "ctr", "runc", "openssl", "iptables", "conntrack", "clang-19", "busybox", "tar", "install", "ldd", "bash"];
const OVERLAYFS_MAGIC = 0x794c7630; // statfs(2)
/** Directories of which a node sees a copy or an empty one of its own (node-boot.sh): its disk cannot be below them. */
const NODE_PRIVATE_DIRS = ["/etc", "/opt", "/usr/lib", "/lib", "/var/lib", "/var/log", "/run", "/var/run", "/sys", "/proc"];
const MIB = 1024 * 1024;
const CLUSTER_MIB = 400;
const NODE_MIB = 400;
/** Counted on a running cluster: controller manager 7, API server 6; kubelet 6, containerd 1, kube-proxy 1; and some to spare. */
const CONTROL_INOTIFY = 15;
const NODE_INOTIFY = 10;

/** Stops with the first reason why no cluster can be made here; returns what the user should know otherwise. */
export async function preflight(config: ClusterConfig, layout: CgroupLayout): Promise<string[]> {
  return judge(config, await machineFacts(config, layout));
}

export function judge(config: ClusterConfig, facts: MachineFacts): string[] {
  requireRoot(facts.isRoot);
  const problem = [commands, directory, cgroupMounts, ipv6, foreignCluster, subnet, diskSpace, inotifyInstances].map((check) => check(facts, config)).find((each) => each !== undefined);
  if (problem !== undefined) throw problem;
  return [cgroupNote(facts), ...firewallNotes(facts, config)].filter((note) => note !== undefined);
}

/** For commands that change a cluster without making one. */
export function requireRoot(isRoot: boolean): void {
  if (!isRoot) throw new ClusterError("not root: namespaces, mounts and cgroups need it", "run it as root, for example sudo make cluster");
}

type Check = (facts: MachineFacts, config: ClusterConfig) => ClusterError | undefined;

const commands: Check = ({ missingCommands }) =>
  missingCommands.length === 0 ? undefined : new ClusterError(`not installed: ${missingCommands.join(", ")}`, "run make setup");

const directory: Check = ({ disk, foreignDirectory }, { dir, cacheDir }) => {
  if (foreignDirectory) return new ClusterError(`the cluster's directory ${dir} holds files that are not a cluster's`, "choose a new or an empty one with CLUSTER_DIR");
  const covered = NODE_PRIVATE_DIRS.find((each) => isBelow(dir, each));
  if (covered !== undefined) return new ClusterError(`the cluster's directory ${dir} is below ${covered}, which each node replaces by its own`, "choose another, for example make cluster CLUSTER_DIR=/var/tmp/cluster");
  if (isBelow(cacheDir, "/run")) return new ClusterError(`the cache ${cacheDir} is below /run, which each node replaces by its own`, "set XDG_CACHE_HOME to another directory");
  if (disk.isOverlay) return new ClusterError(`the cluster's directory ${dir} is on overlayfs, which containerd cannot use`, "choose one on a disk or tmpfs, for example make cluster CLUSTER_DIR=/dev/shm/cluster");
  return undefined;
};

function isBelow(path: string, dir: string): boolean {
  return `${path}/`.startsWith(`${dir}/`);
}

const cgroupMounts: Check = ({ cgroups }) =>
  cgroups.hierarchies.length > 0 ? undefined : new ClusterError("no cgroup hierarchy is mounted below /sys/fs/cgroup", "mount -t cgroup2 cgroup2 /sys/fs/cgroup");

const ipv6: Check = ({ hasIpv6 }) =>
  hasIpv6 ? undefined : new ClusterError("the kernel has IPv6 switched off, and the cluster is dual stack", "boot without ipv6.disable=1");

const foreignCluster: Check = ({ foreignCluster: owner }, { name, dir }) => {
  if (owner === undefined) return undefined;
  const [where, remedy] = owner === "" ? [`but not in ${dir}`, "make cluster-down"] : [`made in ${owner}`, `make cluster-down CLUSTER_DIR=${owner}`];
  return new ClusterError(`a cluster named ${name} is on this machine, ${where}`, `${remedy}, or choose CLUSTER_NAME, CLUSTER_SUBNET and CLUSTER_SUBNET6 of your own`);
};

const subnet: Check = ({ routes }, config) => {
  const ours = [`${config.subnet4}.0/24`, `${config.subnet6}::/64`];
  const taken = routes.find((route) => route.dev !== machineLink(config) && ours.some((each) => overlaps(route.dst, each)));
  return taken && new ClusterError(`the subnet ${ours.find((each) => overlaps(taken.dst, each))} is taken: this machine routes ${taken.dst} to ${taken.dev ?? "another place"}`,
    "choose another, for example make cluster CLUSTER_SUBNET=172.30.7.0/24 CLUSTER_SUBNET6=fd00:172:30:7::/64");
};

const diskSpace: Check = ({ disk, isRunning }, { nodes, dir }) => {
  const needed = CLUSTER_MIB + NODE_MIB * nodes;
  const free = Math.floor(disk.freeBytes / MIB);
  return isRunning || free >= needed ? undefined
    : new ClusterError(`disk full: ${free} MiB free at ${dir}, and ${nodes} nodes need ${needed} MiB`, "free space, ask for fewer NODES, or set CLUSTER_DIR to a larger disk");
};

const inotifyInstances: Check = ({ inotify, isRunning }, { nodes }) => {
  const needed = CONTROL_INOTIFY + NODE_INOTIFY * nodes;
  return isRunning || inotify.used + needed <= inotify.limit ? undefined
    : new ClusterError(`too few inotify instances: ${inotify.used} of ${inotify.limit} are in use, and ${nodes} nodes need ${needed}`, "sysctl -w fs.inotify.max_user_instances=1024, or end what uses them");
};

function cgroupNote({ cgroups }: MachineFacts): string | undefined {
  return cgroups.kind === "unified" ? "cgroup v2 only: pods are accounted for per quality of service, as on a production node" : undefined;
}

function firewallNotes({ firewall }: MachineFacts, config: ClusterConfig): string[] {
  const notes: string[] = [];
  if (/^-P FORWARD DROP$/m.test(firewall)) {
    notes.push("the machine's FORWARD policy is DROP (Docker sets it): no need to change it, the cluster's switch is in a network namespace of its own");
  }
  if (/^-P INPUT DROP$/m.test(firewall) && !/^-A INPUT .*ESTABLISHED.* -j ACCEPT$/m.test(firewall)) {
    notes.push(`the machine's INPUT policy is DROP, so kubectl may get no answer: iptables -I INPUT -i ${machineLink(config)} -j ACCEPT`);
  }
  return notes;
}

/** Whether two prefixes (`10.0.0.0/8`, or one address) share an address; false for different families. */
export function overlaps(a: string, b: string): boolean {
  const [first, second] = [parsePrefix(a), parsePrefix(b)];
  if (first === undefined || second === undefined || first.width !== second.width) return false;
  const shift = BigInt(first.width - Math.min(first.length, second.length));
  return first.value >> shift === second.value >> shift;
}

interface Prefix {
  readonly value: bigint;
  readonly length: number;
  readonly width: number;
}

function parsePrefix(text: string): Prefix | undefined {
  const [address = "", length] = text.split("/");
  const isV6 = address.includes(":");
  const width = isV6 ? 128 : 32;
  const words = isV6 ? ipv6Words(address) : address.split(".").map(Number);
  if (words.length !== (isV6 ? 8 : 4) || words.some(Number.isNaN)) return undefined;
  const value = words.reduce((sum, word) => (sum << BigInt(isV6 ? 16 : 8)) | BigInt(word), 0n);
  return { value, width, length: length === undefined ? width : Number(length) };
}

function ipv6Words(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const words = (part: string): number[] => (part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16)));
  const [before, after] = [words(head), words(tail ?? "")];
  return tail === undefined ? before : [...before, ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => 0), ...after];
}

async function machineFacts(config: ClusterConfig, cgroups: CgroupLayout): Promise<MachineFacts> {
  const missingCommands = COMMANDS.filter((command) => !config.pathDirs.some((dir) => existsSync(join(dir, command))));
  const disk = statfsSync(existingParent(config.dir));
  const isRunning = existsSync(clusterPaths(config).settings);
  return {
    isRoot: process.getuid?.() === 0,
    missingCommands,
    cgroups,
    hasIpv6: existsSync("/proc/sys/net/ipv6"),
    routes: missingCommands.includes("ip") ? [] : await machineRoutes(),
    firewall: missingCommands.includes("iptables") ? "" : (await capture(["iptables", "-S"])).stdout,
    disk: { freeBytes: disk.bavail * disk.bsize, isOverlay: disk.type === OVERLAYFS_MAGIC },
    inotify: { used: inotifyInstancesInUse(), limit: Number(readFileSync("/proc/sys/fs/inotify/max_user_instances", "utf8")) },
    foreignCluster: foreignOwner(config, cgroups, isRunning),
    foreignDirectory: !isClusterDirectory(config),
    isRunning,
  };
}

/** The control plane's programs write their logs into their cluster's directory. */
function foreignOwner(config: ClusterConfig, cgroups: CgroupLayout, isRunning: boolean): string | undefined {
  const daemons = [...cgroupPids(cgroups, config.name, "control")];
  const owners = daemons.map((pid) => readlinkIfAny(`/proc/${pid}/fd/1`)).filter((log) => log.endsWith(".log")).map((log) => dirname(dirname(log)));
  const ours = existsSync(config.dir) ? realpathSync(config.dir) : config.dir;
  const [owner] = owners;
  if (owner !== undefined) return owner === ours ? undefined : owner;
  return !isRunning && (daemons.length > 0 || netnsExists(controlNetns(config))) ? "" : undefined;
}

function readlinkIfAny(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // The process ended meanwhile.
  }
}

function inotifyInstancesInUse(): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => openFiles(`/proc/${pid}/fd`)).filter((target) => target === "anon_inode:inotify").length;
}

function openFiles(dir: string): string[] {
  try {
    return readdirSync(dir).map((name) => readlinkSync(join(dir, name)));
  } catch {
    return []; // The process ended, or closed a file, meanwhile.
  }
}

async function machineRoutes(): Promise<Route[]> {
  const tables = await Promise.all(["-4", "-6"].map((family) => run(["ip", family, "-json", "route", "show"])));
  return tables.flatMap((table) => JSON.parse(table === "" ? "[]" : table) as Route[]).filter((route) => route.dst !== "default");
}

function existingParent(path: string): string {
  let current = resolve(path);
  while (!existsSync(current)) current = resolve(current, "..");
  return current;
}
