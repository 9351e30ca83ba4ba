/** Pods of the image for one `cilium preflight` before an installation: one on every node, on the node's own network; they go with it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { DAEMON_SETS, PODS, type DaemonSet, type Pod } from "./kinds.ts";

export const PREFLIGHT = "cilium-preflight";
/** Where the node's /etc is in these pods. */
export const HOST_ETC = "/host/etc";
const EVERY_MS = 500;

/** As privileged as the agent's init container, since it tries what that needs; nothing of the node can be written through it. */
export function preflightDaemonSet(image: string, namespace: string): DaemonSet {
  const labels = { name: PREFLIGHT };
  const container = {
    name: PREFLIGHT, image, imagePullPolicy: "IfNotPresent", command: ["sleep", "infinity"], securityContext: { privileged: true },
    volumeMounts: [{ name: "etc", mountPath: HOST_ETC, readOnly: true }],
  };
  const spec = {
    hostNetwork: true, automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, tolerations: [{ operator: "Exists" }],
    containers: [container], volumes: [{ name: "etc", hostPath: { path: "/etc", type: "Directory" } }],
  };
  return { metadata: { name: PREFLIGHT, namespace, labels }, spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } } };
}

/** Runs `work` with the pods that run after at most `timeoutMs`, and takes them away whatever comes of it. */
export async function withPreflightPods<T>(cluster: Cluster, image: string, timeoutMs: number, work: (pods: readonly Pod[]) => Promise<T>): Promise<T> {
  const { client, namespace } = cluster;
  const ref = { namespace, name: PREFLIGHT };
  // What an earlier one, killed half way, has left.
  await client.delete(DAEMON_SETS, ref);
  await until(async () => (await podsOf(cluster)).length === 0, timeoutMs, () => `pods of an earlier ${PREFLIGHT} are still there`);
  await client.create(DAEMON_SETS, preflightDaemonSet(image, namespace));
  try {
    return await work(await runningPods(cluster, timeoutMs));
  } finally {
    await client.delete(DAEMON_SETS, ref);
  }
}

/** Those that run when all do, or when the time is over: nodes that are down keep nobody from the others' answers. */
async function runningPods(cluster: Cluster, timeoutMs: number): Promise<readonly Pod[]> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const daemonSet = await cluster.client.get(DAEMON_SETS, { namespace: cluster.namespace, name: PREFLIGHT });
    const { desiredNumberScheduled = 0, observedGeneration } = daemonSet?.status ?? {};
    const running = (await podsOf(cluster)).filter(({ metadata, status }) => metadata.deletionTimestamp === undefined && status?.phase === "Running");
    const isAll = observedGeneration !== undefined && running.length >= desiredNumberScheduled && desiredNumberScheduled > 0;
    if (isAll || (Date.now() >= deadline && running.length > 0)) return running;
    if (Date.now() >= deadline) throw new CliError(`after ${timeoutMs / 1000} s no pod of the DaemonSet ${PREFLIGHT} runs: kubectl -n ${cluster.namespace} describe pods -l name=${PREFLIGHT} says why, while the command runs`);
    await sleep(EVERY_MS);
  }
}

async function podsOf({ client, namespace }: Cluster): Promise<readonly Pod[]> {
  return (await client.list(PODS, { namespace, labelSelector: `name=${PREFLIGHT}` })).items;
}

async function until(isDone: () => Promise<boolean>, timeoutMs: number, words: () => string): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isDone())) {
    if (Date.now() >= deadline) throw new CliError(`after ${timeoutMs / 1000} s ${words()}`);
    await sleep(EVERY_MS);
  }
}
