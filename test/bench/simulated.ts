/**
 * A large cluster around a small real one: nodes and pods that kwok keeps alive, and what their agents would write
 * (CiliumNode, CiliumEndpoint), so that operator and real agents carry the load of all of them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NETWORK_POLICIES, CILIUM_NODES, isConflict, type KubeObject, NAMESPACES, NODES, PODS, UnreachableError } from "../../src/kube/index.ts";
import { clusterPaths } from "../../src/cluster/config.ts";
import { type BenchCluster, until } from "./cluster.ts";
import { ROOT } from "./config.ts";

const KWOK = join(ROOT, "build/bench/kwok");
const STAGES = join(ROOT, "test/bench/kwok-stages.yaml");
const WRITERS = 24;
const TRIES = 20;
const NAMESPACE_COUNT = 50;
const READY_MS = 900_000;
const KWOK_NODE = { "kwok.x-k8s.io/node": "fake" };

export interface Size {
  /** More than the cluster's own pod CIDRs suffice for have such of their own, and keys for encryption. */
  readonly nodes: number;
  readonly policies: number;
  /** Applications, each with an identity of its own. */
  readonly apps: number;
}

export interface FakeNode {
  readonly name: string;
  readonly address: string;
  readonly podCidrs: readonly string[];
  /** WireGuard's public key, behind which nobody answers. */
  readonly key?: string;
}

/** The cluster's /56 has 256 blocks for nodes, of which the real ones need some. */
const MOST_OF_CLUSTER = 240;

export class SimulatedCluster {
  readonly #cluster: BenchCluster;
  /** Only where pods are simulated: Nodes alone need nobody. */
  readonly #kwok: ChildProcess | undefined;
  readonly #size: Size;
  #nodes: readonly FakeNode[] = [];
  #pods = 0;
  #said = "";

  constructor(cluster: BenchCluster, size: Size) {
    this.#cluster = cluster;
    this.#size = size;
    if (size.apps === 0) return;
    const options = [`--config=${STAGES}`, "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds=200"];
    this.#kwok = spawn(KWOK, ["--kubeconfig", clusterPaths(cluster.config).kubeconfig, ...options], { stdio: ["ignore", "ignore", "pipe"] });
    this.#kwok.stderr?.on("data", (chunk: Buffer) => (this.#said = `${this.#said}${chunk.toString()}`.slice(-2000)));
  }

  get nodes(): readonly FakeNode[] {
    return this.#nodes;
  }

  /** What a node's agent would write. */
  async addCiliumNode({ name, address, podCidrs, key }: FakeNode): Promise<void> {
    const encryption = key === undefined ? {} : { encryption: { publicKey: key, port: 51_871 } };
    await this.#cluster.client.create(CILIUM_NODES, { metadata: { name }, spec: { addresses: [{ type: "InternalIP", ip: address }], ipam: { podCIDRs: [...podCidrs] }, ...encryption } } as never);
  }

  /** Endpoints that exist now. */
  get pods(): number {
    return this.#pods;
  }

  async stop(): Promise<void> {
    const kwok = this.#kwok;
    if (kwok === undefined || kwok.exitCode !== null) return;
    const closed = new Promise((resolve) => kwok.once("close", resolve));
    kwok.kill("SIGTERM");
    await closed;
  }

  /** Nodes with pod CIDRs, namespaces, and the policies: every application lets another one in. */
  async prepare(): Promise<void> {
    const { client } = this.#cluster;
    const { nodes, policies, apps } = this.#size;
    const own = nodes > MOST_OF_CLUSTER;
    await inTurn(Array.from({ length: nodes }, (_, i) => i), (i) => client.create(NODES, fakeNode(i, own ? podCidrsOf(i) : undefined) as KubeObject));
    this.#nodes = await until("every simulated node has pod CIDRs", async () => {
      const items = (await client.list<KubeObject & { readonly spec?: { readonly podCIDRs?: readonly string[] } }>(NODES)).items.filter(({ metadata }) => metadata.name.startsWith("kwok-"));
      return items.every(({ spec }) => (spec?.podCIDRs?.length ?? 0) === 2) && items.length === nodes ? items.map(({ metadata, spec }) => ({ name: metadata.name, address: addressOf(Number(metadata.name.slice("kwok-".length))), podCidrs: spec?.podCIDRs ?? [], ...(own ? { key: randomBytes(32).toString("base64") } : {}) })) : undefined;
    }, READY_MS);
    await inTurn(this.#nodes, (node) => this.addCiliumNode(node));
    await inTurn(Array.from({ length: NAMESPACE_COUNT }, (_, i) => i), (i) => client.create(NAMESPACES, { metadata: { name: namespaceOf(i) } }));
    await inTurn(Array.from({ length: policies }, (_, i) => i), (i) => client.create(CILIUM_NETWORK_POLICIES, policyOf(i, apps) as never));
  }

  /** Pods on simulated nodes, Running, with their endpoints, as their agents would write them. */
  async startPods(count: number): Promise<void> {
    const { client } = this.#cluster;
    const numbers = Array.from({ length: count }, (_, i) => this.#pods + i);
    await inTurn(numbers, (i) => client.create(PODS, podOf(i, this.#nodeOf(i).name, this.#size.apps) as KubeObject));
    await until(`${count} simulated pods run`, async () => ((await this.#running()) >= this.#pods + count ? true : undefined), READY_MS);
    await this.#endpoints(numbers, await this.#identities());
    this.#pods += count;
  }

  /** Endpoints alone: for an agent another node's pod is no more than that. */
  async addEndpoints(count: number): Promise<void> {
    await this.#endpoints(Array.from({ length: count }, (_, i) => this.#pods + i), await this.#identities());
    this.#pods += count;
  }

  async #endpoints(numbers: readonly number[], identities: ReadonlyMap<string, number>): Promise<void> {
    const { client } = this.#cluster;
    await inTurn(numbers, (i) => client.create(CILIUM_ENDPOINTS, this.#endpointOf(i, identities)));
  }

  /** Pods go to the nodes by turns, so that no pod CIDR is too small. */
  #nodeOf(pod: number): FakeNode {
    const node = this.#nodes[pod % this.#nodes.length];
    if (node === undefined) throw new Error("no simulated node: prepare comes first");
    return node;
  }

  #endpointOf(i: number, identities: ReadonlyMap<string, number>): never {
    const { name: nodeName, address, podCidrs } = this.#nodeOf(i);
    const host = Math.floor(i / this.#nodes.length) + 2;
    const [ipv4 = "", ipv6 = ""] = podCidrs;
    const app = i % this.#size.apps;
    const identity = identities.get(`${namespaceOf(app)}/app-${app}`);
    if (identity === undefined || host > 254) throw new Error(`no identity or address for simulated pod ${i}`);
    const addressing = [{ ipv4: `${ipv4.slice(0, ipv4.lastIndexOf("."))}.${host}`, ipv6: ipv6.replace(/::\/\d+$/, `::${host.toString(16)}`) }];
    return { metadata: { name: `pod-${i}`, namespace: namespaceOf(app) }, status: { id: host, identity: { id: identity }, state: "ready", networking: { addressing, node: address, nodeName } } } as never;
  }

  async #running(): Promise<number> {
    if (this.#kwok?.exitCode !== null) throw new Error(`kwok ended: ${this.#said}`);
    const { items } = await this.#cluster.client.list<KubeObject & { readonly status?: { readonly phase?: string } }>(PODS, { labelSelector: "bench=simulated" });
    return items.filter(({ status }) => status?.phase === "Running").length;
  }

  /** `namespace/app` -> number, once the operator has given every application one. */
  #identities(): Promise<ReadonlyMap<string, number>> {
    return until("every application has an identity", async () => {
      const { items } = await this.#cluster.client.list<KubeObject & { readonly "security-labels": Readonly<Record<string, string>> }>(CILIUM_IDENTITIES);
      const found = new Map(items.map((item) => [`${item["security-labels"]["k8s:io.kubernetes.pod.namespace"]}/${item["security-labels"]["k8s:app"]}`, Number(item.metadata.name)]));
      return Array.from({ length: this.#size.apps }, (_, app) => found.has(`${namespaceOf(app)}/app-${app}`)).every(Boolean) ? found : undefined;
    }, READY_MS);
  }
}

function namespaceOf(i: number): string {
  return `scale-${i % NAMESPACE_COUNT}`;
}

/** Of the range for benchmarks (RFC 2544); nothing is ever sent there. */
function addressOf(i: number): string {
  return `198.18.${i >> 8}.${i & 255}`;
}

/** Beside the cluster's: the controller manager has none left. */
function podCidrsOf(i: number): readonly string[] {
  return [`10.${128 + (i >> 8)}.${i & 255}.0/24`, `fd00:10:128:${(i + 1).toString(16)}::/64`];
}

function fakeNode(i: number, podCIDRs: readonly string[] | undefined): object {
  return {
    metadata: { name: `kwok-${i}`, annotations: KWOK_NODE, labels: { type: "kwok" } },
    spec: { ...(podCIDRs === undefined ? {} : { podCIDR: podCIDRs[0], podCIDRs }), taints: [{ key: "kwok.x-k8s.io/node", value: "fake", effect: "NoSchedule" }] },
    status: { allocatable: { cpu: "32", memory: "256Gi", pods: "512" }, capacity: { cpu: "32", memory: "256Gi", pods: "512" }, addresses: [{ type: "InternalIP", address: addressOf(i) }] },
  };
}

function podOf(i: number, nodeName: string, apps: number): object {
  const app = i % apps;
  return {
    metadata: { name: `pod-${i}`, namespace: namespaceOf(app), labels: { app: `app-${app}`, bench: "simulated" } },
    spec: { nodeName, tolerations: [{ operator: "Exists" }], automountServiceAccountToken: false, enableServiceLinks: false, containers: [{ name: "main", image: "none" }] },
  };
}

function policyOf(i: number, apps: number): object {
  const app = i % apps;
  const other = (app + NAMESPACE_COUNT) % apps;
  return {
    metadata: { name: `policy-${i}`, namespace: namespaceOf(app) },
    spec: {
      endpointSelector: { matchLabels: { app: `app-${app}` } },
      ingress: [{ fromEndpoints: [{ matchLabels: { app: `app-${other}` } }], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }],
    },
  };
}

/** An API server that is starved by what else the machine does drops connections: the same is asked again, and may be there already. */
async function inTurn<T>(items: readonly T[], task: (item: T) => Promise<unknown>): Promise<void> {
  const rest = items.values();
  await Promise.all(Array.from({ length: WRITERS }, async () => {
    for (const item of rest) await persist(() => task(item));
  }));
}

async function persist(task: () => Promise<unknown>): Promise<void> {
  for (let tries = 1, wasLost = false; ; tries++) {
    try {
      await task();
      return;
    } catch (error) {
      if (wasLost && isConflict(error)) return;
      if (!(error instanceof UnreachableError) || tries === TRIES) throw error;
      wasLost = true;
      await sleep(1000);
    }
  }
}
