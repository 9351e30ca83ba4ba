/**
 * The CNI plugin called as the runtime calls it, from its start to its end, with a new network namespace each time.
 * Our plugin gets the name of a pod that exists and whose identity and rule set are on the node; what ADD waited for
 * them all the same is in the agent's metric and is reported beside.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";

import type { BenchCluster, Pod } from "./cluster.ts";
import { NAMESPACE } from "./cluster.ts";
import { ROOT } from "./config.ts";

export interface AddArm {
  readonly cluster: BenchCluster;
  readonly pod: Pod;
  /** Name of the plugin's program, and the file that configures it. */
  readonly plugin: string;
  readonly conflist: string;
}

/** Milliseconds of ADD and of DEL. */
export interface AddSample {
  readonly add: number;
  readonly del: number;
}

const TIMED = join(ROOT, "build/bench/timed");
const BIN = "/opt/cni/bin";
const CONFIG_DIRECTORY = "/etc/cni/net.d";

interface ConfList {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly (object & { readonly ipam?: { readonly ranges?: readonly unknown[]; readonly routes?: readonly unknown[] } })[];
}

/**
 * The network configuration of the list's first plugin, as the runtime hands it over (CNI specification 1.0, section 3).
 * The reference plugins get their first range, IPv4, only: with an IPv6 address they wait for duplicate address
 * detection (RFC 4862), which takes nearly two seconds and would make the comparison too easy.
 */
export async function pluginConfiguration({ cluster, pod, conflist }: AddArm): Promise<string> {
  const { stdout } = await cluster.inNode(pod.node, ["cat", `${CONFIG_DIRECTORY}/${conflist}`]);
  const { name, cniVersion, plugins } = JSON.parse(stdout) as ConfList;
  const [plugin] = plugins;
  const ipam = plugin?.ipam;
  const ipv4 = ipam === undefined ? {} : { ipam: { ...ipam, ranges: ipam.ranges?.slice(0, 1), routes: ipam.routes?.slice(0, 1) } };
  return JSON.stringify({ ...plugin, ...ipv4, name, cniVersion });
}

export async function addOnce(arm: AddArm, configuration: string): Promise<AddSample> {
  const { cluster, pod } = arm;
  const container = randomBytes(16).toString("hex");
  const netns = `bench-${container.slice(0, 8)}`;
  await cluster.inNode(pod.node, ["ip", "netns", "add", netns]);
  try {
    const add = await call(arm, "ADD", container, netns, configuration);
    return { add, del: await call(arm, "DEL", container, netns, configuration) };
  } finally {
    await cluster.inNode(pod.node, ["ip", "netns", "delete", netns]);
  }
}

async function call({ cluster, pod, plugin }: AddArm, command: "ADD" | "DEL", container: string, netns: string, configuration: string): Promise<number> {
  const environment = {
    CNI_COMMAND: command, CNI_CONTAINERID: container, CNI_NETNS: `/run/netns/${netns}`, CNI_IFNAME: "eth0", CNI_PATH: BIN,
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${NAMESPACE};K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid}`,
  };
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const { stderr } = await cluster.inNode(pod.node, ["env", ...variables, TIMED, join(BIN, plugin)], { input: configuration });
  const [, status, ns] = stderr.trim().split("\n").at(-1)?.split(" ") ?? [];
  if (status !== "0" || ns === undefined) throw new Error(`${plugin} ${command}: ${stderr}`);
  return Number(ns) / 1e6;
}

/** Sum and count of the agent's histograms of ADD, from its metrics. */
export interface AddCounters {
  readonly ownSeconds: number;
  readonly waitSeconds: number;
  readonly count: number;
}

export async function addCounters(cluster: BenchCluster, node: string): Promise<AddCounters> {
  const { stdout } = await cluster.inNode(node, ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9962; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"]);
  const figure = (pattern: RegExp): number => Number(stdout.match(pattern)?.[1] ?? 0);
  return {
    ownSeconds: figure(/^cilium_cni_own_seconds_sum\{[^}]*command="ADD"[^}]*outcome="ok"[^}]*\} (\S+)$/m),
    waitSeconds: figure(/^cilium_cni_wait_seconds_sum (\S+)$/m),
    count: figure(/^cilium_cni_own_seconds_count\{[^}]*command="ADD"[^}]*outcome="ok"[^}]*\} (\S+)$/m),
  };
}
