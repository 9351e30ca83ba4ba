/**
 * The compiler: (snapshot, node) -> NodeState. Pure; equal snapshots give equal states.
 *
 *   policies --draftPolicy--> drafts ┐
 *   identities ----------------------┴-compileSubject--> rule set of one identity ┐
 *   subjects of the node ---------------------------------------------------------┴-compileNode--> NodeState
 *
 * What one identity must obey depends on its labels and the policies of its namespace and of the cluster only, so it is computed once for all
 * nodes (`SubjectCompiler`) and a node's state is the union over the identities that run there.
 */
import { canonicalJson, contentHash, hash32 } from "../lib/hash.ts";
import { HOST_LABEL, NAMESPACE_LABEL, NAMESPACE_LABELS_PREFIX, namedKeys } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow, Snapshot } from "../model/snapshot.ts";
import { isAudited } from "./draft.ts";
import type { PolicyDraft } from "./draft.ts";
import { PLAIN_OPTIONS, draftPolicy } from "./policy.ts";
import type { PolicyOptions } from "./policy.ts";
import { DEFAULT_FAILSAFE, HOST_IDENTITY, failsafeRules } from "./host.ts";
import type { FailsafeRule } from "./host.ts";
import { selectorId, selects } from "./selectors.ts";
import { FAILSAFE_PRECEDENCE, combine } from "./tiers.ts";
import type { WeighedRule } from "./tiers.ts";
import type { Direction, NodeState, PeerSelector, PolicyRef, RoutingDecision, Rule, RuleId, RuleName, RuleSet, RuleSetId, SelectorId } from "./state.ts";

/** What one identity must obey, with the words of its rules. `keys` says which number each rule's key was given. */
export interface CompiledSubject {
  readonly ruleSet: RuleSet;
  /** What would hold if the policies that only watch were enforced too; undefined: none does. */
  readonly audit: RuleSet | undefined;
  readonly selectors: ReadonlyMap<SelectorId, PeerSelector>;
  readonly names: ReadonlyMap<RuleId, RuleName>;
  readonly keys: ReadonlyMap<string, RuleId>;
  readonly policies: readonly PolicyRef[];
}

/** The number for a rule's key, normally its hash. */
export type RuleNumbers = (key: string) => RuleId;

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

/** `attempt` counts the collisions: 0 is the plain hash. Never 0, which means "no rule". */
function numbered(key: string, attempt: number): RuleId {
  for (let at = attempt; ; at++) {
    const id = hash32(at === 0 ? key : `${key}#${at}`);
    if (id !== 0) return id;
  }
}

export const plainNumbers: RuleNumbers = (key) => numbered(key, 0);

/** @param failsafe rules that come before those of all policies, where one selects the subject at all. */
export function compileSubject(labels: Labels, drafts: readonly PolicyDraft[], numbers: RuleNumbers = plainNumbers, failsafe: readonly FailsafeRule[] = []): CompiledSubject {
  const selecting = drafts.filter((draft) => selects(draft.subject, labels)).sort((a, b) => (a.ref.uid === b.ref.uid ? 0 : a.ref.uid < b.ref.uid ? -1 : 1));
  const names = new Map<RuleId, RuleName>();
  const keys = new Map<string, RuleId>();
  const name = (key: string, words: RuleName): RuleId => {
    const id = numbers(key);
    names.set(id, words);
    keys.set(key, id);
    return id;
  };
  const selectors = new Map<SelectorId, PeerSelector>();
  const add = ({ draft, rule: { direction, path, name: called, peer, ports, verdict }, precedence, tier }: WeighedRule): Rule => {
    const words = { ...(called === undefined ? {} : { name: called }), ...(draft.log === undefined ? {} : { log: draft.log }) };
    const id = name(`${draft.ref.uid}/${path}`, { kind: "rule", direction, policies: [draft.ref], path, ...words });
    const selector = peer === undefined ? undefined : draft.selectors.get(peer);
    if (peer !== undefined && selector !== undefined) selectors.set(peer, selector);
    return { id, direction, peer, ports, verdict, precedence, ...(tier === undefined ? {} : { tier }) };
  };
  const addFailsafe = ({ direction, path, peer, ports, verdict }: FailsafeRule): Rule => {
    const id = name(`failsafe/${direction}/${path}`, { kind: "rule", direction, policies: [], path });
    if (peer !== undefined) selectors.set(selectorId(peer), peer);
    return { id, direction, peer: peer && selectorId(peer), ports, verdict, precedence: FAILSAFE_PRECEDENCE, tier: "admin" };
  };
  const ruleSetOf = (all: readonly PolicyDraft[]): RuleSet => {
    const rules: Rule[] = [];
    const defaults = DIRECTIONS.map((direction) => {
      const combined = combine(all, direction);
      const kept = combined.owners.length === 0 ? [] : failsafe.filter((rule) => rule.direction === direction);
      for (const rule of kept) rules.push(addFailsafe(rule));
      for (const rule of combined.rules) rules.push(add(rule));
      const policies = refsOf(combined.owners);
      if (policies.length === 0) return undefined;
      return name(`default-deny/${direction}/${policies.map((ref) => ref.uid).join(",")}`, { kind: "default-deny", direction, policies, path: "" });
    });
    return { ingressDefault: defaults[0], egressDefault: defaults[1], rules };
  };
  const enforced = selecting.filter((draft) => !isAudited(draft, (key) => labels.get(NAMESPACE_LABELS_PREFIX + key)));
  const ruleSet = ruleSetOf(enforced);
  const audit = enforced.length === selecting.length ? undefined : ruleSetOf(selecting);
  // A policy without effect on this identity is named all the same: the node is to say that it knows it.
  for (const { ref, path, enforces } of selecting) {
    if (enforces.size === 0) name(`${ref.uid}/${path}`, { kind: "rule", direction: "ingress", policies: [ref], path });
  }
  return { ruleSet, audit, selectors, names, keys, policies: refsOf(selecting) };
}

/** In the order of the drafts, each policy once. */
function refsOf(drafts: readonly PolicyDraft[]): readonly PolicyRef[] {
  return [...new Map(drafts.map(({ ref }) => [ref.uid, ref])).values()];
}

export function ruleSetId(ruleSet: RuleSet): RuleSetId {
  return contentHash(canonicalJson(ruleSet));
}

/** The policies that may select an identity: of its namespace and of the whole cluster. A new array stands for a change. */
type PolicyLists = readonly [namespaced: readonly PolicyRow[], clusterwide: readonly PolicyRow[]];

/** Rule sets by identity, kept until the labels or the policies change. The result never depends on the cache. */
export class SubjectCompiler {
  readonly #options: PolicyOptions;
  readonly #failsafe: readonly FailsafeRule[];
  readonly #drafts = new WeakMap<PolicyRow, readonly PolicyDraft[]>();
  readonly #subjects = new WeakMap<Labels, { readonly lists: PolicyLists; readonly subject: CompiledSubject }>();

  constructor(options: PolicyOptions = PLAIN_OPTIONS) {
    this.#options = options;
    this.#failsafe = failsafeRules(options.failsafe ?? DEFAULT_FAILSAFE);
  }

  compile(labels: Labels, lists: PolicyLists): CompiledSubject {
    const known = this.#subjects.get(labels);
    if (known !== undefined && known.lists[0] === lists[0] && known.lists[1] === lists[1]) return known.subject;
    const subject = this.compileAnew(labels, lists);
    this.#subjects.set(labels, { lists, subject });
    return subject;
  }

  compileAnew(labels: Labels, lists: PolicyLists, numbers = plainNumbers): CompiledSubject {
    return compileSubject(labels, this.drafts(lists), numbers, labels.has(HOST_LABEL) ? this.#failsafe : []);
  }

  drafts(lists: PolicyLists): readonly PolicyDraft[] {
    return lists.flatMap((policies) => policies.flatMap((row) => this.draft(row)));
  }

  draft(row: PolicyRow): readonly PolicyDraft[] {
    const drafts = this.#drafts.get(row) ?? draftPolicy(row, this.#options);
    this.#drafts.set(row, drafts);
    return drafts;
  }
}

const NO_POLICIES: readonly PolicyRow[] = [];

/** The state of one node. An identity without labels in the snapshot is left out: the agent keeps such a pod closed. */
export function compileNode(snapshot: Snapshot, node: string, routing: RoutingDecision, compiler = new SubjectCompiler()): NodeState {
  const subjects = new Map<number, CompiledSubject>();
  const labelsOf = new Map<number, Labels>();
  const host = snapshot.hosts?.get(node);
  const own = host && compiler.compile(host, policiesOf(snapshot, host));
  if (host !== undefined && own !== undefined && own.policies.length > 0) {
    labelsOf.set(HOST_IDENTITY, host);
    subjects.set(HOST_IDENTITY, own);
  }
  for (const identity of [...(snapshot.subjects.get(node) ?? [])].sort((a, b) => a - b)) {
    const labels = snapshot.identities.get(identity);
    if (labels === undefined) continue;
    labelsOf.set(identity, labels);
    subjects.set(identity, compiler.compile(labels, policiesOf(snapshot, labels)));
  }
  const named = namedIn([...labelsOf.values()]);
  if (!haveCollision(subjects.values())) return { ...assemble(subjects, routing), ...named };
  const numbers = collisionFree(subjects.values());
  for (const [identity, labels] of labelsOf) subjects.set(identity, compiler.compileAnew(labels, policiesOf(snapshot, labels), numbers));
  return { ...assemble(subjects, routing), ...named };
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

function assemble(subjects: ReadonlyMap<number, CompiledSubject>, routing: RoutingDecision): NodeState {
  const audits = new Map<number, RuleSetId>();
  const state = {
    subjects: new Map<number, RuleSetId>(),
    ruleSets: new Map<RuleSetId, RuleSet>(),
    selectors: new Map<SelectorId, PeerSelector>(),
    ruleNames: new Map<RuleId, RuleName>(),
    policies: new Map<string, number>(),
    routing,
  };
  for (const [identity, subject] of subjects) {
    const id = ruleSetId(subject.ruleSet);
    state.subjects.set(identity, id);
    state.ruleSets.set(id, subject.ruleSet);
    if (subject.audit !== undefined) {
      const audit = ruleSetId(subject.audit);
      audits.set(identity, audit);
      state.ruleSets.set(audit, subject.audit);
    }
    for (const [key, selector] of subject.selectors) state.selectors.set(key, selector);
    for (const [key, words] of subject.names) state.ruleNames.set(key, words);
    for (const ref of subject.policies) state.policies.set(ref.uid, ref.generation);
  }
  return audits.size === 0 ? state : { ...state, audits };
}

/** Two rules of the node have one number: 1 in 4 billion for each pair. */
function haveCollision(subjects: Iterable<CompiledSubject>): boolean {
  const keyOf = new Map<RuleId, string>();
  for (const subject of subjects) {
    for (const [key, id] of subject.keys) {
      if ((keyOf.get(id) ?? key) !== key) return true;
      keyOf.set(id, key);
    }
  }
  return false;
}

/** Numbers given in the order of the keys, so that they depend on the set of rules only, never on history. */
function collisionFree(subjects: Iterable<CompiledSubject>): RuleNumbers {
  const keys = [...new Set([...subjects].flatMap((subject) => [...subject.keys.keys()]))].sort();
  const numbers = new Map<string, RuleId>();
  const taken = new Set<RuleId>();
  for (const key of keys) {
    let attempt = 0;
    let id = numbered(key, attempt);
    while (taken.has(id)) id = numbered(key, ++attempt);
    taken.add(id);
    numbers.set(key, id);
  }
  return (key) => numbers.get(key) ?? plainNumbers(key);
}
