/** Allocates a CiliumIdentity for every wanted set of labels, and frees those that nothing has used for a quiet period. */
import type { KubeClient } from "../kube/client.ts";
import { isConflict } from "../kube/errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import { CILIUM_IDENTITIES, NAMESPACES } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { CodedError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { NAMESPACE_LABEL, labelsKey, labelsObject } from "../model/index.ts";
import type { Cluster } from "./cluster.ts";
import type { EndpointRow, IdentityRow } from "./rows.ts";

/**
 * Identities that one namespace may have: so many can be peers of a rule beside others in a node's maps as they are by
 * default. The pods of further sets of labels wait, closed; those of other namespaces do not notice.
 */
export const NAMESPACE_IDENTITIES = 16_384;
const LOOK_AGAIN_MS = 60_000;

export interface AllocatorOptions {
  readonly client: KubeClient;
  readonly cluster: Cluster;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly most?: number;
}

/** Key: `labelsKey` of the labels. */
export class IdentityAllocator implements Reconciler {
  readonly #options: AllocatorOptions;
  /** Namespaces that were told that they have all that they may have. */
  readonly #told = new Set<string>();

  constructor(options: AllocatorOptions) {
    this.#options = options;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, cluster, logger } = this.#options;
    const labels = cluster.wanted(key);
    const { identities } = cluster;
    if (labels === undefined || identities.numberOf(key) !== undefined) return {};
    if (await this.#isFull(labels.get(NAMESPACE_LABEL) ?? "")) return { requeueAfterMs: LOOK_AGAIN_MS };
    for (;;) {
      const number = identities.nextFree();
      if (number === undefined) throw new CodedError("IDENTITIES_EXHAUSTED", "all identity numbers are in use; fewer distinct label sets are needed");
      try {
        const created = await client.create(CILIUM_IDENTITIES, { metadata: { name: String(number) }, "security-labels": labelsObject(labels) }, signal);
        cluster.identityChanged({ number, labels, uid: created.metadata.uid ?? "" }, undefined);
        logger.info("identity allocated", { identity: number, labels: Object.fromEntries(labels) });
        return {};
      } catch (thrown) {
        // Taken by one that we have not seen yet: the next number.
        if (!isConflict(thrown)) throw thrown;
      }
    }
  }

  async #isFull(namespace: string): Promise<boolean> {
    const { cluster, events, logger, most = NAMESPACE_IDENTITIES } = this.#options;
    const isFull = cluster.numbersOf(namespace) >= most;
    if (!isFull) this.#told.delete(namespace);
    if (!isFull || this.#told.has(namespace)) return isFull;
    this.#told.add(namespace);
    const message = `the pods of namespace ${namespace} have more than ${most} different sets of labels, which is all that one namespace may have: pods of further sets get no network until others are gone`;
    logger.error(message, { namespace });
    await events.record(NAMESPACES, { metadata: { name: namespace } }, "Warning", "CapacityExceeded", message);
    return true;
  }
}

export interface CollectorOptions {
  readonly client: KubeClient;
  readonly cluster: Cluster;
  readonly identities: Source<IdentityRow>;
  readonly endpoints: Source<EndpointRow>;
  readonly quietMs: number;
  readonly logger: Logger;
}

/**
 * Frees identities. One is in use while a pod has its labels and it is the number of them, or while an endpoint names
 * it. The quiet period starts anew with each leader, as it is only remembered here.
 */
export class IdentityCollector {
  readonly #options: CollectorOptions;
  readonly #unusedSinceMs = new Map<number, number>();

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** One look at all identities; `nowMs` is monotonic. */
  async collect(nowMs: number, signal: AbortSignal): Promise<void> {
    const { client, cluster, identities, endpoints, quietMs, logger } = this.#options;
    const named = new Set([...endpoints.objects.values()].map((endpoint) => endpoint.identity));
    for (const { number, labels, uid } of [...identities.objects.values()]) {
      const key = labelsKey(labels);
      const isUsed = named.has(number) || (cluster.wanted(key) !== undefined && cluster.identities.numberOf(key) === number);
      if (isUsed) this.#unusedSinceMs.delete(number);
      else if (!this.#unusedSinceMs.has(number)) this.#unusedSinceMs.set(number, nowMs);
      else if (nowMs - (this.#unusedSinceMs.get(number) ?? nowMs) >= quietMs) {
        await client.delete(CILIUM_IDENTITIES, { name: String(number) }, { uid, signal });
        this.#unusedSinceMs.delete(number);
        logger.info("identity freed", { identity: number });
      }
    }
    for (const number of this.#unusedSinceMs.keys()) if (!identities.objects.has(String(number))) this.#unusedSinceMs.delete(number);
  }
}
