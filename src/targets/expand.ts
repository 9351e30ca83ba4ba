/** Rule sets with resolved selectors → entries of the map `policy`. Pure. */
import type { PortMatch, Rule, RuleSet } from "../compile/state.ts";
import { Direction, Verdict } from "../kernel/gen/types.ts";
import type { PolicyEntry, PolicyKey } from "../kernel/gen/types.ts";
import { CodedError } from "../lib/errors.ts";
import type { ResolvedSelectors } from "./resolve.ts";

/** A key of `policy` without its rule set: equal keys have equal text. */
export type EntryKey = string;

export interface Entry {
  readonly key: Omit<PolicyKey, "ruleSet">;
  readonly value: PolicyEntry;
}

/** What a subject must obey, but for the number that it is written under. */
export interface Expanded {
  readonly entries: ReadonlyMap<EntryKey, Entry>;
  readonly ingressDefault: number;
  readonly egressDefault: number;
  readonly ingressEnforced: boolean;
  readonly egressEnforced: boolean;
}

const VERDICTS = { allow: Verdict.ALLOW, deny: Verdict.DENY, audit: Verdict.AUDIT } as const;
const DIRECTIONS = { ingress: Direction.INGRESS, egress: Direction.EGRESS } as const;
const ANY_PEER = 0;

export function entryKey(key: Omit<PolicyKey, "ruleSet">): EntryKey {
  return `${key.direction}/${key.peer}/${key.protocol}/${key.port}/${key.portPrefix}`;
}

/** Of two entries with one key only the stronger can decide: greater precedence, then deny, then the smaller rule id. */
function isStronger(a: PolicyEntry, b: PolicyEntry): boolean {
  if (a.precedence !== b.precedence) return a.precedence > b.precedence;
  const denies = (entry: PolicyEntry): boolean => entry.verdict === Verdict.DENY;
  if (denies(a) !== denies(b)) return denies(a);
  return a.rule < b.rule;
}

/** @throws CodedError UNKNOWN_SELECTOR: a rule names a selector that is not there. Nothing may be guessed then. */
export function expandRuleSet(ruleSet: RuleSet, selectors: ResolvedSelectors): Expanded {
  const entries = new Map<EntryKey, Entry>();
  for (const rule of ruleSet.rules) {
    const value: PolicyEntry = { precedence: rule.precedence, rule: rule.id, proxyPort: 0, verdict: VERDICTS[rule.verdict] };
    for (const peer of peersOf(rule, selectors)) {
      for (const port of rule.ports) {
        const key = { direction: DIRECTIONS[rule.direction], peer, ...portKey(port) };
        const text = entryKey(key);
        const known = entries.get(text);
        if (known === undefined || isStronger(value, known.value)) entries.set(text, { key, value });
      }
    }
  }
  return {
    entries,
    ingressDefault: ruleSet.ingressDefault ?? 0,
    egressDefault: ruleSet.egressDefault ?? 0,
    ingressEnforced: ruleSet.ingressDefault !== undefined,
    egressEnforced: ruleSet.egressDefault !== undefined,
  };
}

function peersOf(rule: Rule, selectors: ResolvedSelectors): Iterable<number> {
  if (rule.peer === undefined) return [ANY_PEER];
  const peers = selectors.get(rule.peer);
  if (peers === undefined) throw new CodedError("UNKNOWN_SELECTOR", `rule ${rule.id} names selector ${rule.peer}, which is not in the node state`);
  return peers;
}

function portKey({ protocol, port, prefix }: PortMatch): Pick<PolicyKey, "protocol" | "port" | "portPrefix"> {
  return { protocol, port: port & (0xffff << (16 - prefix)) & 0xffff, portPrefix: prefix };
}

/** Bit n is set: some key of that direction has n leading bits of the port. */
export function portMask(entries: Iterable<Entry>, direction: number): number {
  let mask = 0;
  for (const { key } of entries) if (key.direction === direction) mask |= 1 << key.portPrefix;
  return mask;
}
