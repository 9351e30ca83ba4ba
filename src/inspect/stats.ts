/** `policy-stats`: how often each rule decided, on one node and over many. */
import { ruleHitCodec } from "../kernel/gen/types.ts";
import { perCpu } from "../kernel/map.ts";
import { timeText } from "../hubble/index.ts";
import type { Direction, NodeState, PolicyRef, RuleId, RuleName, Verdict } from "../compile/state.ts";
import { erased, readMap } from "./table.ts";
import type { Source } from "./table.ts";
import { NONE, listText, policyText } from "./text.ts";

export interface StatsRow {
  /** The same on all nodes as long as their states agree; policy and path say which rule it is. */
  readonly rule: RuleId;
  readonly kind: "rule" | "default-deny" | "unknown";
  /** audit: of a policy that only watches; its hits are what it would have dropped. */
  readonly verdict: Verdict | "audit" | undefined;
  readonly direction: Direction | undefined;
  /** One, or of a default deny all that close the direction. */
  readonly policies: readonly PolicyRef[];
  readonly path: string;
  /** That the rule itself decided: a flow's first one, those judged again, and every denied one. */
  readonly packets: string;
  readonly bytes: string;
  /** RFC 3339; absent: never since the counter was made. */
  readonly lastHit: string | undefined;
}

interface Hits {
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly lastNs: bigint;
}

const NEVER: Hits = { packets: 0n, bytes: 0n, lastNs: 0n };

export const policyStats = erased<StatsRow>({
  name: "policy-stats",
  map: "rule_hits",
  about: "how often each rule of a policy decided, and when it last did",
  columns: [
    { head: "POLICY", cell: ({ rule, policies }) => (policies.length === 0 ? `rule ${rule}` : listText(policies.map(policyText), ", ")) },
    { head: "RULE", cell: ({ kind, path }) => (kind === "rule" ? path : kind) },
    { head: "DIRECTION", cell: ({ direction }) => direction ?? NONE },
    { head: "VERDICT", cell: ({ verdict }) => verdict ?? NONE },
    { head: "PACKETS", cell: ({ packets }) => packets },
    { head: "BYTES", cell: ({ bytes }) => bytes },
    { head: "LAST HIT", cell: ({ lastHit }) => lastHit ?? "never" },
  ],
  rows: async function* (source) {
    const hits = await readHits(source);
    const rules = source.state === undefined ? new Map<RuleId, Verdict | "audit">() : verdictsOf(source.state);
    const named = [...rules].map(([rule, verdict]) => rowOf(rule, verdict, hits.get(rule) ?? NEVER, source));
    // What was hit and has left the node state since: the counter is deleted soon.
    const gone = [...hits].filter(([rule]) => !rules.has(rule)).map(([rule, hit]) => rowOf(rule, undefined, hit, source));
    yield [...named, ...gone].sort(byPolicy);
  },
});

async function readHits(source: Source): Promise<ReadonlyMap<RuleId, Hits>> {
  const hits = new Map<RuleId, Hits>();
  const read = readMap(source, "rule_hits", (key, value) => [key.getUint32(0, true), hitsOf(value)] as const);
  for await (const batch of read) for (const [rule, hit] of batch) hits.set(rule, hit);
  return hits;
}

/** Of all CPUs together. */
export function hitsOf(value: Uint8Array): Hits {
  return perCpu(value, ruleHitCodec.size, ruleHitCodec.decode).reduce((sum, one) => ({
    packets: sum.packets + one.packets,
    bytes: sum.bytes + one.bytes,
    lastNs: one.lastNs > sum.lastNs ? one.lastNs : sum.lastNs,
  }), NEVER);
}

/** Every rule and default deny that some pod of the node obeys, or that watches one. */
export function verdictsOf({ subjects, ruleSets }: NodeState): ReadonlyMap<RuleId, Verdict | "audit"> {
  const obeyed = new Set(subjects.values());
  const verdicts = new Map<RuleId, Verdict | "audit">();
  for (const [id, { rules, ingressDefault, egressDefault }] of [...ruleSets].sort(([a], [b]) => Number(obeyed.has(a)) - Number(obeyed.has(b)))) {
    const isObeyed = obeyed.has(id);
    for (const rule of rules) verdicts.set(rule.id, isObeyed ? rule.verdict : "audit");
    for (const rule of [ingressDefault, egressDefault]) if (rule !== undefined) verdicts.set(rule, isObeyed ? "deny" : "audit");
  }
  return verdicts;
}

function rowOf(rule: RuleId, verdict: Verdict | "audit" | undefined, { packets, bytes, lastNs }: Hits, { state, names }: Source): StatsRow {
  const name: RuleName | undefined = state?.ruleNames.get(rule);
  return {
    rule,
    kind: name?.kind ?? "unknown",
    verdict,
    direction: name?.direction,
    policies: name?.policies ?? [],
    path: name?.path ?? "",
    packets: String(packets),
    bytes: String(bytes),
    lastHit: lastNs === 0n ? undefined : timeText(lastNs + names.facts.clockOffsetNs),
  };
}

/** The rows of several nodes, each rule once. Nodes that hold another version of a policy may have another number for a rule. */
export function sumStats(rows: Iterable<StatsRow>): StatsRow[] {
  const sums = new Map<string, StatsRow>();
  for (const row of rows) {
    const key = keyOf(row);
    const known = sums.get(key);
    sums.set(key, known === undefined ? row : {
      ...known,
      packets: String(BigInt(known.packets) + BigInt(row.packets)),
      bytes: String(BigInt(known.bytes) + BigInt(row.bytes)),
      // All of one form and in UTC, so that they compare as text.
      lastHit: [known.lastHit, row.lastHit].filter((time) => time !== undefined).toSorted().at(-1),
    });
  }
  return [...sums.values()].sort(byPolicy);
}

function keyOf({ rule, kind, direction, policies, path }: StatsRow): string {
  return kind === "unknown" ? String(rule) : [kind, direction, path, ...policies.map(({ uid }) => uid).toSorted()].join("|");
}

function byPolicy(a: StatsRow, b: StatsRow): number {
  const words = ({ policies, kind, path, rule }: StatsRow): string => `${policies.map(policyText).join()}|${kind === "rule" ? 0 : 1}|${path}|${rule}`;
  return words(a).localeCompare(words(b), "en", { numeric: true });
}
