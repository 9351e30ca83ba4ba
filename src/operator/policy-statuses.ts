/** Writes the status of policies when it changed, and tells transitions as Events. Key: `namespace/name`. */
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import type { KubeClient } from "../kube/client.ts";
import { isNotFound } from "../kube/errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import { CILIUM_NETWORK_POLICIES } from "../kube/kinds.ts";
import { refOf } from "../kube/resource.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { PolicyBook } from "./policies.ts";
import { policyStatus, transitions } from "./policy-status.ts";
import type { PolicyStatus } from "./policy-status.ts";
import type { Standings } from "./standings.ts";

export interface PolicyStatusesOptions {
  readonly client: KubeClient;
  readonly policies: PolicyBook;
  readonly standings: Standings;
  readonly events: EventRecorder;
  readonly now: () => Date;
}

/** Fields that a merge patch must remove when they are absent now. */
const REMOVABLE = { failingNodes: null, lastValid: null };

export class PolicyStatuses implements Reconciler {
  readonly #options: PolicyStatusesOptions;
  /** What we wrote last, until the watch shows it: so that a burst does not write the same twice. */
  readonly #written = new Map<string, { readonly uid: string | undefined; readonly status: PolicyStatus }>();

  constructor(options: PolicyStatusesOptions) {
    this.#options = options;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, policies, standings, events, now } = this.#options;
    const entry = policies.get(key);
    if (entry === undefined) {
      this.#written.delete(key);
      return {};
    }
    const current = this.#current(key, entry.object);
    const status = policyStatus({ ...entry, object: withStatus(entry.object, current) }, standings.of(entry), now().toISOString().replace(/\.\d+Z$/, "Z"));
    if (current !== undefined && canonicalJson(current) === canonicalJson(status)) return {};
    try {
      // On this object only: a policy of the same name that was made meanwhile must not get this status.
      const uid = entry.object.metadata.uid;
      await client.patchStatus(CILIUM_NETWORK_POLICIES, refOf(key), { ...REMOVABLE, ...status }, signal, uid);
    } catch (thrown) {
      if (isNotFound(thrown)) return {};
      throw thrown;
    }
    this.#written.set(key, { uid: entry.object.metadata.uid, status });
    for (const { severity, reason, message } of transitions(current, status)) {
      await events.record(CILIUM_NETWORK_POLICIES, entry.object, severity, reason, message);
    }
    return {};
  }

  /** The status as the API server has it, as far as we know: once the watch shows what we wrote, it is believed again. */
  #current(key: string, object: CiliumNetworkPolicy): PolicyStatus | undefined {
    const written = this.#written.get(key);
    if (written === undefined) return object.status;
    const isSeen = written.uid !== object.metadata.uid || canonicalJson(object.status ?? null) === canonicalJson(written.status);
    if (!isSeen) return written.status;
    this.#written.delete(key);
    return object.status;
  }
}

function withStatus(object: CiliumNetworkPolicy, status: PolicyStatus | undefined): CiliumNetworkPolicy {
  return status === undefined ? object : { ...object, status };
}
