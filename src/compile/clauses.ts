/**
 * What policies say, ready to be put together: of one draft, of a run of policies, of all that select an identity. Each is
 * the ones before it in a row, so that only what changed is made anew.
 */
import { canonicalJson, contentHash, hash32 } from "../lib/hash.ts";
import type { PolicyDraft, RuleDraft } from "./draft.ts";
import type { Direction, PeerSelector, PolicyRef, Rule, RuleId, RuleName, RuleSet, RuleSetId, SelectorId } from "./state.ts";
import { policyPrecedence } from "./tiers.ts";

/** The number for a rule's key, normally its hash. */
export type RuleNumbers = (key: string) => RuleId;

/** `attempt` counts the collisions: 0 is the plain hash. Never 0, which means "no rule". */
export function numbered(key: string, attempt: number): RuleId {
  for (let at = attempt; ; at++) {
    const id = hash32(at === 0 ? key : `${key}#${at}`);
    if (id !== 0) return id;
  }
}

export const plainNumbers: RuleNumbers = (key) => numbered(key, 0);

export type NamedRule = readonly [id: RuleId, words: RuleName];
type NamedSelector = readonly [id: SelectorId, selector: PeerSelector];

/** What policies say of one direction, in their order. */
export interface Side {
  /** Those with something to say here: of no tier, and of one. */
  readonly own: readonly PolicyDraft[];
  readonly tiered: readonly PolicyDraft[];
  /** Which of `own` close the direction; each once. */
  readonly closers: readonly PolicyRef[];
  /** The rules of `own` as they count where the direction is closed, with their digests, words and selectors. */
  readonly rules: readonly Rule[];
  readonly digests: string;
  readonly names: readonly NamedRule[];
  readonly selectors: readonly NamedSelector[];
}

export type Sides = Readonly<Record<Direction, Side>>;

/** A draft with what it says, whomever it selects. */
export interface Clauses {
  readonly draft: PolicyDraft;
  readonly sides: Sides;
  /** Names a policy that is judged in no rule set of a subject: the node is to say that it knows it. */
  readonly word: NamedRule;
}

export const NOTHING: Side = { own: [], tiered: [], closers: [], rules: [], digests: "", names: [], selectors: [] };

export function clausesOf(draft: PolicyDraft, numbers: RuleNumbers): Clauses {
  const { ref, path } = draft;
  const word: NamedRule = [numbers(ruleKey(ref, path)), { kind: "rule", direction: "ingress", policies: [ref], path }];
  return { draft, word, sides: { ingress: sideOf(draft, "ingress", numbers), egress: sideOf(draft, "egress", numbers) } };
}

function sideOf(draft: PolicyDraft, direction: Direction, numbers: RuleNumbers): Side {
  const drafts = draft.rules.filter((rule) => rule.direction === direction);
  const closers = draft.enforces.has(direction) ? [draft.ref] : [];
  if (drafts.length === 0 && closers.length === 0) return NOTHING;
  if (draft.tier !== undefined) return { ...NOTHING, tiered: [draft] };
  const named = new Map<string, NamedRule>();
  const rules = drafts.map((rule): Rule => {
    const known = named.get(rule.path) ?? nameOf(draft, rule, numbers);
    named.set(rule.path, known);
    return { id: known[0], direction, peer: rule.peer, ports: rule.ports, verdict: rule.verdict, precedence: policyPrecedence(rule) };
  });
  return { own: [draft], tiered: [], closers, rules, digests: digestsOf(rules), names: [...named.values()], selectors: selectorsOf(draft, drafts) };
}

export function nameOf(draft: PolicyDraft, { direction, path, name }: RuleDraft, numbers: RuleNumbers): NamedRule {
  const words = { ...(name === undefined ? {} : { name }), ...(draft.log === undefined ? {} : { log: draft.log }) };
  return [numbers(ruleKey(draft.ref, path)), { kind: "rule", direction, policies: [draft.ref], path, ...words }];
}

function ruleKey({ uid }: PolicyRef, path: string): string {
  return `${uid}/${path}`;
}

export function selectorsOf(draft: PolicyDraft, rules: readonly RuleDraft[]): readonly NamedSelector[] {
  const selectors = new Map<SelectorId, PeerSelector>();
  for (const { peer } of rules) {
    const selector = peer === undefined ? undefined : draft.selectors.get(peer);
    if (peer !== undefined && selector !== undefined) selectors.set(peer, selector);
  }
  return [...selectors];
}

/** All that the sides say, one after the other. */
export function joined(sides: readonly Side[]): Side {
  const saying = sides.filter((side) => side !== NOTHING);
  const [first = NOTHING] = saying;
  if (saying.length < 2) return first;
  return {
    own: saying.flatMap(({ own }) => own),
    tiered: saying.flatMap(({ tiered }) => tiered),
    closers: distinct(saying.flatMap(({ closers }) => closers)),
    rules: saying.flatMap(({ rules }) => rules),
    digests: saying.map(({ digests }) => digests).join(""),
    names: saying.flatMap(({ names }) => names),
    selectors: [...new Map(saying.flatMap(({ selectors }) => selectors))],
  };
}

/** Each policy once: items of its `specs` follow one another. */
export function distinct(refs: readonly PolicyRef[]): readonly PolicyRef[] {
  return refs.filter(({ uid }, at) => uid !== refs[at - 1]?.uid);
}

/** One text for equal rules, of one length each, so that those of several are these in a row. */
export function digestsOf(rules: readonly Rule[]): string {
  return rules.map((rule) => contentHash(canonicalJson(rule))).join("");
}

export function ruleSetId({ ingressDefault, egressDefault }: RuleSet, digests: string): RuleSetId {
  return contentHash(`${ingressDefault ?? ""}/${egressDefault ?? ""}/${digests}`);
}
