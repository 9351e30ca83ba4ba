/** Allocates a CiliumIdentity for every wanted set of labels, and frees those that nothing has used for a quiet period. */
import type { KubeClient } from "../kube/client.ts";
import { isConflict } from "../kube/errors.ts";
import { CILIUM_IDENTITIES } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { CodedError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { labelsKey, labelsObject } from "../model/index.ts";
import type { Cluster } from "./cluster.ts";
import type { EndpointRow, IdentityRow } from "./rows.ts";

/** Key: `labelsKey` of the labels. */
export class IdentityAllocator implements Reconciler {
  readonly #client: KubeClient;
  readonly #cluster: Cluster;
  readonly #logger: Logger;

  constructor(client: KubeClient, cluster: Cluster, logger: Logger) {
    this.#client = client;
    this.#cluster = cluster;
    this.#logger = logger;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const labels = this.#cluster.wanted(key);
    const { identities } = this.#cluster;
    if (labels === undefined || identities.numberOf(key) !== undefined) return {};
    for (;;) {
      const number = identities.nextFree();
      if (number === undefined) throw new CodedError("IDENTITIES_EXHAUSTED", "all identity numbers are in use; fewer distinct label sets are needed");
      try {
        const created = await this.#client.create(CILIUM_IDENTITIES, { metadata: { name: String(number) }, "security-labels": labelsObject(labels) }, signal);
        this.#cluster.identityChanged({ number, labels, uid: created.metadata.uid ?? "" }, undefined);
        this.#logger.info("identity allocated", { identity: number, labels: Object.fromEntries(labels) });
        return {};
      } catch (thrown) {
        // Taken by one that we have not seen yet: the next number.
        if (!isConflict(thrown)) throw thrown;
      }
    }
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
