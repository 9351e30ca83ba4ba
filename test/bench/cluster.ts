/** One of the two clusters: its API server, its nodes, and pods whose network namespaces we work in. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { BUSYBOX_IMAGE, type ClusterConfig, clusterPaths } from "../../src/cluster/config.ts";
import { nodeExec } from "../../src/cluster/exec.ts";
import { run, type RunOptions } from "../../src/cluster/process.ts";
import { KubeAccess } from "../../src/kube/access.ts";
import { HttpTransport, type KubeObject, KubeClient, NAMESPACES, PODS } from "../../src/kube/index.ts";
import { createLogger } from "../../src/lib/log.ts";

export const NAMESPACE = "bench";
const APPEAR_MS = 120_000;
const REMOVE_MS = 300_000;

export interface PodSpec {
  readonly name: string;
  readonly node: string;
  readonly app: string;
  /** Of its specification, what differs from a pod that only waits. */
  readonly spec?: object;
}

interface PodObject extends KubeObject {
  readonly spec?: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
    readonly containerStatuses?: readonly { readonly containerID?: string; readonly image?: string; readonly imageID?: string; readonly ready?: boolean }[];
  };
}

export interface Pod {
  readonly name: string;
  readonly node: string;
  readonly uid: string;
  readonly ipv4: string;
  /** Path of its network namespace. */
  readonly netns: string;
}

/** A process of a pod that runs in the host's namespaces, such as the agent. */
export interface Daemon {
  readonly pod: string;
  readonly node: string;
  readonly pid: number;
}

export class BenchCluster {
  readonly config: ClusterConfig;
  readonly client: KubeClient;

  constructor(config: ClusterConfig) {
    this.config = config;
    const access = new KubeAccess({ kubeconfig: clusterPaths(config).kubeconfig });
    this.client = new KubeClient(new HttpTransport(access, createLogger({ component: "bench", level: "warn" })));
  }

  /** A namespace that holds nothing of an earlier run. */
  async freshNamespace(): Promise<void> {
    await this.removeNamespace();
    await this.client.create(NAMESPACES, { metadata: { name: NAMESPACE } });
  }

  async removeNamespace(): Promise<void> {
    await this.client.delete(NAMESPACES, { name: NAMESPACE });
    await until(`namespace ${NAMESPACE} is gone`, async () => ((await this.client.get(NAMESPACES, { name: NAMESPACE })) === undefined ? true : undefined));
  }

  /** Starts pods, which only wait when they do not say otherwise, all at once, and returns them in the order of their specifications. */
  async startPods<const S extends readonly PodSpec[]>(specs: S, limitMs = APPEAR_MS): Promise<{ readonly [I in keyof S]: Pod }> {
    await Promise.all(specs.map((spec) => this.client.create(PODS, podObject(spec) as KubeObject)));
    const pods = await until(`pods ${specs.map(({ name }) => name).join(" ")} run`, async () => {
      const { items } = await this.client.list<PodObject>(PODS, { namespace: NAMESPACE });
      const found = specs.map(({ name }) => items.find((item) => item.metadata.name === name));
      const ready = found.filter((item) => item?.status?.phase === "Running" && item.status.containerStatuses?.[0]?.ready === true);
      return ready.length === specs.length ? ready.map((item) => podOf(item as PodObject)) : undefined;
    }, limitMs);
    return pods as { readonly [I in keyof S]: Pod };
  }

  async removePods(names: readonly string[]): Promise<void> {
    for (const name of names) await this.client.delete(PODS, { namespace: NAMESPACE, name });
    await until("the pods are gone", async () => {
      const { items } = await this.client.list<PodObject>(PODS, { namespace: NAMESPACE });
      return items.some(({ metadata }) => names.includes(metadata.name)) ? undefined : true;
    }, REMOVE_MS);
  }

  /** Running pods of the node that have a network of their own. */
  async networkedPods(node: string): Promise<number> {
    const { items } = await this.client.list<PodObject>(PODS, { fieldSelector: `spec.nodeName=${node}` });
    return items.filter(({ spec, status }) => spec?.hostNetwork !== true && status?.phase === "Running").length;
  }

  /** The main processes of the running pods with a label, found by a word of their command line. */
  async daemons(labelSelector: string, commandLine: string): Promise<readonly Daemon[]> {
    const all = await this.processes(labelSelector, commandLine);
    return all.filter(({ pod }, index) => all.findIndex((each) => each.pod === pod) === index);
  }

  /** As `daemons`, all such processes of a pod: at least one in each. */
  async processes(labelSelector: string, commandLine: string, namespace = "kube-system"): Promise<readonly Daemon[]> {
    const { items } = await this.client.list<PodObject>(PODS, { namespace, labelSelector });
    return items.flatMap((item) => {
      const pids = pidsOf(item).filter((each) => fileOf(each, "cmdline").includes(commandLine));
      if (pids.length === 0) throw new Error(`no process ${commandLine} runs in pod ${item.metadata.name}`);
      return pids.map((pid) => ({ pod: item.metadata.name, node: item.spec?.nodeName ?? "", pid }));
    });
  }

  /** Runs a command in a node; any other exit status than 0 is an error. */
  async inNode(node: string, argv: readonly string[], options: RunOptions = {}): Promise<{ readonly stdout: string; readonly stderr: string }> {
    const { code, stdout, stderr } = await nodeExec(node, argv, { config: this.config, timeoutMs: 60_000, ...options });
    if (code !== 0) throw new Error(`${node}: ${argv.join(" ")}: exit status ${code}\n${stdout}${stderr}`);
    return { stdout, stderr };
  }
}

/** The command that runs `argv` in a pod's network, on one processor, before the machine's other work. */
export function inPod(pod: Pod, cpu: number, argv: readonly string[]): readonly string[] {
  return ["nsenter", `--net=${pod.netns}`, "--", "nice", "--adjustment=-20", "taskset", "--cpu-list", String(cpu), ...argv];
}

export async function runInPod(pod: Pod, cpu: number, argv: readonly string[], timeoutMs: number): Promise<string> {
  return await run(inPod(pod, cpu, argv), { timeoutMs });
}

/** Asks until there is an answer. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>, timeoutMs = APPEAR_MS): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadlineMs) throw new Error(`not after ${Math.round(timeoutMs / 1000)} s: ${what}`);
    await sleep(250);
  }
}

function podObject({ name, node, app, spec }: PodSpec): object {
  return {
    metadata: { name, namespace: NAMESPACE, labels: { app } },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": node },
      terminationGracePeriodSeconds: 0,
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      containers: [{ name: "main", image: BUSYBOX_IMAGE, imagePullPolicy: "Never", command: ["sleep", "86400"] }],
      ...spec,
    },
  };
}

function podOf(object: PodObject): Pod {
  const { name, uid = "" } = object.metadata;
  const ipv4 = object.status?.podIPs?.map(({ ip = "" }) => ip).find((ip) => !ip.includes(":"));
  const [pid] = pidsOf(object);
  if (ipv4 === undefined || pid === undefined) throw new Error(`pod ${name} has no IPv4 address or no process`);
  return { name, uid, node: object.spec?.nodeName ?? "", ipv4, netns: `/proc/${pid}/ns/net` };
}

/** Nodes share the machine's process ids, and a cgroup's path names the container. */
function pidsOf(object: PodObject): readonly number[] {
  const ids = object.status?.containerStatuses?.map(({ containerID = "" }) => containerID.replace(/^.*:\/\//, "")) ?? [];
  if (ids.length === 0 || ids.includes("")) throw new Error(`pod ${object.metadata.name} has no container`);
  return readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).filter((pid) => {
    const cgroup = fileOf(Number(pid), "cgroup");
    return ids.some((id) => cgroup.includes(id));
  }).map(Number);
}

/** Empty when the process has ended while we looked. */
function fileOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
