/** Things that go wrong, done for real and put back. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { findNode } from "../../../src/cluster/config.ts";
import { isAlive, readPidFile } from "../../../src/cluster/process.ts";
import { CONFIG, get, inNode, kubectl, must, ROOT, shell, waitFor } from "./cluster.ts";
import { containerPid, isReady, type PodObject } from "./pods.ts";

const SYSTEM = "kube-system";

async function agentPods(node: number): Promise<PodObject[]> {
  const { items } = await get<{ items: PodObject[] }>("pods", "-n", SYSTEM, "-l", "k8s-app=cilium");
  return items.filter((item) => item.spec.nodeName === `node-${node}`);
}

export async function agentPod(node: number): Promise<PodObject | undefined> {
  return (await agentPods(node)).find((item) => item.metadata.deletionTimestamp === undefined);
}

/** SIGKILL to the agent's process, as the kernel does when memory is short. */
export async function killAgent(node: number): Promise<void> {
  const agent = await agentPod(node);
  if (agent === undefined) throw new Error(`no agent on node-${node}`);
  process.kill(containerPid(agent), "SIGKILL");
}

/** The agent dies by SIGKILL, and another serves: the kubelet waits longer after each crash, another pod it starts at once. */
export async function agentDies(node: number): Promise<void> {
  const before = await agentPod(node);
  if (before === undefined) throw new Error(`no agent on node-${node}`);
  await killAgent(node);
  await kubectl("-n", "kube-system", "delete", "pod", before.metadata.name, "--grace-period=1", "--wait=false");
  await waitFor(`another agent on node-${node}`, async () => {
    const agent = await agentPod(node);
    return agent !== undefined && agent.metadata.uid !== before.metadata.uid && isReady(agent) ? true : undefined;
  }, () => kubectl("get", "pods", "-n", "kube-system", "-o", "wide"), { timeoutMs: 180_000, everyMs: 500 });
}

interface DaemonSetObject {
  readonly spec: { readonly updateStrategy: object; readonly template: { readonly spec: { readonly affinity?: object } } };
}

/**
 * The DaemonSet is kept off the node until `back`, and its other pods stay as they are. No label does that: the kubelet
 * puts those that it sets itself back with its next status.
 */
export async function withoutAgent(node: number): Promise<{ back(): Promise<void> }> {
  const name = `node-${node}`;
  const { spec } = await get<DaemonSetObject>("daemonset", "cilium", "-n", SYSTEM);
  const { affinity = null } = spec.template.spec;
  const set = async (updateStrategy: object, affinity: object | null): Promise<void> => {
    // Added is also replaced (RFC 6902, section 4.1).
    const change = [
      { op: "add", path: "/spec/updateStrategy", value: updateStrategy },
      { op: "add", path: "/spec/template/spec/affinity", value: affinity },
    ];
    await kubectl("-n", SYSTEM, "patch", "daemonset/cilium", "--type=json", "-p", JSON.stringify(change));
  };
  const elsewhere = { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "NotIn", values: [name] }] };
  await set({ type: "OnDelete" }, { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [elsewhere] } } });
  await waitFor(`no agent on ${name}`, async () => ((await agentPods(node)).length === 0 ? true : undefined), () => kubectl("get", "pods", "-n", SYSTEM, "-o", "wide"));
  // The affinity first: the strategy would replace pods of another template.
  return { back: async () => { await set({ type: "OnDelete" }, affinity); await set(spec.updateStrategy, affinity); } };
}

export async function scaleOperator(replicas: number): Promise<void> {
  await kubectl("-n", SYSTEM, "scale", "deployment/cilium-operator", `--replicas=${replicas}`);
  await waitFor(`${replicas} operators`, async () => {
    const { items } = await get<{ items: PodObject[] }>("pods", "-n", SYSTEM, "-l", "name=cilium-operator");
    return items.length === replicas ? true : undefined;
  }, () => kubectl("get", "pods", "-n", SYSTEM));
}

/** kube-proxy off or on, on all nodes. */
export async function kubeProxy(on: boolean): Promise<void> {
  const selector = on ? null : { "e2e/none": "here" };
  await kubectl("-n", SYSTEM, "patch", "daemonset/kube-proxy", "--type=merge", "-p", JSON.stringify({ spec: { template: { spec: { nodeSelector: selector } } } }));
  if (on) await kubectl("-n", SYSTEM, "rollout", "status", "daemonset/kube-proxy", "--timeout=360s");
  else {
    await waitFor("no kube-proxy", async () => ((await get<{ items: PodObject[] }>("pods", "-n", SYSTEM, "-l", "k8s-app=kube-proxy")).items.length === 0 ? true : undefined),
      () => kubectl("get", "pods", "-n", SYSTEM));
  }
}

/** Cuts the node's power, or starts it again. */
export async function power(node: number, on: boolean): Promise<void> {
  const { name } = findNode(CONFIG, `node-${node}`);
  await must([process.execPath, `${ROOT}/src/cluster/main.ts`, on ? "node-start" : "node-stop", name], { timeoutMs: 180_000, env: { CLUSTER_DIR: CONFIG.dir, CNI: CONFIG.cni, NODES: String(CONFIG.nodes) } });
}

/** SIGKILL to the API server. */
export async function killApiServer(): Promise<void> {
  await killDaemon("kube-apiserver");
}

/** SIGKILL to the node's container runtime. */
export async function killContainerd(node: number): Promise<void> {
  await killDaemon(`node-${node}-containerd`);
}

async function killDaemon(name: string): Promise<void> {
  const running = readPidFile(join(CONFIG.dir, `run/${name}.pid`));
  if (running === undefined) throw new Error(`no ${name} runs`);
  process.kill(running.pid, "SIGKILL");
  while (isAlive(running)) await sleep(50);
}

/** What `make cluster` does about a part that is down. */
export async function repairCluster(): Promise<void> {
  await must(["make", "-s", "-C", ROOT, "cluster", `CNI=${CONFIG.cni}`, `NODES=${CONFIG.nodes}`], { env: { CLUSTER_DIR: CONFIG.dir } });
}

/** What the agent keeps on the node's disk in one of its folders. */
export async function onDisk(node: number, folder: string): Promise<string[]> {
  const { disk } = findNode(CONFIG, `node-${node}`);
  const { stdout } = await shell(`ls -1 ${disk}/var/lib/cilium/${folder} 2>/dev/null`);
  return stdout.split("\n").filter((name) => name !== "");
}

/** Whether an entry of the node's addresses, endpoints or flows holds the IPv4 address. */
export async function kernelKnows(node: string, ipv4: string): Promise<boolean> {
  const dump = ["sh", "-c", "for map in ipcache endpoints flows; do bpftool map dump pinned $(ls -d /sys/fs/bpf/cilium/${map}_*); done | tr -d ' \\n'"];
  return (await inNode(node, dump)).includes(`255,255,${ipv4.split(".").join(",")}]`);
}
