/**
 * Writes the status of policies when it changed, and tells transitions as Events. Key: that of the policy book.
 * NetworkPolicy has no status: of it the Events alone are written.
 */
import type { PolicyKind } from "../api/index.ts";
import type { KubeClient } from "../kube/client.ts";
import { isNotFound } from "../kube/errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import { CILIUM_CLUSTERWIDE_NETWORK_POLICIES, CILIUM_NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES, NETWORK_POLICIES } from "../kube/kinds.ts";
import type { ResourceType } from "../kube/resource.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { namespaceOfKey } from "./policies.ts";
import type { PolicyBook, PolicyEntry, PolicyObject } from "./policies.ts";
import { policyStatus, statusOf, transitions } from "./policy-status.ts";
import type { PolicyStatus } from "./policy-status.ts";
import type { PolicyWarnings } from "./policy-warnings.ts";
import type { Standings } from "./standings.ts";

/** A status that changes in a burst, as nodes acknowledge one after the other, is written at most this often. */
export const STATUS_INTERVAL_MS = 200;
/**
 * A policy's status waits this long after a change: the API server is to be free for the node states, for which packets
 * wait, and mostly the acknowledgements are there by then, so that one write says it all.
 */
export const STATUS_GATHER_MS = 100;

export interface PolicyStatusesOptions {
  readonly client: KubeClient;
  readonly policies: PolicyBook;
  readonly standings: Standings;
  readonly warnings: PolicyWarnings;
  readonly events: EventRecorder;
  readonly now: () => Date;
}

const TYPES: Readonly<Record<PolicyKind, ResourceType>> = {
  CiliumNetworkPolicy: CILIUM_NETWORK_POLICIES,
  CiliumClusterwideNetworkPolicy: CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  NetworkPolicy: NETWORK_POLICIES,
  ClusterNetworkPolicy: CLUSTER_NETWORK_POLICIES,
};

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
    const { policies, standings, warnings, events, now } = this.#options;
    const entry = policies.get(key);
    if (entry === undefined) {
      this.#written.delete(key);
      warnings.denialsIn(namespaceOfKey(key)); // what it denied may have been told of others
      return {};
    }
    const current = this.#current(key, entry);
    const status = policyStatus({ ...entry, object: withStatus(entry.object, current) }, standings.of(entry), now().toISOString().replace(/\.\d+Z$/, "Z"), warnings.of(entry.effective));
    if (current !== undefined && canonicalJson(current) === canonicalJson(status)) return {};
    if (!(await this.#write(entry, status, signal))) return {};
    this.#written.set(key, { uid: entry.object.metadata.uid, status });
    // What is well with a kind without status is told only after it was not: each restart would tell it again.
    const isQuiet = entry.kind === "NetworkPolicy" && current === undefined;
    for (const { severity, reason, message } of transitions(current, status)) {
      if (isQuiet && severity === "Normal") continue;
      await events.record(TYPES[entry.kind], entry.object, severity, reason, message);
    }
    return {};
  }

  /** False when the object is gone. */
  async #write({ kind, object }: PolicyEntry, status: PolicyStatus, signal: AbortSignal): Promise<boolean> {
    if (kind === "NetworkPolicy") return true;
    try {
      // On this object only: a policy of the same name that was made meanwhile must not get this status.
      await this.#options.client.patchStatus(TYPES[kind], object.metadata, { ...REMOVABLE, ...status }, signal, object.metadata.uid);
      return true;
    } catch (thrown) {
      if (isNotFound(thrown)) return false;
      throw thrown;
    }
  }

  /**
   * The status as the API server has it, as far as we know: once the watch shows what we wrote, it is believed again.
   * Of a kind without status, what was told last.
   */
  #current(key: string, { kind, object }: PolicyEntry): PolicyStatus | undefined {
    const written = this.#written.get(key);
    if (written === undefined) return statusOf(object);
    const isAnother = written.uid !== object.metadata.uid;
    if (kind === "NetworkPolicy") return isAnother ? undefined : written.status;
    if (!isAnother && canonicalJson(statusOf(object) ?? null) !== canonicalJson(written.status)) return written.status;
    this.#written.delete(key);
    return statusOf(object);
  }
}

function withStatus(object: PolicyObject, status: PolicyStatus | undefined): PolicyObject {
  return status === undefined ? object : ({ ...object, status } as PolicyObject);
}
