/** `cilium status`: is it installed, does it run, what does it manage, is the desired state applied. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { ApiError } from "../kube/errors.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { conditionIs, DAEMON_SETS, DEPLOYMENTS, ENDPOINTS, NODE_STATES, NODES, PODS, type DaemonSet, type Deployment, type Node, type Pod } from "./kinds.ts";

/** What the API server said, as it said it. */
export interface StatusFacts {
  readonly daemonSet: DaemonSet | undefined;
  readonly deployment: Deployment | undefined;
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly endpoints: readonly CiliumEndpoint[];
  readonly nodeStates: readonly CiliumNodeState[];
}

export interface NodeStatus {
  readonly name: string;
  readonly agent: "ready" | "not ready" | "none";
  readonly managed: number;
  readonly pods: number;
  /** Revision that the operator wrote; undefined when it wrote none yet. */
  readonly revision: number | undefined;
  readonly applied: number | undefined;
  readonly failures: readonly string[];
  /** What works still, such as with a kernel map that is nearly full. */
  readonly warnings: readonly string[];
}

export interface Status {
  readonly agents: { readonly ready: number; readonly desired: number };
  readonly operators: { readonly ready: number; readonly desired: number };
  readonly nodes: readonly NodeStatus[];
  readonly images: readonly string[];
  /** `namespace/name` of pods with a network of their own that no agent manages. */
  readonly unmanaged: readonly string[];
  readonly problems: readonly string[];
}

export async function gatherStatus({ client, namespace }: Cluster): Promise<StatusFacts> {
  const all = async <T extends KubeObject>(type: ResourceType<T>): Promise<readonly T[]> => (await client.list(type)).items;
  const [daemonSet, deployment, nodes, pods, endpoints, nodeStates] = await Promise.all([
    client.get(DAEMON_SETS, { namespace, name: "cilium" }),
    client.get(DEPLOYMENTS, { namespace, name: "cilium-operator" }),
    all(NODES),
    all(PODS),
    absentIsEmpty(all(ENDPOINTS)),
    absentIsEmpty(all(NODE_STATES)),
  ]);
  return { daemonSet, deployment, nodes, pods, endpoints, nodeStates };
}

/** Before the operator's first start the kinds do not exist: there is none of them. Other failures stay failures. */
async function absentIsEmpty<T>(list: Promise<readonly T[]>): Promise<readonly T[]> {
  return list.catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  });
}

export function statusOf(facts: StatusFacts, namespace: string): Status {
  const agentPods = facts.pods.filter((pod) => pod.metadata.namespace === namespace && pod.metadata.labels?.["k8s-app"] === "cilium");
  const operatorPods = facts.pods.filter((pod) => pod.metadata.namespace === namespace && pod.metadata.labels?.["name"] === "cilium-operator");
  const networked = facts.pods.filter(hasOwnNetwork);
  const managed = new Set(facts.endpoints.map((each) => `${each.metadata.namespace}/${each.metadata.name}`));
  const nodes = facts.nodes.map((node) => nodeStatus(node.metadata.name, facts, agentPods, networked, managed));
  const status = {
    ...readiness(facts),
    nodes: nodes.toSorted((a, b) => a.name.localeCompare(b.name)),
    images: imagesOf([...agentPods, ...operatorPods]),
    unmanaged: networked.map(keyOf).filter((key) => !managed.has(key)).toSorted(),
  };
  return { ...status, problems: problemsOf(status, facts) };
}

function readiness({ daemonSet, deployment }: StatusFacts): Pick<Status, "agents" | "operators"> {
  const { numberReady = 0, desiredNumberScheduled = 0 } = daemonSet?.status ?? {};
  const { readyReplicas = 0 } = deployment?.status ?? {};
  const { replicas = 0 } = deployment?.spec ?? {};
  return { agents: { ready: numberReady, desired: desiredNumberScheduled }, operators: { ready: readyReplicas, desired: replicas } };
}

function nodeStatus(name: string, facts: StatusFacts, agents: readonly Pod[], networked: readonly Pod[], managed: ReadonlySet<string>): NodeStatus {
  const agent = agents.find((pod) => pod.spec?.nodeName === name && pod.metadata.deletionTimestamp === undefined);
  const pods = networked.filter((pod) => pod.spec?.nodeName === name);
  const states = facts.nodeStates.filter((state) => state.node === name);
  const applied = states.find((state) => state.status !== undefined)?.status;
  return {
    name,
    agent: agent === undefined ? "none" : conditionIs(agent.status?.conditions, "Ready", "True") ? "ready" : "not ready",
    managed: pods.filter((pod) => managed.has(keyOf(pod))).length,
    pods: pods.length,
    revision: states.find((state) => state.manifest !== undefined)?.manifest?.revision,
    applied: applied?.appliedRevision,
    failures: (applied?.failures ?? []).map(({ part, message }) => `${part}: ${message}`),
    warnings: (applied?.warnings ?? []).map(({ part, message }) => `${part}: ${message}`),
  };
}

function problemsOf({ agents, operators, nodes }: Omit<Status, "problems">, facts: StatusFacts): string[] {
  const problems: string[] = [];
  if (facts.daemonSet === undefined) problems.push("no DaemonSet cilium: the chart is not installed in this namespace");
  else if (agents.desired === 0 || agents.ready < agents.desired) problems.push(`${agents.ready} of ${agents.desired} agents are ready`);
  if (facts.deployment === undefined) problems.push("no Deployment cilium-operator");
  else if (operators.ready < operators.desired) problems.push(`${operators.ready} of ${operators.desired} operators are ready`);
  for (const node of nodes.filter((each) => each.agent !== "none")) {
    if (node.revision === undefined) problems.push(`${node.name}: the operator has written no state for it yet`);
    else if (node.applied !== node.revision) problems.push(`${node.name}: revision ${node.revision} is not applied yet (${node.applied ?? "none"} is)`);
    problems.push(...node.failures.map((failure) => `${node.name}: ${failure}`));
  }
  const closed = facts.endpoints.filter((each) => each.status !== undefined && each.status.state !== "ready");
  for (const each of closed) problems.push(`${each.metadata.namespace}/${each.metadata.name}: ${each.status?.state}`);
  return problems;
}

/** Pods on the node's own network are the host; ended ones have no network any more. */
function hasOwnNetwork(pod: Pod): boolean {
  const running = pod.status?.phase === "Running" || (pod.status?.phase === "Pending" && pod.status.podIP !== undefined);
  return running && pod.spec?.hostNetwork !== true && pod.metadata.deletionTimestamp === undefined;
}

function imagesOf(pods: readonly Pod[]): string[] {
  return [...new Set(pods.flatMap((pod) => (pod.spec?.containers ?? []).map((container) => container.image ?? "")))].toSorted();
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Asks again until nothing is wrong; gives up with the last problems after `timeoutMs`. */
export async function waitForStatus(cluster: Cluster, timeoutMs: number, progress: (problems: readonly string[]) => void): Promise<Status> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const status = statusOf(await gatherStatus(cluster), cluster.namespace);
    if (status.problems.length === 0) return status;
    if (Date.now() >= deadline) throw new CliError(`not ready after ${timeoutMs / 1000} s: ${status.problems.join("; ")}`);
    progress(status.problems);
    await sleep(1000);
  }
}
