import { homedir } from "node:os";
import { join, resolve } from "node:path";

import { ClusterError } from "./errors.ts";

export type CniKind = "cilium" | "ptp" | "none";

/**
 * Everything that tells one local cluster from another. Two clusters may live side by side when name, directory and
 * subnets differ: pod and service ranges are seen inside the cluster's own network namespaces only, so they may be equal.
 */
export interface ClusterConfig {
  readonly name: string;
  /** State of this cluster: keys, logs, etcd, the nodes' disks. Removed by `down`. */
  readonly dir: string;
  readonly nodes: number;
  /** Without the leading v. */
  readonly kubernetes: string;
  readonly cni: CniKind;
  readonly kubeProxy: boolean;
  /** Prefix length of each node's IPv4 pod CIDR. */
  readonly podCidrSize: number;
  /** First three octets of the nodes' /24. */
  readonly subnet4: string;
  /** First four groups of the nodes' /64. */
  readonly subnet6: string;
  readonly cacheDir: string;
  /** A directory with binaries to prefer, when their version fits. */
  readonly kubeBin: string | undefined;
  readonly pathDirs: readonly string[];
}

export const POD_CIDRS = ["10.244.0.0/16", "fd00:10:244::/56"] as const;
export const SERVICE_CIDRS = ["10.96.0.0/16", "fd00:10:96::/112"] as const;
export const API_SERVICE_ADDRESSES = ["10.96.0.1", "fd00:10:96::1"] as const;
export const DNS_SERVICE_ADDRESSES = ["10.96.0.10", "fd00:10:96::a"] as const;
export const API_PORT = 6443;
export const AGENT_NOT_READY_TAINT = "node.cilium.io/agent-not-ready";
export const BUSYBOX_IMAGE = "localhost/busybox:1";

const NAME = /^[a-z][a-z0-9]{0,8}$/;
const VERSION = /^v?(\d+\.\d+\.\d+)$/;
const SUBNET4 = /^((?:\d{1,3}\.){3})0\/24$/;
const SUBNET6 = /^((?:[0-9a-f]{1,4}:){1,3}[0-9a-f]{1,4})::\/64$/;

/** Reads the settings of `make cluster` from the environment; this is the only place that does. */
export function clusterConfig(env: Readonly<Record<string, string | undefined>> = process.env): ClusterConfig {
  return {
    name: matched(env, "CLUSTER_NAME", "cilium", NAME, "at most 9 small letters and digits")[0],
    dir: resolve(setting(env, "CLUSTER_DIR", ".cluster")),
    nodes: nodeCount(setting(env, "NODES", "3")),
    kubernetes: matched(env, "K8S", "1.36.3", VERSION, "a version such as 1.36.3")[1] ?? "",
    cni: choice(env, "CNI", "cilium", ["cilium", "ptp", "none"]),
    kubeProxy: choice(env, "KUBE_PROXY", "1", ["0", "1"]) === "1",
    podCidrSize: Number(choice(env, "POD_CIDR_SIZE", "24", ["24", "25", "26", "27", "28"])),
    subnet4: (matched(env, "CLUSTER_SUBNET", "172.29.0.0/24", SUBNET4, "an IPv4 /24 such as 172.29.0.0/24")[1] ?? "").slice(0, -1),
    subnet6: matched(env, "CLUSTER_SUBNET6", "fd00:172:29:0::/64", SUBNET6, "an IPv6 /64 such as fd00:172:29:0::/64")[1] ?? "",
    cacheDir: join(setting(env, "XDG_CACHE_HOME", join(homedir(), ".cache")), "cilium-dev"),
    kubeBin: env["KUBE_BIN"] === undefined || env["KUBE_BIN"] === "" ? undefined : resolve(env["KUBE_BIN"]),
    pathDirs: (env["PATH"] ?? "").split(":").filter((dir) => dir !== ""),
  };
}

function setting(env: Readonly<Record<string, string | undefined>>, key: string, fallback: string): string {
  const value = env[key];
  return value === undefined || value === "" ? fallback : value;
}

function matched(env: Readonly<Record<string, string | undefined>>, key: string, fallback: string, pattern: RegExp, wanted: string): RegExpMatchArray & { 0: string } {
  const value = setting(env, key, fallback);
  const match = value.match(pattern);
  if (match === null) throw new ClusterError(`${key}=${value} is not valid`, `give ${wanted}`);
  return match;
}

function choice<T extends string>(env: Readonly<Record<string, string | undefined>>, key: string, fallback: T, allowed: readonly T[]): T {
  const value = setting(env, key, fallback);
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new ClusterError(`${key}=${value} is not valid`, `give one of ${allowed.join(", ")}`);
  return found;
}

function nodeCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 100) throw new ClusterError(`NODES=${text} is not valid`, "give a number from 1 to 100");
  return count;
}

/** Names and addresses that follow from the settings; nothing here touches the machine. */
export interface NodeIdentity {
  /** The Kubernetes name. */
  readonly name: string;
  readonly netns: string;
  /** The switch's end of the node's cable. */
  readonly port: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** What the node has on disk: it survives a restart of the node. */
  readonly disk: string;
}

export function nodeIdentities(config: ClusterConfig): readonly NodeIdentity[] {
  return Array.from({ length: config.nodes }, (_, index) => nodeIdentity(config, index + 1));
}

function nodeIdentity(config: ClusterConfig, number: number): NodeIdentity {
  const host = number + 10;
  return {
    name: `node-${number}`,
    netns: `${config.name}-node-${number}`,
    port: `port${number}`,
    mac: `02:c1:00:00:00:${host.toString(16).padStart(2, "0")}`,
    ipv4: `${config.subnet4}.${host}`,
    ipv6: `${config.subnet6}::${host.toString(16)}`,
    disk: join(clusterPaths(config).nodes, `node-${number}`),
  };
}

export function findNode(config: ClusterConfig, name: string): NodeIdentity {
  const node = nodeIdentities(config).find((candidate) => candidate.name === name);
  if (node === undefined) throw new ClusterError(`the cluster has no node ${name}`, `give one of ${nodeIdentities(config).map((each) => each.name).join(", ")}`);
  return node;
}

/** The control plane's end of the network, and the machine's own (where kubectl runs). */
export function controlAddresses(config: ClusterConfig): { readonly ipv4: string; readonly ipv6: string } {
  return { ipv4: `${config.subnet4}.1`, ipv6: `${config.subnet6}::1` };
}

export function machineAddresses(config: ClusterConfig): { readonly ipv4: string; readonly ipv6: string } {
  return { ipv4: `${config.subnet4}.2`, ipv6: `${config.subnet6}::2` };
}

export function controlNetns(config: ClusterConfig): string {
  return `${config.name}-control`;
}

export function machineLink(config: ClusterConfig): string {
  return `${config.name}-host`;
}

export function apiServerUrl(config: ClusterConfig): string {
  return `https://${controlAddresses(config).ipv4}:${API_PORT}`;
}

export interface ClusterPaths {
  readonly kubeconfig: string;
  readonly lock: string;
  readonly settings: string;
  readonly logs: string;
  readonly run: string;
  readonly pki: string;
  readonly etcd: string;
  readonly images: string;
  readonly bin: string;
  readonly nodes: string;
  /** The archives that were loaded, one path a line. */
  readonly loaded: string;
}

export function clusterPaths(config: ClusterConfig): ClusterPaths {
  const at = (name: string): string => join(config.dir, name);
  return {
    kubeconfig: at("kubeconfig"),
    // By name, not by directory: what two commands would fight over is named after the cluster.
    lock: `/run/lock/${config.name}-cluster.lock`,
    settings: at("settings.json"),
    logs: at("logs"),
    run: at("run"),
    pki: at("pki"),
    etcd: at("etcd"),
    images: at("images"),
    bin: at("bin"),
    nodes: at("nodes"),
    loaded: at("loaded"),
  };
}
