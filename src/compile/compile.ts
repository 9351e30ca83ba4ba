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
import { canonicalJson } from "../lib/hash.ts";
import { Interner } from "../lib/interner.ts";
import { HOST_LABEL, NAMESPACE_LABEL, namedKeys } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow, Snapshot } from "../model/snapshot.ts";
import { clausesOf, numbered, plainNumbers } from "./clauses.ts";
import type { Clauses, RuleNumbers } from "./clauses.ts";
import type { PolicyDraft } from "./draft.ts";
import { PLAIN_OPTIONS, draftPolicy } from "./policy.ts";
import type { PolicyOptions } from "./policy.ts";
import { DEFAULT_FAILSAFE, HOST_IDENTITY, failsafeRules } from "./host.ts";
import type { FailsafeRule } from "./host.ts";
import { Runs } from "./runs.ts";
import type { Run } from "./runs.ts";
import { selectorId, selects } from "./selectors.ts";
import { composeSubject, isSameRule, portionOf } from "./subject.ts";
import type { CompiledSubject, Portion } from "./subject.ts";
import type { LabelPeers, NodeState, PeerSelector, RoutingDecision, RuleId, RuleName, RuleSet, RuleSetId, SelectorId } from "./state.ts";

/** The policies that may select an identity: of its namespace and of the whole cluster. A new array stands for a change. */
type PolicyLists = readonly [namespaced: readonly PolicyRow[], clusterwide: readonly PolicyRow[]];

/** How a subject came about. */
interface Composition {
  readonly lists: PolicyLists;
  readonly portions: ReadonlyMap<Run, Portion | undefined>;
  readonly subject: CompiledSubject;
}

/** Results by what they were made of, kept until that is gone. No result ever depends on what is kept. */
export class SubjectCompiler {
  readonly #options: PolicyOptions;
  readonly #failsafe: readonly FailsafeRule[];
  readonly #runs = new Runs();
  readonly #selectors = new Interner<LabelPeers>();
  readonly #clauses = new WeakMap<PolicyRow, readonly Clauses[]>();
  readonly #subjects = new WeakMap<Labels, Composition>();
  readonly #serials = new WeakMap<object, number>();
  readonly #states = new Map<string, WeakRef<NodeState>>();
  #lastSerial = 0;

  constructor(options: PolicyOptions = PLAIN_OPTIONS) {
    this.#options = options;
    this.#failsafe = failsafeRules(options.failsafe ?? DEFAULT_FAILSAFE);
  }

  compile(labels: Labels, lists: PolicyLists): CompiledSubject {
    const known = this.#subjects.get(labels);
    if (known?.lists[0] === lists[0] && known.lists[1] === lists[1]) return known.subject;
    const meets = matcher(labels);
    const portions = new Map<Run, Portion | undefined>();
    for (const run of lists.flatMap((list) => this.#runs.of(list))) {
      portions.set(run, known?.portions.has(run) === true ? known.portions.get(run) : portionOf(labels, run.flatMap((row) => this.#clausesOf(row)), meets));
    }
    const selecting = present(portions);
    const isSame = known !== undefined && equal(selecting, present(known.portions));
    const subject = isSame ? known.subject : composeSubject(selecting, plainNumbers, this.#failsafeOf(labels));
    this.#subjects.set(labels, { lists, portions, subject });
    return subject;
  }

  /** As `compile`, with other numbers for rules than their hashes. */
  renumbered(labels: Labels, lists: PolicyLists, numbers: RuleNumbers): CompiledSubject {
    const drafts = lists.flatMap((list) => this.#runs.of(list).flat()).flatMap((row) => this.draft(row));
    const portion = portionOf(labels, drafts.map((draft) => clausesOf(draft, numbers)), matcher(labels));
    return composeSubject(portion === undefined ? [] : [portion], numbers, this.#failsafeOf(labels));
  }

  draft(row: PolicyRow): readonly PolicyDraft[] {
    return this.#clausesOf(row).map(({ draft }) => draft);
  }

  /** One state for all nodes on which the same runs: of many nodes with few identities most have none of their own. */
  shared(parts: readonly (object | string | number)[], make: () => NodeState): NodeState {
    const key = parts.map((part) => (typeof part === "object" ? this.#serialOf(part) : part)).join();
    const known = this.#states.get(key)?.deref();
    if (known !== undefined) return known;
    const state = make();
    if (this.#states.size >= MOST_SHARED) this.#states.clear();
    this.#states.set(key, new WeakRef(state));
    return state;
  }

  #failsafeOf(labels: Labels): readonly FailsafeRule[] {
    return labels.has(HOST_LABEL) ? this.#failsafe : [];
  }

  #clausesOf(row: PolicyRow): readonly Clauses[] {
    const known = this.#clauses.get(row);
    if (known !== undefined) return known;
    const clauses = draftPolicy(row, this.#options).map((draft) => clausesOf({ ...draft, subject: this.#selectors.of(selectorId(draft.subject), () => draft.subject) }, plainNumbers));
    this.#clauses.set(row, clauses);
    return clauses;
  }

  #serialOf(part: object): number {
    const serial = this.#serials.get(part) ?? ++this.#lastSerial;
    this.#serials.set(part, serial);
    return serial;
  }
}

/** Beyond so many all are forgotten: only sharing is lost. */
const MOST_SHARED = 16_384;

/** Whether these labels meet a selector; of one that several policies have it is asked once. */
function matcher(labels: Labels): (subject: LabelPeers) => boolean {
  const known = new Map<LabelPeers, boolean>();
  return (subject) => {
    const met = known.get(subject) ?? selects(subject, labels);
    known.set(subject, met);
    return met;
  };
}

function present(portions: ReadonlyMap<Run, Portion | undefined>): readonly Portion[] {
  return [...portions.values()].filter((portion) => portion !== undefined);
}

/** Whether both say the same: of a run that is made anew what is selected may be as before. */
function equal(a: readonly Portion[], b: readonly Portion[]): boolean {
  return haveSame(a, b, (one, other) => one === other || haveSame(one.clauses, other.clauses, Object.is));
}

function haveSame<T>(a: readonly T[], b: readonly T[], isSame: (one: T, other: T) => boolean): boolean {
  return a.length === b.length && a.every((one, at) => isSame(one, b[at] as T));
}

const NO_POLICIES: readonly PolicyRow[] = [];

/** The state of one node. An identity without labels in the snapshot is left out: the agent keeps such a pod closed. */
export function compileNode(snapshot: Snapshot, node: string, routing: RoutingDecision, compiler = new SubjectCompiler()): NodeState {
  const identities = subjectsOf(snapshot, node);
  const compiled = identities.map(({ identity, labels, lists }) => [identity, compiler.compile(labels, lists)] as const);
  const subjects = new Map(compiled.filter(([identity, { policies }]) => identity !== HOST_IDENTITY || policies.length > 0));
  return compiler.shared([canonicalJson(routing), ...[...subjects].flat()], () => {
    const named = namedIn(identities.map(({ labels }) => labels));
    const state = assemble(subjects, routing);
    if (state !== undefined) return { ...state, ...named };
    const renumbered = (numbers: RuleNumbers): Map<number, CompiledSubject> => new Map(identities.map(({ identity, labels, lists }) => [identity, compiler.renumbered(labels, lists, numbers)]));
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
}

/** By number; the node itself is the first. */
function subjectsOf(snapshot: Snapshot, node: string): readonly Subject[] {
  const pods = [...(snapshot.subjects.get(node) ?? [])].sort((a, b) => a - b);
  return [HOST_IDENTITY, ...pods].flatMap((identity) => {
    const labels = identity === HOST_IDENTITY ? snapshot.hosts?.get(node) : snapshot.identities.get(identity);
    return labels === undefined ? [] : [{ identity, labels, lists: policiesOf(snapshot, labels) }];
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
function assemble(subjects: ReadonlyMap<number, CompiledSubject>, routing: RoutingDecision): NodeState | undefined {
  const all = [...subjects.values()];
  const ruleNames = namesOf(all);
  if (ruleNames === undefined) return undefined;
  const audits = new Map<number, RuleSetId>();
  const state = {
    subjects: new Map<number, RuleSetId>(),
    ruleSets: new Map<RuleSetId, RuleSet>(),
    selectors: new Map<SelectorId, PeerSelector>(all.flatMap(({ selectors }) => [...selectors])),
    ruleNames,
    policies: new Map<string, number>(),
    routing,
  };
  for (const [identity, { id, ruleSet, audit, policies }] of subjects) {
    state.subjects.set(identity, id);
    state.ruleSets.set(id, ruleSet);
    if (audit !== undefined) {
      audits.set(identity, audit.id);
      state.ruleSets.set(audit.id, audit.ruleSet);
    }
    for (const ref of policies) state.policies.set(ref.uid, ref.generation);
  }
  return audits.size === 0 ? state : { ...state, audits };
}

function namesOf(subjects: readonly CompiledSubject[]): ReadonlyMap<RuleId, RuleName> | undefined {
  if (subjects.some(({ isAmbiguous }) => isAmbiguous)) return undefined;
  const [first] = subjects;
  if (first !== undefined && subjects.length === 1) return first.names;
  const names = new Map<RuleId, RuleName>();
  for (const subject of subjects) {
    for (const [id, words] of subject.names) {
      const known = names.get(id);
      if (known === undefined) names.set(id, words);
      else if (!isSameRule(known, words)) return undefined;
    }
  }
  return names;
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
