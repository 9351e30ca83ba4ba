/** Rules that allow what a denial takes back, whoever asks. Pure; the work is bounded by the caller. */
import type { CidrBlock, LabelPeers, PolicyDraft, PortMatch, RuleDraft } from "../compile/index.ts";
import { canonicalJson } from "../lib/hash.ts";
import { cidrContains, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { NAMESPACE_LABEL } from "../model/index.ts";

export interface Shadow {
  /** Of the rule that allows. */
  readonly path: string;
  readonly message: string;
}

/**
 * How often one rule is held against another for one policy: each costs some microseconds, and rules that allow times
 * rules that deny may be hundreds of millions.
 */
export class Comparisons {
  #left: number;

  constructor(limit: number) {
    this.#left = limit;
  }

  get isSpent(): boolean {
    return this.#left < 0;
  }

  spend(count: number): boolean {
    this.#left -= count;
    return !this.isSpent;
  }
}

/** A policy that denies, with what it asks of its subjects, as texts. */
interface Denial {
  readonly draft: PolicyDraft;
  readonly asks: readonly string[];
  readonly rules: readonly RuleDraft[];
}

/**
 * Policies that deny, found by what they ask of their subjects: of very many, those alone are looked at that may mean the
 * subjects of one policy. Tiers are no part of it: there the order decides, not the denial.
 */
export class Denials {
  readonly #ofAll: Denial[] = [];
  readonly #byAsk = new Map<string, Denial[]>();

  constructor(drafts: Iterable<PolicyDraft>) {
    for (const draft of drafts) {
      const rules = draft.rules.filter(({ verdict }) => verdict === "deny");
      if (draft.tier === undefined && rules.length > 0) this.#add({ draft, asks: asksOf(draft.subject), rules });
    }
  }

  #add(denial: Denial): void {
    // Whom the policy's own namespace alone narrows is one of all.
    const [first] = denial.draft.subject.requirements.filter(({ key }) => key !== NAMESPACE_LABEL).map(canonicalJson);
    if (first === undefined) return void this.#ofAll.push(denial);
    const known = this.#byAsk.get(first);
    if (known === undefined) this.#byAsk.set(first, [denial]);
    else known.push(denial);
  }

  /** Rules that deny, for all subjects of `draft`. */
  *of(draft: PolicyDraft): Iterable<{ readonly other: PolicyDraft; readonly rule: RuleDraft }> {
    const asked = new Set(asksOf(draft.subject));
    for (const denials of [this.#ofAll, ...[...asked].map((ask) => this.#byAsk.get(ask) ?? [])]) {
      for (const { draft: other, asks, rules } of denials) {
        if (!takesBack(other, draft) || namesReserved(other.subject) !== namesReserved(draft.subject) || !asks.every((ask) => asked.has(ask))) continue;
        for (const rule of rules) yield { other, rule };
      }
    }
  }
}

function asksOf({ requirements }: LabelPeers): readonly string[] {
  return requirements.map(canonicalJson);
}

/** A denial that only watches takes nothing back from what is enforced. In one namespace what says nothing is as its like. What is staged takes nothing back from its edit. */
function takesBack(denying: PolicyDraft, { ref, enforcement, stages }: PolicyDraft): boolean {
  if (stages === denying.ref.name && denying.ref.kind === ref.kind) return false;
  const word = denying.enforcement ?? (denying.ref.namespace === ref.namespace ? undefined : (denying.otherwise ?? "Enforce"));
  return word === "Enforce" || word === enforcement;
}

/** What was found until `comparisons` is spent. `ofWhom`: whose the denial is, in words; empty: the same policy's. */
export function shadowsOf(draft: PolicyDraft, denials: readonly Denials[], ofWhom: (denying: PolicyDraft) => string, comparisons: Comparisons): readonly Shadow[] {
  if (draft.tier !== undefined || comparisons.isSpent) return [];
  const denying = gathered(draft, denials, comparisons);
  if (denying.length === 0) return [];
  // An item with several peers has a rule for each: it is shadowed when all of them are.
  const allows = Map.groupBy(draft.rules.filter(({ verdict }) => verdict === "allow"), ({ path }) => path);
  return [...allows].flatMap(([path, rules]): Shadow[] => {
    const covers = (allow: RuleDraft, { other, rule }: (typeof denying)[number]): boolean => rule.direction === allow.direction && comparisons.spend(1) && coversPeer(rule, other, allow, draft, comparisons) && coversPorts(rule.ports, allow.ports);
    const found = rules.map((allow) => (comparisons.isSpent ? undefined : denying.find((each) => covers(allow, each))));
    const by = new Set(found.map((each) => each && `${each.rule.path}${ofWhom(each.other)}`));
    return by.has(undefined) ? [] : [{ path, message: `all that it allows is denied by ${[...by].join(" and ")}` }];
  });
}

function gathered(draft: PolicyDraft, denials: readonly Denials[], comparisons: Comparisons): readonly { readonly other: PolicyDraft; readonly rule: RuleDraft }[] {
  const found: { other: PolicyDraft; rule: RuleDraft }[] = [];
  for (const some of denials) {
    for (const one of some.of(draft)) {
      if (!comparisons.spend(1)) return found;
      found.push(one);
    }
  }
  return found;
}

/** Whoever meets `narrow` meets `wide`: it asks for nothing else. */
function isWider(wide: LabelPeers, narrow: LabelPeers): boolean {
  if (namesReserved(wide) !== namesReserved(narrow)) return false;
  const asked = new Set(narrow.requirements.map((requirement) => canonicalJson(requirement)));
  return wide.requirements.every((requirement) => asked.has(canonicalJson(requirement)));
}

export function namesReserved({ requirements }: LabelPeers): boolean {
  return requirements.some(({ key }) => key.startsWith("reserved:"));
}

function coversPeer(deny: RuleDraft, of: PolicyDraft, allow: RuleDraft, draft: PolicyDraft, comparisons: Comparisons): boolean {
  if (deny.peer === undefined || deny.peer === allow.peer) return true;
  const wide = of.selectors.get(deny.peer);
  const narrow = allow.peer === undefined ? undefined : draft.selectors.get(allow.peer);
  if (wide === undefined || narrow === undefined) return false;
  if (wide.kind === "labels") return narrow.kind === "labels" && isWider(wide, narrow);
  return narrow.kind === "cidrs" && comparisons.spend(narrow.blocks.length * wide.blocks.length) && narrow.scopes.every((scope) => wide.scopes.includes(scope)) && narrow.blocks.every((block) => wide.blocks.some((other) => holdsBlock(other, block)));
}

function holdsBlock(outer: CidrBlock, inner: CidrBlock): boolean {
  const cidr = parseCidr(inner.cidr);
  const isApart = (text: string): boolean => !contains(parseCidr(text), cidr) && !contains(cidr, parseCidr(text));
  return contains(parseCidr(outer.cidr), cidr) && outer.except.every((text) => isApart(text) || inner.except.includes(text));
}

export function coversPorts(wide: readonly PortMatch[], narrow: readonly PortMatch[]): boolean {
  return narrow.every((match) => wide.some((other) => coversPort(other, match)));
}

function coversPort(wide: PortMatch, narrow: PortMatch): boolean {
  if ("name" in wide) return "name" in narrow && wide.name === narrow.name && (wide.protocol === 0 || wide.protocol === narrow.protocol);
  if (wide.protocol === 0) return true;
  if (wide.protocol !== narrow.protocol) return false;
  if ("name" in narrow) return wide.prefix === 0;
  return wide.prefix <= narrow.prefix && wide.port >> (16 - wide.prefix) === narrow.port >> (16 - wide.prefix);
}

function contains(outer: Cidr, inner: Cidr): boolean {
  return outer.prefix <= inner.prefix && cidrContains(outer, inner.address);
}
