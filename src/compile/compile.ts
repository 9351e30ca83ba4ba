/**
 * The compiler: (snapshot, node) -> NodeState. Pure; equal snapshots give equal states.
 *
 *   policies --draftPolicy--> drafts ┐
 *   identities ----------------------┴-compileSubject--> rule set of one identity ┐
 *   subjects of the node ---------------------------------------------------------┴-compileNode--> NodeState
 *
 * What one identity must obey depends on its labels and its namespace's policies only, so it is computed once for all
 * nodes (`SubjectCompiler`) and a node's state is the union over the identities that run there.
 */
import { canonicalJson, contentHash, hash32 } from "../lib/hash.ts";
import { NAMESPACE_LABEL } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow, Snapshot } from "../model/snapshot.ts";
import { draftPolicy } from "./policy.ts";
import type { PolicyDraft } from "./policy.ts";
import { selects } from "./selectors.ts";
import type { Direction, NodeState, PeerSelector, PolicyRef, RoutingDecision, Rule, RuleId, RuleName, RuleSet, RuleSetId, SelectorId } from "./state.ts";

/** Allow is the weakest verdict; deny, when the language has it, is greater. */
export const ALLOW_PRECEDENCE = 1000;

/** What one identity must obey, with the words of its rules. `keys` says which number each rule's key was given. */
export interface CompiledSubject {
  readonly ruleSet: RuleSet;
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

export function compileSubject(labels: Labels, drafts: readonly PolicyDraft[], numbers: RuleNumbers = plainNumbers): CompiledSubject {
  const selecting = drafts.filter((draft) => selects(draft.subject, labels)).sort((a, b) => (a.ref.uid < b.ref.uid ? -1 : 1));
  const names = new Map<RuleId, RuleName>();
  const keys = new Map<string, RuleId>();
  const name = (key: string, words: RuleName): RuleId => {
    const id = numbers(key);
    names.set(id, words);
    keys.set(key, id);
    return id;
  };
  const rules: Rule[] = [];
  const selectors = new Map<SelectorId, PeerSelector>();
  for (const draft of selecting) {
    for (const { direction, path, peer, ports } of draft.rules) {
      const id = name(`${draft.ref.uid}/${path}`, { kind: "rule", direction, policies: [draft.ref], path });
      rules.push({ id, direction, peer, ports, verdict: "allow", precedence: ALLOW_PRECEDENCE });
      const selector = peer === undefined ? undefined : draft.selectors.get(peer);
      if (peer !== undefined && selector !== undefined) selectors.set(peer, selector);
    }
  }
  const defaults = DIRECTIONS.map((direction) => {
    const policies = selecting.filter((draft) => draft.enforces.has(direction)).map((draft) => draft.ref);
    if (policies.length === 0) return undefined;
    return name(`default-deny/${direction}/${policies.map((ref) => ref.uid).join(",")}`, { kind: "default-deny", direction, policies, path: "" });
  });
  const ruleSet: RuleSet = { ingressDefault: defaults[0], egressDefault: defaults[1], rules };
  return { ruleSet, selectors, names, keys, policies: selecting.map((draft) => draft.ref) };
}

export function ruleSetId(ruleSet: RuleSet): RuleSetId {
  return contentHash(canonicalJson(ruleSet));
}

/** Rule sets by identity, kept until the labels or the policies of the namespace change. The result never depends on the cache. */
export class SubjectCompiler {
  readonly #drafts = new WeakMap<PolicyRow, PolicyDraft>();
  readonly #subjects = new WeakMap<Labels, { readonly policies: readonly PolicyRow[]; readonly subject: CompiledSubject }>();

  /** `policies` are those of the labels' namespace; a new array stands for a change. */
  compile(labels: Labels, policies: readonly PolicyRow[]): CompiledSubject {
    const known = this.#subjects.get(labels);
    if (known !== undefined && known.policies === policies) return known.subject;
    const subject = compileSubject(labels, this.drafts(policies));
    this.#subjects.set(labels, { policies, subject });
    return subject;
  }

  drafts(policies: readonly PolicyRow[]): readonly PolicyDraft[] {
    return policies.map((row) => {
      const draft = this.#drafts.get(row) ?? draftPolicy(row);
      this.#drafts.set(row, draft);
      return draft;
    });
  }
}

const NO_POLICIES: readonly PolicyRow[] = [];

/** The state of one node. An identity without labels in the snapshot is left out: the agent keeps such a pod closed. */
export function compileNode(snapshot: Snapshot, node: string, routing: RoutingDecision, compiler = new SubjectCompiler()): NodeState {
  const subjects = new Map<number, CompiledSubject>();
  for (const identity of [...(snapshot.subjects.get(node) ?? [])].sort((a, b) => a - b)) {
    const labels = snapshot.identities.get(identity);
    if (labels === undefined) continue;
    subjects.set(identity, compiler.compile(labels, policiesOf(snapshot, labels)));
  }
  if (!haveCollision(subjects.values())) return assemble(subjects, routing);
  const numbers = collisionFree(subjects.values());
  for (const identity of subjects.keys()) {
    const labels = snapshot.identities.get(identity);
    if (labels !== undefined) subjects.set(identity, compileSubject(labels, compiler.drafts(policiesOf(snapshot, labels)), numbers));
  }
  return assemble(subjects, routing);
}

function policiesOf(snapshot: Snapshot, labels: Labels): readonly PolicyRow[] {
  return snapshot.policies.get(labels.get(NAMESPACE_LABEL) ?? "") ?? NO_POLICIES;
}

function assemble(subjects: ReadonlyMap<number, CompiledSubject>, routing: RoutingDecision): NodeState {
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
    for (const [key, selector] of subject.selectors) state.selectors.set(key, selector);
    for (const [key, words] of subject.names) state.ruleNames.set(key, words);
    for (const ref of subject.policies) state.policies.set(ref.uid, ref.generation);
  }
  return state;
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
