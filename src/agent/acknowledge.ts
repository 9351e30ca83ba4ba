/** The acknowledgement: one small object that says which revision is in force here, and what is not. */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { FEED_FORMATS, NODE_LABEL, nodeKey, ownerOf, statusName } from "../feed/index.ts";
import type { ReadFailure } from "../feed/index.ts";
import { CILIUM_NODE_STATES, isConflict, isNotFound } from "../kube/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { ApplyReport } from "../targets/index.ts";
import type { Assignment } from "./enforcer.ts";
import type { MapWarning } from "./map-fill.ts";
import type { LocalNode } from "./peers.ts";

export type Acknowledgement = NonNullable<CiliumNodeState["status"]>;

const MAX_FAILURES = 20;
const MAX_MESSAGE = 500;

/** `unreadable`: the newest node state cannot be used; the one of `assignment` stays in force. Pure. */
export function acknowledgement(assignment: Assignment, report: ApplyReport, nodeUID: string, unreadable: ReadFailure | undefined, warnings: readonly MapWarning[] = []): Acknowledgement {
  const failed = report.parts.flatMap(({ part, failures }) => failures.map(({ subject, error, identities }) => ({ part, message: `${subject}: ${error.message}`, identities })));
  const told = new Set(failed.flatMap(({ identities }) => identities));
  // No failure of the kernel, and yet not in force: the applier waits until every source has told all.
  const waiting = [...assignment.state.subjects.keys()].filter((identity) => !report.enforced.has(identity) && !told.has(identity));
  if (waiting.length > 0) failed.push({ part: "policy", message: `${waiting.length} identities keep their earlier rules until the API server has listed all that the agent follows (its log names what is missing)`, identities: waiting });
  const failures: { part: string; message: string }[] = failed.map(({ part, message }) => ({ part, message: message.slice(0, MAX_MESSAGE) }));
  if (unreadable !== undefined) failures.unshift({ part: unreadable.part, message: unreadable.message.slice(0, MAX_MESSAGE) });
  // Absent together with failures means all policies: so they are named only when every failure names its identities.
  const isNamed = failed.length > 0 && failed.every((failure) => failure.identities.length > 0);
  return {
    appliedRevision: assignment.revision,
    appliedHash: assignment.hash,
    nodeUID,
    formats: [...FEED_FORMATS],
    ...(failures.length === 0 ? {} : { failures: failures.slice(0, MAX_FAILURES) }),
    ...(warnings.length === 0 ? {} : { warnings: [...warnings] }),
    ...(isNamed ? { failedPolicies: policiesOf(assignment, failed.flatMap((failure) => failure.identities)) } : {}),
  };
}

/** UIDs of the policies whose rules stand in the rule sets of these identities. */
function policiesOf({ state }: Assignment, identities: readonly number[]): string[] {
  const uids = new Set<string>();
  for (const identity of identities) {
    const ruleSet = state.ruleSets.get(state.subjects.get(identity) ?? "");
    if (ruleSet === undefined) continue;
    for (const id of [...ruleSet.rules.map((rule) => rule.id), ruleSet.ingressDefault, ruleSet.egressDefault]) {
      if (id === undefined) continue;
      for (const policy of state.ruleNames.get(id)?.policies ?? []) uids.add(policy.uid);
    }
  }
  return [...uids].sort();
}

export class AcknowledgementWriter implements Reconciler {
  readonly #client: KubeClient;
  readonly #local: () => LocalNode;
  #wanted: Acknowledgement | undefined;
  #written = "";

  constructor(client: KubeClient, local: () => LocalNode) {
    this.#client = client;
    this.#local = local;
  }

  /** True when there is something new to write. */
  set(wanted: Acknowledgement): boolean {
    this.#wanted = wanted;
    return JSON.stringify(wanted) !== this.#written;
  }

  async reconcile(_key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const wanted = this.#wanted;
    const text = JSON.stringify(wanted);
    if (wanted === undefined || text === this.#written) return {};
    const ref = { name: statusName(this.#local().name) };
    // A merge patch keeps what is absent, so what is gone is said to be null.
    const status = { failures: null, failedPolicies: null, warnings: null, ...wanted };
    try {
      await this.#client.patchStatus(CILIUM_NODE_STATES, ref, status, signal);
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
      await this.#create(signal);
      await this.#client.patchStatus(CILIUM_NODE_STATES, ref, status, signal);
    }
    this.#written = text;
    return {};
  }

  async #create(signal: AbortSignal): Promise<void> {
    const { name, uid } = this.#local();
    const metadata = { name: statusName(name), labels: { [NODE_LABEL]: nodeKey(name) }, ownerReferences: [ownerOf(name, uid)] };
    try {
      await this.#client.create(CILIUM_NODE_STATES, { metadata, node: name }, signal);
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
    }
  }
}
