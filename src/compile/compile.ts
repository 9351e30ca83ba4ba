/**
 * The compiler: (snapshot, node) -> NodeState. Pure; equal snapshots give equal states.
 *
 *   policies --draftPolicy--> drafts --clausesOf--> clauses of a run of policies ┐
 *   identities ------------------------------------------------------------------┴-portionOf--> portions ┐
 *   all runs of the namespace and of the cluster --------------------------------------------------------┴-composeSubject--> rule set of one identity ┐
 *   subjects of the node -----------------------------------------------------------------------------------------------------------------------------┴-compileNode--> NodeState
 *
 * What one identity must obey depends on its labels and the policies of its namespace and of the cluster only, so it is computed once for all
 * nodes and a node's state is the union over the identities that run there. `SubjectCompiler` keeps each step's result by what it was made of:
 * the same function computes everything anew and after one change.
 */
import { NAMESPACE_LABEL, namedKeys } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow, Snapshot } from "../model/snapshot.ts";
import { numbered, plainNumbers } from "./clauses.ts";
import type { RuleNumbers } from "./clauses.ts";
import { HOST_IDENTITY } from "./host.ts";
import { isSameRule } from "./subject.ts";
import type { CompiledSubject } from "./subject.ts";
import { SubjectCompiler } from "./subject-compiler.ts";
import type { PolicyLists } from "./subject-compiler.ts";
import type { NodeState, RoutingDecision, RuleId, RuleSet, RuleSetId } from "./state.ts";

const NO_POLICIES: readonly PolicyRow[] = [];

/** The state of one node. An identity without labels in the snapshot is left out: the agent keeps such a pod closed. */
export function compileNode(snapshot: Snapshot, node: string, routing: RoutingDecision, compiler = new SubjectCompiler()): NodeState {
  const subjects = subjectsOf(snapshot, node, compiler);
  const named = namedIn(subjects.map(({ labels }) => labels));
  return compiler.states.of([JSON.stringify(routing), JSON.stringify([...(named.named ?? [])]), ...subjects.flatMap(({ identity, compiled }) => [identity, compiled])], () => {
    const state = assemble(subjects, routing);
    if (state !== undefined) return { ...state, ...named };
    const renumbered = (numbers: RuleNumbers): readonly Subject[] => subjects.map((subject) => ({ ...subject, compiled: compiler.renumbered(subject.labels, subject.lists, numbers) }));
    const keys = new Set<string>();
    renumbered((key) => (keys.add(key), plainNumbers(key)));
    const unambiguous = assemble(renumbered(collisionFree(keys)), routing);
    if (unambiguous === undefined) throw new Error(`node ${node}: two rules have one number`);
    return { ...unambiguous, ...named };
  });
}

interface Subject {
  readonly identity: number;
  readonly labels: Labels;
  readonly lists: PolicyLists;
  readonly compiled: CompiledSubject;
}

/** By number. The node itself is the first, where a policy selects it. */
function subjectsOf(snapshot: Snapshot, node: string, compiler: SubjectCompiler): readonly Subject[] {
  const pods = [...(snapshot.subjects.get(node) ?? [])].sort((a, b) => a - b);
  return [HOST_IDENTITY, ...pods].flatMap((identity) => {
    const labels = identity === HOST_IDENTITY ? snapshot.hosts?.get(node) : snapshot.identities.get(identity);
    if (labels === undefined) return [];
    const lists = policiesOf(snapshot, labels);
    const compiled = compiler.compile(labels, lists);
    return identity === HOST_IDENTITY && compiled.policies.size === 0 ? [] : [{ identity, labels, lists, compiled }];
  });
}

/** All identities that are wanted in one namespace tell of the same keys: the agent finds its pods' numbers by them. */
function namedIn(identities: readonly Labels[]): Pick<NodeState, "named"> {
  const named = new Map<string, readonly string[]>();
  for (const labels of identities) {
    const keys = namedKeys(labels);
    if (keys.length > 0) named.set(labels.get(NAMESPACE_LABEL) ?? "", keys);
  }
  return named.size === 0 ? {} : { named: new Map([...named].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

function policiesOf({ policies }: Snapshot, labels: Labels): PolicyLists {
  const namespace = labels.get(NAMESPACE_LABEL);
  return [(namespace === undefined ? undefined : policies.get(namespace)) ?? NO_POLICIES, policies.get("") ?? NO_POLICIES];
}

/** undefined: two rules of the node have one number, as happens 1 in 4 billion times for each pair. */
function assemble(subjects: readonly Subject[], routing: RoutingDecision): NodeState | undefined {
  const all = [...new Set(subjects.map(({ compiled }) => compiled))];
  const ruleNames = all.some(({ isAmbiguous }) => isAmbiguous) ? undefined : union(all.map(({ names }) => names), isSameRule);
  if (ruleNames === undefined) return undefined;
  const selectors = union(all.map((each) => each.selectors)) ?? new Map();
  const policies = union(all.map((each) => each.policies)) ?? new Map();
  const ruleSets = new Map<RuleSetId, RuleSet>();
  for (const { id, ruleSet, audit } of all) {
    ruleSets.set(id, ruleSet);
    if (audit !== undefined) ruleSets.set(audit.id, audit.ruleSet);
  }
  const audits = subjects.flatMap(({ identity, compiled: { audit } }) => (audit === undefined ? [] : [[identity, audit.id] as const]));
  const state = { subjects: new Map(subjects.map(({ identity, compiled }) => [identity, compiled.id])), ruleSets, selectors, ruleNames, policies, routing };
  return audits.length === 0 ? state : { ...state, audits: new Map(audits) };
}

/** All entries; the one map itself where there is but one. undefined: of one key two values are not the same. */
function union<K, V>(maps: readonly ReadonlyMap<K, V>[], isSame: (one: V, other: V) => boolean = () => true): ReadonlyMap<K, V> | undefined {
  const [first] = maps;
  if (first !== undefined && maps.length === 1) return first;
  const all = new Map<K, V>();
  for (const map of maps) {
    for (const [key, value] of map) {
      const known = all.get(key);
      if (known === undefined) all.set(key, value);
      else if (!isSame(known, value)) return undefined;
    }
  }
  return all;
}

/** Numbers given in the order of the keys, so that they depend on the set of rules only, never on history. */
function collisionFree(keys: ReadonlySet<string>): RuleNumbers {
  const numbers = new Map<string, RuleId>();
  const taken = new Set<RuleId>();
  for (const key of [...keys].sort()) {
    let attempt = 0;
    let id = numbered(key, attempt);
    while (taken.has(id)) id = numbered(key, ++attempt);
    taken.add(id);
    numbers.set(key, id);
  }
  return (key) => numbers.get(key) ?? plainNumbers(key);
}
