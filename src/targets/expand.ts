/** Rule sets with resolved selectors → entries of the map `policy`. Pure. */
import type { NodeState, PortMatch, Rule, RuleSet, RuleSetId } from "../compile/state.ts";
import { Direction, Verdict } from "../kernel/gen/types.ts";
import type { PolicyEntry, PolicyKey, Subject } from "../kernel/gen/types.ts";
import { CodedError, asError } from "../lib/errors.ts";
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
  readonly header: Header;
}

/** A subject without what is chosen when it is written. */
export type Header = Omit<Subject, "generation" | "ruleSet" | "owner">;

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
  const header: Header = {
    ingressDefault: ruleSet.ingressDefault ?? 0,
    egressDefault: ruleSet.egressDefault ?? 0,
    ingressPorts: portMask(entries.values(), Direction.INGRESS),
    egressPorts: portMask(entries.values(), Direction.EGRESS),
    ingressEnforced: Number(ruleSet.ingressDefault !== undefined),
    egressEnforced: Number(ruleSet.egressDefault !== undefined),
    flags: 0,
  };
  return { entries, header };
}

function peersOf(rule: Rule, selectors: ResolvedSelectors): Iterable<number> {
  if (rule.peer === undefined) return [ANY_PEER];
  const peers = selectors.get(rule.peer);
  if (peers === undefined) throw new CodedError("UNKNOWN_SELECTOR", `rule ${rule.id} names selector ${rule.peer}, which is not in the node state or of a kind that is not built yet`);
  return peers;
}

function portKey(match: PortMatch): Pick<PolicyKey, "protocol" | "port" | "portPrefix"> {
  if ("name" in match) throw new CodedError("NOT_BUILT", `named port ${match.name}: named ports are not built yet`);
  const { protocol, port, prefix } = match;
  return { protocol, port: port & (0xffff << (16 - prefix)) & 0xffff, portPrefix: prefix };
}

/** Bit n is set: some key of that direction has n leading bits of the port. */
function portMask(entries: Iterable<Entry>, direction: number): number {
  let mask = 0;
  for (const { key } of entries) if (key.direction === direction) mask |= 1 << key.portPrefix;
  return mask;
}

/** Expands again only where a rule set is new or one of its selectors means something else. */
export class Expander {
  #known = new Map<RuleSetId, { readonly peers: readonly (ReadonlySet<number> | undefined)[]; readonly expanded: Expanded | Error }>();

  /** What did not change is the same object as before. The id of a rule set is the hash of its content. */
  expand(ruleSets: NodeState["ruleSets"], selectors: ResolvedSelectors): ReadonlyMap<RuleSetId, Expanded | Error> {
    const before = this.#known;
    this.#known = new Map();
    for (const [id, ruleSet] of ruleSets) {
      const peers = ruleSet.rules.map((rule) => (rule.peer === undefined ? undefined : selectors.get(rule.peer)));
      const known = before.get(id);
      const isCurrent = known !== undefined && peers.every((set, i) => set === known.peers[i]);
      this.#known.set(id, isCurrent ? known : { peers, expanded: expandOrError(ruleSet, selectors) });
    }
    return new Map([...this.#known].map(([id, { expanded }]) => [id, expanded]));
  }
}

function expandOrError(ruleSet: RuleSet, selectors: ResolvedSelectors): Expanded | Error {
  try {
    return expandRuleSet(ruleSet, selectors);
  } catch (thrown) {
    return asError(thrown);
  }
}
