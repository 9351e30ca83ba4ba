/**
 * Rules of identities that pods here still have, while the node state names them no more. Pure.
 *
 * The operator and this node learn of a pod's end, or of its new labels, at different moments. Between them
 * the pod keeps the rules that it had, and they are still resolved against the identities of today: rules that
 * stood still would miss a deny for a new peer.
 */
import type { NodeState, Rule, RuleSetId, SelectorId } from "../compile/state.ts";

/** `next`, with what `last` said of the identities in `inUse` that `next` lacks. The same object when it lacks none. */
export function retain(next: NodeState, last: NodeState | undefined, inUse: Iterable<number>): NodeState {
  const subjects = new Map<number, RuleSetId>();
  for (const identity of inUse) {
    const ruleSet = last?.subjects.get(identity);
    if (ruleSet !== undefined && !next.subjects.has(identity)) subjects.set(identity, ruleSet);
  }
  if (last === undefined || subjects.size === 0) return next;
  const audits = pick(last.audits ?? new Map<number, RuleSetId>(), subjects.keys());
  const ruleSets = pick(last.ruleSets, [...subjects.values(), ...audits.values()]);
  const rules: Rule[] = [...ruleSets.values()].flatMap((ruleSet) => ruleSet.rules);
  const selectorIds: SelectorId[] = rules.flatMap((rule) => rule.peer ?? []);
  return {
    ...next,
    subjects: new Map([...next.subjects, ...subjects]),
    ...(next.audits === undefined && audits.size === 0 ? {} : { audits: new Map([...(next.audits ?? []), ...audits]) }),
    ruleSets: new Map([...ruleSets, ...next.ruleSets]),
    selectors: new Map([...pick(last.selectors, selectorIds), ...next.selectors]),
  };
}

function pick<K, V>(from: ReadonlyMap<K, V>, keys: Iterable<K>): Map<K, V> {
  const picked = new Map<K, V>();
  for (const key of keys) {
    const value = from.get(key);
    if (value !== undefined) picked.set(key, value);
  }
  return picked;
}
