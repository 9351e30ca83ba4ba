/**
 * `cilium uninstall`: what `helm uninstall` does to the nodes, without Helm; also for one node.
 *
 * A DaemonSet does it on each node with the image, mounts and settings of the agents' own DaemonSet. Where one is under way
 * already, such as that of a `helm uninstall` that waited in vain for a node, it is waited for.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { resourceType, type KubeObject } from "../kube/resource.ts";
import { awaitUninstall, UNINSTALL } from "./await-uninstall.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { DAEMON_SETS, DEPLOYMENTS, NODES, PODS, type Container, type DaemonSet, type PodTemplate } from "./kinds.ts";

const AGENTS = { "k8s-app": "cilium" };
const PART = "app.kubernetes.io/part-of=cilium";
const EVERY_MS = 500;

/** What the chart makes beside the workloads; the CRDs, with everybody's policies, are none of it. */
const REST = [
  resourceType<KubeObject>("batch", "v1", "jobs", "Job", true),
  resourceType<KubeObject>("", "v1", "configmaps", "ConfigMap", true),
  resourceType<KubeObject>("", "v1", "serviceaccounts", "ServiceAccount", true),
  resourceType<KubeObject>("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true),
  resourceType<KubeObject>("rbac.authorization.k8s.io", "v1", "roles", "Role", true),
  resourceType<KubeObject>("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false),
  resourceType<KubeObject>("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
] as const;

export interface UninstallOptions {
  /** undefined: every node. */
  readonly node: string | undefined;
  readonly timeoutMs: number;
}

/** @returns how many nodes are done. */
export async function uninstall(cluster: Cluster, { node, timeoutMs }: UninstallOptions): Promise<number> {
  const { client, namespace } = cluster;
  if (node !== undefined) await checkNode(cluster, node);
  if ((await client.get(DAEMON_SETS, { namespace, name: UNINSTALL })) === undefined) {
    const agents = await client.get(DAEMON_SETS, { namespace, name: "cilium" });
    if (agents === undefined) throw new CliError(`namespace ${namespace} has no DaemonSet cilium that says how the nodes were set up: install the chart again, then uninstall`);
    await client.create(DAEMON_SETS, uninstallDaemonSet(agents, namespace, node));
  }
  if (node === undefined) {
    await client.delete(DAEMON_SETS, { namespace, name: "cilium" });
    await client.delete(DEPLOYMENTS, { namespace, name: "cilium-operator" });
  }
  const done = await awaitUninstall(cluster, timeoutMs);
  await client.delete(DAEMON_SETS, { namespace, name: UNINSTALL });
  await podsGone(cluster, timeoutMs);
  if (node === undefined) await deleteRest(cluster);
  return done;
}

async function checkNode({ client, namespace }: Cluster, node: string): Promise<void> {
  if ((await client.get(NODES, { name: node })) === undefined) throw new CliError(`no node ${node}`);
  const { items } = await client.list(PODS, { namespace, labelSelector: "k8s-app=cilium" });
  if (items.some((pod) => pod.spec?.nodeName === node)) {
    throw new CliError(`an agent runs on node ${node} and would set it up again: keep it off that node first (the chart's nodeSelector or affinity), or uninstall all nodes`);
  }
}

/** The agents' DaemonSet with another task: it waits until the node's agent is gone, uninstalls, and is ready then. */
export function uninstallDaemonSet(agents: DaemonSet, namespace: string, node: string | undefined): DaemonSet {
  const template = agents.spec?.template.spec;
  const agent = template?.containers.find(({ name }) => name === "cilium-agent");
  if (template === undefined || agent === undefined) throw new CliError("the DaemonSet cilium has no container cilium-agent");
  const { startupProbe: _startup, livenessProbe: _liveness, readinessProbe: _readiness, ports: _ports, ...task } = agent;
  const { serviceAccountName: _account, serviceAccount: _alias, affinity: _affinity, nodeSelector, ...pod } = template;
  const labels = { name: UNINSTALL, "app.kubernetes.io/part-of": "cilium" };
  const spec: PodTemplate["spec"] = {
    ...pod,
    // One node is named, and what keeps the agents off it must not keep this off.
    ...(node === undefined && nodeSelector !== undefined ? { nodeSelector } : {}),
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    affinity: {
      ...(node === undefined ? {} : { nodeAffinity: onlyNode(node) }),
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: AGENTS } }] },
    },
    // The agent's own rights are those of its work; this takes away what containers with more rights have made.
    initContainers: [{ ...task, name: "uninstall", securityContext: { privileged: true }, command: ["node", "/opt/cilium/dist/agent/main.js", "uninstall"] }],
    containers: [{ ...imageOf(agent), name: "done", command: ["sleep", "infinity"] }],
  };
  return { metadata: { name: UNINSTALL, namespace, labels }, spec: { selector: { matchLabels: { name: UNINSTALL } }, template: { metadata: { labels }, spec } } };
}

function imageOf({ image, imagePullPolicy }: Container): object {
  return { ...(image === undefined ? {} : { image }), ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }) };
}

function onlyNode(node: string): object {
  const nodeSelectorTerms = [{ matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] }];
  return { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } };
}

/** Its settings are mounted into them. */
async function podsGone({ client, namespace }: Cluster, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while ((await client.list(PODS, { namespace, labelSelector: `name=${UNINSTALL}` })).items.length > 0) {
    if (Date.now() >= deadline) throw new CliError(`after ${timeoutMs / 1000} s pods of the DaemonSet ${UNINSTALL}, which is deleted, are still there`);
    await sleep(EVERY_MS);
  }
}

async function deleteRest({ client, namespace }: Cluster): Promise<void> {
  for (const type of REST) {
    const { items } = await client.list(type, { ...(type.namespaced ? { namespace } : {}), labelSelector: PART });
    for (const { metadata } of items) await client.delete(type, { ...(type.namespaced ? { namespace } : {}), name: metadata.name });
  }
}
