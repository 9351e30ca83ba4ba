/** `cilium await-uninstall`: the chart's uninstall hook runs it; it ends when every node is done. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { conditionIs, DAEMON_SETS, PODS, type Pod } from "./kinds.ts";

/** Name and `name` label of the DaemonSet that does it. */
export const UNINSTALL = "cilium-uninstall";
const EVERY_MS = 1000;

export async function awaitUninstall({ client, namespace }: Cluster, timeoutMs: number): Promise<number> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const daemonSet = await client.get(DAEMON_SETS, { namespace, name: UNINSTALL });
    const { desiredNumberScheduled = 0, numberReady = 0, observedGeneration } = daemonSet?.status ?? {};
    // Until the controller has looked at it, zero of zero means nothing.
    const isCounted = observedGeneration !== undefined && observedGeneration === daemonSet?.metadata.generation;
    if (isCounted && numberReady >= desiredNumberScheduled) return numberReady;
    if (Date.now() >= deadline) throw new CliError(await unfinished(client, namespace, timeoutMs));
    await sleep(EVERY_MS);
  }
}

async function unfinished(client: Cluster["client"], namespace: string, timeoutMs: number): Promise<string> {
  const { items } = await client.list(PODS, { namespace, labelSelector: `name=${UNINSTALL}` });
  const nodes = items.filter((pod) => !conditionIs(pod.status?.conditions, "Ready", "True")).map(nodeOf);
  return `after ${timeoutMs / 1000} s these nodes are not done: ${nodes.join(", ") || "unknown"}; the DaemonSet ${UNINSTALL} stays and does it when they are back: then run \`cilium uninstall\`, which waits for it and removes it`;
}

/** Where an agent that is down still stands, the pod is not on its node yet; the DaemonSet says for which node it made it. */
function nodeOf({ spec }: Pod): string {
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const named = terms.flatMap(({ matchFields = [] }) => matchFields).find(({ key }) => key === "metadata.name");
  return spec?.nodeName ?? named?.values?.[0] ?? "a node that is not chosen yet";
}
