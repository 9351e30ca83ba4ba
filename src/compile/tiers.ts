/**
 * How policies of all kinds combine for one subject and direction: which rules count, and with which precedence.
 *
 *   tier of the administrator    asked first, in keys of its own; a rule that passes hands over to what follows
 *   policies                     deny before allow; closed, they decide everything that is left
 *   baseline                     where no policy closes the direction
 *   open                         what is left, where anything above denies
 *
 * All but the first stand in one space of precedences, as nothing below the policies hands over to anything but the end.
 */
import { ANY_PORT } from "./draft.ts";
import type { PolicyDraft, RuleDraft, Tier } from "./draft.ts";
import type { Direction, Rule } from "./state.ts";

/** The greatest decides, whatever the width of peers or ports. */
export const DENY_PRECEDENCE = 2000;
export const ALLOW_PRECEDENCE = 1000;
/** What a direction that no policy closes lets through, where anything denies. */
export const OPEN_PRECEDENCE = 100;

/** Rules that policies of one priority can have; their objects alone would be gigabytes. */
const RULES_PER_PRIORITY = 4_000_000;
const PRIORITIES = 1001;
/** Greater than every rank. Above it the policies stand where they have a baseline below them; all is less than 2^32. */
const RANKS = PRIORITIES * RULES_PER_PRIORITY;

export interface WeighedRule extends Pick<Rule, "precedence" | "tier"> {
  readonly draft: PolicyDraft;
  readonly rule: RuleDraft;
}

export interface Combined {
  readonly rules: readonly WeighedRule[];
  /** Whose the default of the direction is; none: nothing is enforced. */
  readonly owners: readonly PolicyDraft[];
}

/** Of the tier of the administrator, whom no policy outranks: greater than every rank there. */
export const FAILSAFE_PRECEDENCE = RANKS;

/** Of a policy without a tier, where policies close the direction. */
export function policyPrecedence({ verdict }: Pick<RuleDraft, "verdict">): number {
  return verdict === "deny" ? DENY_PRECEDENCE : ALLOW_PRECEDENCE;
}

/** What the administrator's tier says, of the policies that select the subject. */
export function adminRules(tiered: readonly PolicyDraft[], direction: Direction): readonly WeighedRule[] {
  return ranked(tiered, "admin", direction).map((weighed): WeighedRule => ({ ...weighed, tier: "admin" }));
}

/**
 * Where no policy closes the direction, what is not denied is allowed; without denials there is nothing to enforce. `own`
 * and `tiered` are the policies that select the subject, those without a tier and the others.
 */
export function openRules(own: readonly PolicyDraft[], tiered: readonly PolicyDraft[], direction: Direction): Combined {
  const baseline = ranked(tiered, "baseline", direction).map(asBaseline);
  const lift = baseline.length > 0 ? RANKS : 0;
  const policies = own.flatMap((draft) => rulesOf(draft, direction).map((rule) => ({ draft, rule, precedence: lift + policyPrecedence(rule) })));
  const all: readonly WeighedRule[] = [...adminRules(tiered, direction), ...policies, ...baseline];
  const owners = [...new Set(all.filter(({ rule }) => rule.verdict === "deny").map(({ draft }) => draft))];
  if (owners.length === 0) return { rules: [], owners };
  const open = owners.map((draft) => ({ draft, rule: { direction, verdict: "allow" as const, path: openPath(draft, direction), peer: undefined, ports: [ANY_PORT] }, precedence: OPEN_PRECEDENCE }));
  // What a policy allows decides only where something below it denies.
  const counting = all.filter(({ tier, rule }) => baseline.length > 0 || tier !== undefined || rule.verdict === "deny");
  return { rules: [...counting, ...open], owners };
}

function openPath({ path, tier }: PolicyDraft, direction: Direction): string {
  return tier === undefined ? `${path}.enableDefaultDeny.${direction}` : `${path}.${direction}`;
}

function rulesOf(draft: PolicyDraft, direction: Direction): readonly RuleDraft[] {
  return draft.rules.filter((rule) => rule.direction === direction);
}

/** By priority, then name, then place in the policy: each place has a precedence of its own. */
function ranked(selecting: readonly PolicyDraft[], name: Tier["name"], direction: Direction): WeighedRule[] {
  const drafts = selecting.flatMap((draft) => (draft.tier?.name === name ? [{ draft, priority: draft.tier.priority }] : []));
  drafts.sort((a, b) => a.priority - b.priority || (a.draft.ref.name < b.draft.ref.name ? -1 : 1));
  const places = new Map<number, number>();
  return drafts.flatMap(({ draft, priority }) => {
    const before = places.get(priority) ?? 0;
    const paths = [...new Set(rulesOf(draft, direction).map(({ path }) => path))];
    places.set(priority, before + paths.length);
    const top = (PRIORITIES - priority) * RULES_PER_PRIORITY - 1 - before;
    return rulesOf(draft, direction).map((rule) => ({ draft, rule, precedence: top - paths.indexOf(rule.path) }));
  });
}

/** Behind the baseline there is nothing that denies: to hand over is to allow. */
function asBaseline({ draft, rule, precedence }: WeighedRule): WeighedRule {
  return { draft, rule: { ...rule, verdict: rule.verdict === "deny" ? "deny" : "allow" }, precedence: precedence + OPEN_PRECEDENCE };
}
