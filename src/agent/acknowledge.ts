/** What to say of an apply to the operator: which revision is in force here, and what is not. Pure. */
import type { Acknowledgement, ReadFailure } from "../feed/index.ts";
import type { ApplyReport } from "../targets/index.ts";
import type { Assignment } from "./enforcer.ts";

/** `unreadable`: the newest node state cannot be used; the one of `assignment` stays in force. */
export function acknowledgement(assignment: Assignment, report: ApplyReport, unreadable: ReadFailure | undefined): Acknowledgement {
  const failed = report.parts.flatMap(({ part, failures }) => failures.map(({ subject, error, identities }) => ({ part, message: `${subject}: ${error.message}`, identities })));
  const failures: { part: string; message: string }[] = failed.map(({ part, message }) => ({ part, message }));
  if (unreadable !== undefined) failures.unshift({ part: unreadable.part, message: unreadable.message });
  // Undefined together with failures means all policies: so they are named only when every failure names its identities.
  const isNamed = failed.length > 0 && failed.every((failure) => failure.identities.length > 0);
  const { revision, hash } = assignment;
  return {
    revision,
    hash,
    failures,
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
