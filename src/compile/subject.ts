/** What one identity must obey: the clauses of the policies that select it, put together. */
import { NAMESPACE_LABELS_PREFIX } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import { NOTHING, clausesOf, digestsOf, distinct, joined, nameOf, plainNumbers, ruleSetId, selectorsOf } from "./clauses.ts";
import type { Clauses, NamedRule, RuleNumbers, Side, Sides } from "./clauses.ts";
import { isAudited } from "./draft.ts";
import type { FailsafeRule } from "./host.ts";
import type { PolicyDraft } from "./draft.ts";
import { selectorId, selects } from "./selectors.ts";
import { FAILSAFE_PRECEDENCE, adminRules, openRules } from "./tiers.ts";
import type { WeighedRule } from "./tiers.ts";
import type { Direction, PeerSelector, PolicyRef, Rule, RuleId, RuleName, RuleSet, RuleSetId, SelectorId } from "./state.ts";

/** A rule set under the name that its content gives it. */
export interface NamedRuleSet {
  readonly id: RuleSetId;
  readonly ruleSet: RuleSet;
}

/** What one identity must obey, with the words of its rules. */
export interface CompiledSubject extends NamedRuleSet {
  /** What would hold if the policies that only watch were enforced too, or in the place of those that they stage; undefined: none does. */
  readonly audit: NamedRuleSet | undefined;
  readonly selectors: ReadonlyMap<SelectorId, PeerSelector>;
  readonly names: ReadonlyMap<RuleId, RuleName>;
  /** Two rules have one number. */
  readonly isAmbiguous: boolean;
  /** uid -> generation of all that select it. */
  readonly policies: ReadonlyMap<string, number>;
}

/** What some policies mean for an identity that they select. */
export interface Portion {
  readonly clauses: readonly Clauses[];
  /** With those that only watch, without those in whose place one of these does. */
  readonly watched: Sides;
  /** Without those that only watch; `watched` itself when they are the same. */
  readonly enforced: Sides;
  readonly idle: readonly NamedRule[];
}

/**
 * @param enforced `selecting` itself, or those of them that do not only watch
 * @param watched `selecting` itself, or those of them in whose place no other watches
 */
export function portionOf(selecting: readonly Clauses[], enforced: readonly Clauses[], watched: readonly Clauses[]): Portion {
  const sides = sidesOf(watched);
  const judged = enforced === selecting || watched === selecting ? undefined : new Set([...enforced, ...watched]);
  const idle = selecting.filter((one) => one.draft.enforces.size === 0 || judged?.has(one) === false).map(({ word }) => word);
  return { clauses: selecting, watched: sides, enforced: enforced === watched ? sides : sidesOf(enforced), idle };
}

/** The policies in whose place others watch, whomever these select. */
export type Staged = ReadonlySet<string>;

export const NONE_STAGED: Staged = new Set();

/** Of a draft that watches in the place of another: that one's name among all policies. */
export function stagedBy({ ref, stages }: PolicyDraft): readonly string[] {
  return stages === undefined ? [] : [stagingKey({ ...ref, name: stages })];
}

function stagingKey({ kind, namespace, name }: Pick<PolicyRef, "kind" | "namespace" | "name">): string {
  return `${kind}/${namespace}/${name}`;
}

/** The same array when none of them is replaced. */
export function watchedOf(selecting: readonly Clauses[], staged: Staged): readonly Clauses[] {
  if (staged.size === 0) return selecting;
  const watched = selecting.filter(({ draft: { ref } }) => !staged.has(stagingKey(ref)));
  return watched.length === selecting.length ? selecting : watched;
}

/** Without those that only watch a subject with these labels; the same array when none does. */
export function enforcedFor(labels: Labels, selecting: readonly Clauses[]): readonly Clauses[] {
  const enforced = selecting.filter(({ draft }) => !isAudited(draft, (key) => labels.get(NAMESPACE_LABELS_PREFIX + key)));
  return enforced.length === selecting.length ? selecting : enforced;
}

function sidesOf(clauses: readonly Clauses[]): Sides {
  return { ingress: joined(clauses.map(({ sides }) => sides.ingress)), egress: joined(clauses.map(({ sides }) => sides.egress)) };
}

export function compileSubject(labels: Labels, drafts: readonly PolicyDraft[], numbers: RuleNumbers = plainNumbers): CompiledSubject {
  const ordered = drafts.toSorted((a, b) => (a.ref.uid === b.ref.uid ? 0 : a.ref.uid < b.ref.uid ? -1 : 1));
  const selecting = ordered.filter(({ subject }) => selects(subject, labels)).map((draft) => clausesOf(draft, numbers));
  const staged = new Set(drafts.flatMap(stagedBy));
  return composeSubject([portionOf(selecting, enforcedFor(labels, selecting), watchedOf(selecting, staged))], numbers);
}

/**
 * @param portions in the order of their policies
 * @param failsafe rules that come before those of all policies, where one closes or denies anything at all
 */
export function composeSubject(portions: readonly Portion[], numbers: RuleNumbers, failsafe: readonly FailsafeRule[] = []): CompiledSubject {
  const names = new RuleNames();
  const selectors = new Map<SelectorId, PeerSelector>();
  const compose = (sides: readonly Sides[]): NamedRuleSet => {
    const [ingress, egress] = [settle(sides, "ingress", numbers, failsafe), settle(sides, "egress", numbers, failsafe)];
    for (const side of [ingress, egress]) {
      names.add(side.names);
      for (const [id, selector] of side.selectors) selectors.set(id, selector);
    }
    const ruleSet = { ingressDefault: ingress.defaultRule, egressDefault: egress.defaultRule, rules: ingress.rules.concat(egress.rules) };
    return { id: ruleSetId(ruleSet, ingress.digests + egress.digests), ruleSet };
  };
  const enforced = compose(portions.map((portion) => portion.enforced));
  const audit = portions.every((portion) => portion.enforced === portion.watched) ? undefined : compose(portions.map(({ watched }) => watched));
  for (const { idle } of portions) names.add(idle);
  const policies = new Map<string, number>();
  for (const { clauses } of portions) for (const { draft } of clauses) policies.set(draft.ref.uid, draft.ref.generation);
  return { ...enforced, audit, selectors, names: names.byId, isAmbiguous: names.isAmbiguous, policies };
}

/** Words by number. Rules that are the same in two rule sets are named in both. */
class RuleNames {
  readonly byId = new Map<RuleId, RuleName>();
  isAmbiguous = false;

  add(names: readonly NamedRule[]): void {
    const before = this.byId.size;
    for (const [id, words] of names) {
      const known = before === 0 ? undefined : this.byId.get(id);
      if (known !== undefined && !isSameRule(known, words)) this.isAmbiguous = true;
      this.byId.set(id, words);
    }
    // Of the first there is nothing to compare with but themselves: each has a key of its own.
    if (before === 0 && this.byId.size < names.length) this.isAmbiguous = true;
  }
}

export function isSameRule(a: RuleName, b: RuleName): boolean {
  if (a === b) return true;
  return a.kind === b.kind && a.path === b.path && a.direction === b.direction && a.policies.length === b.policies.length && a.policies.every(({ uid }, at) => uid === b.policies[at]?.uid);
}

interface Settled extends Pick<Side, "rules" | "digests" | "names" | "selectors"> {
  readonly defaultRule: RuleId | undefined;
}

function settle(sides: readonly Sides[], direction: Direction, numbers: RuleNumbers, failsafe: readonly FailsafeRule[]): Settled {
  const settled = settlePolicies(sides, direction, numbers);
  const kept = failsafe.filter((rule) => rule.direction === direction);
  return settled.defaultRule === undefined || kept.length === 0 ? settled : { ...settled, ...joined([failsafeSide(kept, numbers), { ...NOTHING, ...settled }]) };
}

function failsafeSide(failsafe: readonly FailsafeRule[], numbers: RuleNumbers): Side {
  const named = failsafe.map(({ direction, path }): NamedRule => [numbers(`failsafe/${direction}/${path}`), { kind: "rule", direction, policies: [], path }]);
  const rules = failsafe.map(({ direction, peer, ports, verdict }, at): Rule =>
    ({ id: named[at]?.[0] ?? 0, direction, peer: peer && selectorId(peer), ports, verdict, precedence: FAILSAFE_PRECEDENCE, tier: "admin" }));
  const selectors = failsafe.flatMap(({ peer }) => (peer === undefined ? [] : [[selectorId(peer), peer] as const]));
  return { ...NOTHING, rules, digests: digestsOf(rules), names: named, selectors };
}

/** What holds in one direction. Where policies close it their rules are taken as they are, the administrator's before them. */
function settlePolicies(sides: readonly Sides[], direction: Direction, numbers: RuleNumbers): Settled {
  const side = joined(sides.map((one) => one[direction]));
  if (side === NOTHING) return { ...side, defaultRule: undefined };
  if (side.closers.length === 0) {
    const { rules, owners } = openRules(side.own, side.tiered, direction);
    return withDefault(weighed(rules, numbers), distinct(owners.map(({ ref }) => ref)), direction, numbers);
  }
  if (side.tiered.length === 0) return withDefault(side, side.closers, direction, numbers);
  const admin = weighed(adminRules(side.tiered, direction), numbers);
  return withDefault(joined([admin, side]), side.closers, direction, numbers);
}

function withDefault({ rules, digests, names, selectors }: Side, owners: readonly PolicyRef[], direction: Direction, numbers: RuleNumbers): Settled {
  if (owners.length === 0) return { rules, digests, names, selectors, defaultRule: undefined };
  const id = numbers(`default-deny/${direction}/${owners.map(({ uid }) => uid).join()}`);
  const words: NamedRule = [id, { kind: "default-deny", direction, policies: owners, path: "" }];
  return { rules, digests, names: [...names, words], selectors, defaultRule: id };
}

function weighed(all: readonly WeighedRule[], numbers: RuleNumbers): Side {
  const names = new Map<string, NamedRule>();
  const rules = all.map(({ draft, rule, precedence, tier }): Rule => {
    const key = `${draft.ref.uid}/${rule.path}`;
    const known = names.get(key) ?? nameOf(draft, rule, numbers);
    names.set(key, known);
    return { id: known[0], direction: rule.direction, peer: rule.peer, ports: rule.ports, verdict: rule.verdict, precedence, ...(tier === undefined ? {} : { tier }) };
  });
  const selectors = new Map(all.flatMap(({ draft, rule }) => selectorsOf(draft, [rule])));
  return { ...NOTHING, rules, digests: digestsOf(rules), names: [...names.values()], selectors: [...selectors] };
}
