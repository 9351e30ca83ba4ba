/** The acknowledgement: one small object that says which revision is in force here, and what is not. */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { FEED_FORMAT, statusName } from "../feed/index.ts";
import { CILIUM_NODE_STATES, isNotFound } from "../kube/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { ApplyReport } from "../targets/index.ts";
import type { Assignment } from "./enforcer.ts";

export type Acknowledgement = NonNullable<CiliumNodeState["status"]>;

const MAX_FAILURES = 20;
const MAX_MESSAGE = 500;

/** What to say of this apply. `refused`: the newest manifest cannot be used, and why. */
export function acknowledgement(assignment: Assignment, report: ApplyReport, nodeUid: string, refused: string | undefined): Acknowledgement {
  const failures = report.parts.flatMap(({ part, failures: list }) =>
    list.map((failure) => ({ part, message: `${failure.subject}: ${failure.error.message}`.slice(0, MAX_MESSAGE), identities: failure.identities })),
  );
  const shown: { part: string; message: string }[] = failures.map(({ part, message }) => ({ part, message }));
  if (refused !== undefined) shown.unshift({ part: "feed", message: refused.slice(0, MAX_MESSAGE) });
  const failed = failedPolicies(assignment, failures.flatMap((failure) => failure.identities));
  const allNamed = failures.every((failure) => failure.identities.length > 0);
  return {
    appliedRevision: assignment.revision,
    appliedHash: assignment.hash,
    nodeUID: nodeUid,
    formats: [FEED_FORMAT],
    ...(shown.length === 0 ? {} : { failures: shown.slice(0, MAX_FAILURES) }),
    // Absent together with failures means all of them: so it is given only when every failure names its identities.
    ...(failures.length > 0 && allNamed ? { failedPolicies: failed } : {}),
  };
}

/** Policies whose rules stand in the rule sets of these identities. */
function failedPolicies({ state }: Assignment, identities: readonly number[]): string[] {
  const uids = new Set<string>();
  for (const identity of identities) {
    const ruleSet = state.ruleSets.get(state.subjects.get(identity) ?? "");
    if (ruleSet === undefined) continue;
    const ids = [...ruleSet.rules.map((rule) => rule.id), ruleSet.ingressDefault, ruleSet.egressDefault];
    for (const id of ids) for (const policy of (id === undefined ? undefined : state.ruleNames.get(id))?.policies ?? []) uids.add(policy.uid);
  }
  return [...uids].sort();
}

export class AcknowledgementWriter implements Reconciler {
  readonly #client: KubeClient;
  readonly #node: string;
  #wanted: Acknowledgement | undefined;
  #written = "";

  constructor(client: KubeClient, node: string) {
    this.#client = client;
    this.#node = node;
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
    const name = statusName(this.#node);
    // Merge patch: fields that are absent now must go.
    const status = { failures: null, failedPolicies: null, ...wanted };
    try {
      await this.#client.patchStatus(CILIUM_NODE_STATES, { name }, status, signal);
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
      await this.#client.create(CILIUM_NODE_STATES, { metadata: { name }, node: this.#node }, signal);
      await this.#client.patchStatus(CILIUM_NODE_STATES, { name }, status, signal);
    }
    this.#written = text;
    return {};
  }
}
