/**
 * `cilium preflight`: whether machines can be nodes. On this machine itself, or on every node of a cluster by running itself in
 * the agents' pods through the API server's exec. What nodes cannot know of each other, the address ranges, is read here.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough, Writable, type Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Exec, type V1Status } from "@kubernetes/client-node";
import { readRouting } from "../compile/index.ts";
import { isNotFound } from "../kube/index.ts";
import { asError, describeError } from "../lib/errors.ts";
import { gather, judge, type Finding, type Plan, type Range } from "../preflight/index.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { HOST_ETC, PREFLIGHT, withPreflightPods } from "./preflight-pods.ts";
import { NODES, PODS, SERVICE_CIDRS, type Node, type Pod } from "./kinds.ts";

export interface NodeReport {
  readonly node: string;
  readonly findings: readonly Finding[];
}

/** The settings that matter here, with what they are when they are not given: the chart's. */
const SETTINGS: Readonly<Record<string, string>> = {
  "routing-mode": "tunnel", "tunnel-port": "", "auto-direct-node-routes": "false", "enable-ipv6": "true", "cni-exclusive": "true", "cni-conf-path": "/etc/cni/net.d",
};
const AGENT = "cilium-agent";
const RUNNING_MS = 60_000;
const AT_ONCE = 16;

export interface LocalOptions {
  /** Folder with one file per setting, as the ConfigMap is mounted; undefined: none. */
  readonly settingsFolder: string | undefined;
  /** `key=value`, stronger than the folder's. */
  readonly settings: readonly string[];
  readonly ranges: readonly Range[];
  readonly bpfObjects: string;
}

export async function preflightHere(options: LocalOptions): Promise<readonly Finding[]> {
  return judge(await gather({ plan: planOf(options), bpfObjects: options.bpfObjects, load: true }));
}

/** Throws CliError or ConfigError that names the setting. */
export function planOf({ settingsFolder, settings, ranges }: Omit<LocalOptions, "bpfObjects">): Plan {
  const given = new Map<string, string>();
  for (const text of settings) {
    const [, key = "", value = ""] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (!Object.hasOwn(SETTINGS, key)) throw new CliError(`--setting ${text}: none of ${Object.keys(SETTINGS).map((name) => `${name}=…`).join(", ")}`);
    given.set(key, value);
  }
  const read = (key: string): string => {
    const file = settingsFolder === undefined ? undefined : join(settingsFolder, key);
    const value = given.get(key) ?? (file !== undefined && existsSync(file) ? readFileSync(file, "utf8").trim() : "");
    return value === "" ? (SETTINGS[key] ?? "") : value;
  };
  const flag = (key: string): boolean => {
    const value = read(key);
    if (value !== "true" && value !== "false") throw new CliError(`${key}: ${JSON.stringify(value)} is neither true nor false`);
    return value === "true";
  };
  const { mode, tunnelPort } = readRouting((key) => (Object.hasOwn(SETTINGS, key) ? read(key) : undefined));
  return { mode, tunnelPort, enableIPv6: flag("enable-ipv6"), cniExclusive: flag("cni-exclusive"), cniConfPath: read("cni-conf-path"), ranges };
}

/** What another process of ours writes into standard input for `preflight --ranges-from-stdin`: one line of JSON. It may stay open. */
export async function readRanges(input: Readable): Promise<readonly Range[]> {
  try {
    for await (const line of createInterface({ input })) return JSON.parse(line) as readonly Range[];
    return [];
  } finally {
    input.destroy();
  }
}

export interface ClusterOptions {
  /** Empty: all. */
  readonly nodes: readonly string[];
  /** undefined: the agents are asked; else pods of this image, which are taken away again. */
  readonly image: string | undefined;
  readonly settings: readonly string[];
  readonly timeoutMs: number;
}

/** Who is asked: a pod on each node, and how. */
interface Asked {
  readonly pods: readonly Pod[];
  readonly container: string;
  readonly settings: readonly string[];
  /** What to say of a node that has none. */
  readonly none: string;
}

/** Every node, or those named. A node that does not answer is in the report, with the reason. */
export async function preflightCluster(cluster: Cluster, options: ClusterOptions): Promise<readonly NodeReport[]> {
  const { client, namespace } = cluster;
  const { items: nodes } = await client.list(NODES);
  const names = nodes.map(({ metadata }) => metadata.name);
  for (const name of options.nodes) if (!names.includes(name)) throw new CliError(`--node ${name}: no such node`);
  const wanted = names.filter((name) => options.nodes.length === 0 || options.nodes.includes(name));
  const ranges = await clusterRanges(cluster, nodes);
  const { image, settings, timeoutMs } = options;
  if (image !== undefined) {
    const none = `no pod of ${image} runs there after ${timeoutMs / 1000} s`;
    const inHostEtc = [`cni-conf-path=${HOST_ETC}/cni/net.d`, ...settings.map((text) => text.replace(/^cni-conf-path=\/etc\//, `cni-conf-path=${HOST_ETC}/`))];
    return await withPreflightPods(cluster, image, timeoutMs, (pods) => askAll(cluster, wanted, { pods, container: PREFLIGHT, settings: inHostEtc, none }, ranges));
  }
  if (settings.length > 0) throw new CliError("--setting is for --offline and --image: agents have their own");
  const { items } = await client.list(PODS, { namespace, labelSelector: "k8s-app=cilium" });
  const pods = items.filter(({ metadata, status }) => metadata.deletionTimestamp === undefined && status?.phase === "Running");
  if (pods.length === 0) throw new CliError(`no agent runs in namespace ${namespace}. Before an installation: \`cilium preflight --image <the chart's image>\`, or \`cilium preflight --offline\` on each node as root`);
  return await askAll(cluster, wanted, { pods, container: AGENT, settings, none: "no agent runs there; `cilium preflight --offline` says it on the node itself, as root" }, ranges);
}

async function askAll(cluster: Cluster, nodes: readonly string[], asked: Asked, ranges: readonly Range[]): Promise<readonly NodeReport[]> {
  const left = [...nodes].sort();
  const reports: NodeReport[] = [];
  const work = async (): Promise<void> => {
    for (let node = left.shift(); node !== undefined; node = left.shift()) reports.push({ node, findings: await askNode(cluster, node, asked, ranges) });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return reports.sort((a, b) => a.node.localeCompare(b.node));
}

async function askNode(cluster: Cluster, node: string, { pods, container, settings, none }: Asked, ranges: readonly Range[]): Promise<readonly Finding[]> {
  const notChecked = (message: string): readonly Finding[] => [{ check: "node", verdict: "unknown", message }];
  const pod = pods.find(({ spec }) => spec?.nodeName === node);
  if (pod === undefined) return notChecked(none);
  try {
    const command = ["cilium", "preflight", "--offline", "--ranges-from-stdin", "-o", "json", ...settings.flatMap((text) => ["--setting", text])];
    const output = await runInPod(cluster, pod, container, command, `${JSON.stringify(ranges)}\n`);
    return (JSON.parse(output) as readonly NodeReport[]).flatMap(({ findings }) => findings);
  } catch (thrown) {
    return notChecked(`its pod ${pod.metadata.name} could not say: ${describeError(thrown)}`);
  }
}

/** The output of a command in a pod; what its exit status means is in what it says. */
async function runInPod(cluster: Cluster, pod: Pod, container: string, command: readonly string[], input: string): Promise<string> {
  const chunks = { out: [] as Buffer[], err: [] as Buffer[] };
  const collect = (into: Buffer[]): Writable => new Writable({
    write(chunk: Buffer, _encoding, done): void {
      into.push(chunk);
      done();
    },
  });
  const stdin = new PassThrough();
  const ended = Promise.withResolvers<V1Status>();
  const limit = new AbortController();
  const socket = await new Exec(cluster.config).exec(pod.metadata.namespace ?? cluster.namespace, pod.metadata.name, container, [...command], collect(chunks.out), collect(chunks.err), stdin, false, ended.resolve);
  socket.onerror = ({ error }: { readonly error?: unknown }) => ended.reject(asError(error));
  // The status comes before the end of the connection; a connection that just ends has none.
  socket.onclose = () => ended.reject(new CliError("the connection closed"));
  stdin.write(input);
  try {
    const late = sleep(RUNNING_MS, undefined, { signal: limit.signal }).then(() => Promise.reject(new CliError(`no answer after ${RUNNING_MS / 1000} s`)));
    late.catch(() => undefined);
    await Promise.race([ended.promise, late]);
  } finally {
    limit.abort();
    socket.close();
  }
  const text = (from: readonly Buffer[]): string => Buffer.concat(from).toString("utf8").trim();
  if (text(chunks.out) === "") throw new CliError(text(chunks.err) || "it said nothing");
  return text(chunks.out);
}

/** Pods and addresses of each node; services by the ranges that the API server says, where it has the kind (Kubernetes 1.33). */
async function clusterRanges(cluster: Cluster, nodes: readonly Node[]): Promise<readonly Range[]> {
  const ofNodes = nodes.flatMap(({ metadata: { name }, spec, status }): Range[] => [
    ...(spec?.podCIDRs ?? []).map((cidr) => ({ of: `pods of ${name}`, kind: "pods" as const, cidr })),
    ...(status?.addresses ?? []).filter(({ type }) => type === "InternalIP").map(({ address }) => ({ of: `node ${name}`, kind: "node" as const, cidr: address })),
  ]);
  const { items } = await cluster.client.list(SERVICE_CIDRS).catch((thrown: unknown) => {
    if (isNotFound(thrown)) return { items: [] };
    throw thrown;
  });
  return [...ofNodes, ...items.flatMap(({ spec }) => (spec?.cidrs ?? []).map((cidr): Range => ({ of: "services", kind: "services", cidr })))];
}
