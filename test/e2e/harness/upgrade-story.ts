/** Pods and policies that stay while one version of the product follows another. */
import assert from "node:assert/strict";

import { command, get, inNode, kubectl, must, namespace, NODES, readyCluster, ROOT, waitFor } from "./cluster.ts";
import type { Version } from "./earlier.ts";
import { createPods, type Pod, type PodSpec, readyPods } from "./pods.ts";
import { enforce, policy } from "./policy.ts";
import { type Counts, traffic } from "./traffic.ts";

const SPECS: readonly PodSpec[] = [
  { name: "api", node: 1, labels: { app: "api" } },
  { name: "api-far", node: 2, labels: { app: "api" } },
  { name: "frontend", node: 2, labels: { app: "frontend" } },
  { name: "frontend-near", node: 1, labels: { app: "frontend" } },
  { name: "other", node: 2, labels: { app: "other" } },
  { name: "other-near", node: 1, labels: { app: "other" } },
];
/** Longer than any upgrade takes; it ends when it is judged. */
const TRAFFIC_SECONDS = 400;

const selects = (app: string): object => ({ matchLabels: { app } });

export interface Kept {
  /** Names of the pinned maps of node-1: each with a hash of the map's layout. */
  readonly maps: readonly string[];
  /** Formats of the node states. */
  readonly formats: readonly number[];
}

export class Story {
  readonly #namespace: string;
  #newPods = 0;

  private constructor(name: string) {
    this.#namespace = name;
  }

  /** Installs the first version, with all images on the nodes, and pods under policy. */
  static async begin(first: Version, further: readonly Version[]): Promise<Story> {
    for (const { image } of [first, ...further]) await must(["make", "-s", "-C", ROOT, "cluster-load", `ARCHIVE=${image}`, `NODES=${NODES.length}`], { timeoutMs: 300_000 });
    await must(["helm", "install", "cilium", first.chart, "--namespace", "kube-system"]);
    await readyCluster();
    const { name } = await namespace("upgrade");
    await createPods(name, SPECS);
    await enforce(name, policy("api", { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")], toPorts: [{ ports: [{ port: "8080" }] }] }] }));
    // What answers them passes because conntrack knows it, by nothing else.
    await enforce(name, policy("askers", { endpointSelector: selects("frontend"), ingress: [] }));
    return new Story(name);
  }

  /** Helm replaces agents and operators, under traffic; afterwards everybody is judged as before, and pods come and go. */
  async upgrade({ chart }: Version): Promise<Counts> {
    const pod = await this.#pods();
    const running = await traffic({ servers: [pod("api"), pod("api-far")], allowed: [pod("frontend"), pod("frontend-near")], forbidden: [pod("other"), pod("other-near")] }, TRAFFIC_SECONDS);
    await must(["helm", "upgrade", "cilium", chart, "--namespace", "kube-system", "--reset-values"]);
    for (const workload of ["daemonset/cilium", "deployment/cilium-operator"]) await rolledOut(workload);
    await readyCluster();
    await this.#rightPodsTalk();
    return running.judge();
  }

  /** A policy that no node state of the first format can say, and that takes nothing from the traffic. */
  async widen(): Promise<void> {
    await enforce(this.#namespace, policy("no-world", { endpointSelector: selects("api"), ingressDeny: [{ fromCIDR: ["203.0.113.0/24"] }] }));
  }

  async #pods(): Promise<(name: string) => Pod> {
    const pods = await readyPods(this.#namespace, SPECS.map(({ name }) => name), 120_000);
    return (name) => pods[name] ?? assert.fail(`no pod ${name}`);
  }

  /** Also those that come only now. */
  async #rightPodsTalk(): Promise<void> {
    const pod = await this.#pods();
    const number = this.#newPods++;
    const fresh = await createPods(this.#namespace, ["frontend", "other"].map((app, index) => ({ name: `${app}-new-${number}`, node: 1 + index, labels: { app } })));
    const asker = (name: string): Pod => fresh[`${name}-new-${number}`] ?? assert.fail(`no new ${name}`);
    for (const address of ["api", "api-far"].flatMap((name) => pod(name).addresses)) {
      for (const from of [pod("frontend"), pod("frontend-near"), asker("frontend")]) await from.reaches("tcp", address, 8080);
      await Promise.all([pod("other"), pod("other-near"), asker("other")].map((from) => from.isCutFrom("tcp", address, 8080)));
    }
    await kubectl("delete", "pod", "-n", this.#namespace, ...Object.keys(fresh), "--timeout=60s");
  }

  /** What there is once the node states have formats as wanted: the operator writes them after its agents said what they read. */
  async kept(isWanted: (format: number) => boolean): Promise<Kept> {
    const formats = await waitFor("node states of the wanted format", async () => {
      const { items } = await get<{ items: { manifest?: { format: number } }[] }>("ciliumnodestates.cilium.io");
      const found = items.flatMap(({ manifest }) => (manifest === undefined ? [] : [manifest.format]));
      return found.length === NODES.length && found.every(isWanted) ? found : undefined;
    }, () => kubectl("get", "ciliumnodestates.cilium.io", "-o", "wide"), { timeoutMs: 120_000 });
    const maps = (await inNode("node-1", ["ls", "/sys/fs/bpf/cilium"])).split("\n").filter((name) => /_[0-9a-f]{8}$/.test(name)).toSorted();
    return { maps, formats };
  }
}

/** A failure says what its processes say. */
async function rolledOut(workload: string): Promise<void> {
  const { code, stderr } = await command(["kubectl", "-n", "kube-system", "rollout", "status", workload, "--timeout=170s"]);
  if (code === 0) return;
  const logs = await command(["kubectl", "-n", "kube-system", "logs", workload, "--all-pods", "--tail=25"]);
  assert.fail(`${stderr}\n${await kubectl("-n", "kube-system", "get", "pods", "-o", "wide")}\n${logs.stdout}`);
}
