/** Rule sets with resolved selectors → entries of the maps `policy` and `blocks`. Pure. */
import type { CidrPeers, NamedPort, NodeState, NumberedPort, Rule, RuleSet, RuleSetId, SelectorId } from "../compile/state.ts";
import { CLASS_BLOCKS, CLASS_PORTS, Direction, SUBJECT_EGRESS_ADMIN, SUBJECT_EGRESS_BLOCKS, SUBJECT_INGRESS_ADMIN, SUBJECT_INGRESS_BLOCKS, SUBJECT_NAMED_PORTS, Tier, Verdict } from "../kernel/gen/types.ts";
import type { PolicyEntry, PolicyKey, Subject } from "../kernel/gen/types.ts";
import { CapacityExceeded } from "../reconcile/target.ts";
import { CodedError, asError } from "../lib/errors.ts";
import { expandBlocks } from "./blocks.ts";
import type { BlockEntry, ExpandedBlocks } from "./blocks.ts";
import type { NamedPorts } from "./desired.ts";
import { numbersOf } from "./ports.ts";
import type { PortClass } from "./ports.ts";
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
  /** By text of the CIDR. */
  readonly blocks: ReadonlyMap<string, BlockEntry>;
  readonly header: Header;
}

/** A subject without what is chosen when it is written. */
export type Header = Omit<Subject, "generation" | "ruleSet" | "owner" | "audit">;

const VERDICTS = { allow: Verdict.ALLOW, deny: Verdict.DENY, pass: Verdict.PASS } as const;
const DIRECTIONS = { ingress: Direction.INGRESS, egress: Direction.EGRESS } as const;
const ANY_PEER = 0;

export function entryKey(key: Omit<PolicyKey, "ruleSet">): EntryKey {
  return `${key.tier}/${key.direction}/${key.peer}/${key.protocol}/${key.port}/${key.portPrefix}`;
}

/** Of two entries with one key only the stronger can decide: greater precedence, then deny, then the smaller rule id. */
function isStronger(a: PolicyEntry, b: PolicyEntry): boolean {
  if (a.precedence !== b.precedence) return a.precedence > b.precedence;
  const denies = (entry: PolicyEntry): boolean => entry.verdict === Verdict.DENY;
  if (denies(a) !== denies(b)) return denies(a);
  return a.rule < b.rule;
}

/** What names of ports mean. */
export interface PortNames {
  /** What the subject's pods call their own. */
  readonly own: NamedPorts;
  /** Of all pods, by identity. */
  readonly classes: ReadonlyMap<number, readonly PortClass[]>;
}

export const NO_NAMES: PortNames = { own: [], classes: new Map() };

/** How many entries the maps `policy` and `blocks` have: a rule set that alone has more cannot be written. */
export interface Room {
  readonly entries: number;
  readonly blocks: number;
}

/** Rules may mean an entry again, on average so often: more is work that holds up everything else on the node. */
const MOST_REPEATS = 64;

const NO_BOUND: Room = { entries: Infinity, blocks: Infinity };

type Match = Pick<PolicyKey, "peer" | "protocol" | "port" | "portPrefix">;

/**
 * Takes no more memory than what fits in `room`, and time in proportion to it.
 *
 * @throws CodedError UNKNOWN_SELECTOR: a rule names a selector that is not there. Nothing may be guessed then.
 * @throws CodedError CAPACITY: it is more than `room`.
 */
export function expandRuleSet(ruleSet: RuleSet, selectors: ResolvedSelectors, names = NO_NAMES, room = NO_BOUND): Expanded {
  const blocks = expandBlocks(cidrSelectors(ruleSet, selectors), room.blocks);
  const entries = new Map<EntryKey, Entry>();
  const most = MOST_REPEATS * room.entries;
  let made = 0;
  for (const rule of ruleSet.rules) {
    const direction = DIRECTIONS[rule.direction];
    const tier = rule.tier === "admin" ? Tier.ADMIN : Tier.POLICIES;
    const value: PolicyEntry = { precedence: rule.precedence, rule: rule.id, proxyPort: 0, verdict: VERDICTS[rule.verdict] };
    for (const match of matchesOf(rule, peersOf(rule, selectors, blocks), names)) {
      if (++made > most) throw new CodedError("CAPACITY", `its rules name peers and ports more than ${most} times, mostly the same ones; map policy has room for ${room.entries} of them`);
      const key = { tier, direction, ...match };
      const text = entryKey(key);
      const known = entries.get(text);
      if (known === undefined && entries.size >= room.entries) throw new CapacityExceeded("policy", undefined, room.entries);
      if (known === undefined || isStronger(value, known.value)) entries.set(text, { key, value });
    }
  }
  return { entries, blocks: blocks.entries, header: headerOf(ruleSet, [...entries.values()]) };
}

function headerOf(ruleSet: RuleSet, entries: readonly Entry[]): Header {
  const ingress = entries.filter(({ key }) => key.direction === Direction.INGRESS);
  const egress = entries.filter(({ key }) => key.direction === Direction.EGRESS);
  const flags = [
    ingress.some(isOfBlocks) && SUBJECT_INGRESS_BLOCKS,
    egress.some(isOfBlocks) && SUBJECT_EGRESS_BLOCKS,
    egress.some(isOfPorts) && SUBJECT_NAMED_PORTS,
    ingress.some(isOfAdmin) && SUBJECT_INGRESS_ADMIN,
    egress.some(isOfAdmin) && SUBJECT_EGRESS_ADMIN,
  ];
  return {
    ingressDefault: ruleSet.ingressDefault ?? 0,
    egressDefault: ruleSet.egressDefault ?? 0,
    ingressPorts: portMask(ingress),
    egressPorts: portMask(egress),
    ingressEnforced: Number(ruleSet.ingressDefault !== undefined),
    egressEnforced: Number(ruleSet.egressDefault !== undefined),
    flags: flags.reduce<number>((sum, flag) => sum | Number(flag), 0),
  };
}

const isOfAdmin = ({ key }: Entry): boolean => key.tier === Tier.ADMIN;
const isOfPorts = ({ key }: Entry): boolean => key.peer >= CLASS_PORTS;
const isOfBlocks = ({ key }: Entry): boolean => key.peer >= CLASS_BLOCKS && key.peer < CLASS_PORTS;

function cidrSelectors(ruleSet: RuleSet, selectors: ResolvedSelectors): ReadonlyMap<SelectorId, CidrPeers> {
  const found = new Map<SelectorId, CidrPeers>();
  for (const { peer } of ruleSet.rules) {
    const meaning = peer === undefined ? undefined : selectors.get(peer);
    if (peer !== undefined && meaning !== undefined && "kind" in meaning) found.set(peer, meaning);
  }
  return found;
}

function peersOf(rule: Rule, selectors: ResolvedSelectors, blocks: ExpandedBlocks): ReadonlySet<number> | readonly number[] {
  if (rule.peer === undefined) return [ANY_PEER];
  const meaning = selectors.get(rule.peer);
  if (meaning === undefined) throw new CodedError("UNKNOWN_SELECTOR", `rule ${rule.id} names selector ${rule.peer}, which is not in the node state`);
  return "kind" in meaning ? (blocks.classes.get(rule.peer) ?? []) : meaning;
}

function* matchesOf(rule: Rule, peers: ReadonlySet<number> | readonly number[], names: PortNames): Iterable<Match> {
  for (const port of rule.ports) {
    if (!("name" in port)) {
      for (const peer of peers) yield { peer, ...numbered(port) };
    } else if (rule.direction === "ingress") {
      for (const { protocol, port: number } of numbersOf(names.own, port)) for (const peer of peers) yield { peer, ...numbered({ protocol, port: number, prefix: 16 }) };
    } else {
      yield* egressByName(rule, port, peers, names);
    }
  }
}

/** Each destination pod's own numbers, under the class of its names. Addresses name no port: nothing matches (NetworkPolicy may say so; of ours it is refused). */
function* egressByName(rule: Rule, port: NamedPort, peers: ReadonlySet<number> | readonly number[], { classes }: PortNames): Iterable<Match> {
  for (const identity of rule.peer === undefined ? classes.keys() : peers) {
    for (const { number: peer, ports } of classes.get(identity) ?? []) {
      for (const { protocol, port: number } of numbersOf(ports, port)) yield { peer, ...numbered({ protocol, port: number, prefix: 16 }) };
    }
  }
}

function numbered({ protocol, port, prefix }: NumberedPort): Omit<Match, "peer"> {
  return { protocol, port: port & (0xffff << (16 - prefix)) & 0xffff, portPrefix: prefix };
}

/** Bit n is set: some key has n leading bits of the port. */
function portMask(entries: Iterable<Entry>): number {
  let mask = 0;
  for (const { key } of entries) mask |= 1 << key.portPrefix;
  return mask;
}

/** Name of a rule set as it is for pods that call their ports so. Those that name none have the plain one's. */
export type ContentId = string;

export function contentId(id: RuleSetId, ruleSet: RuleSet | undefined, ports: PortClass | undefined): ContentId {
  return ports !== undefined && ruleSet?.rules.some(isIngressByName) === true ? `${id} ${ports.number}` : id;
}

const byName = ({ ports }: Rule): boolean => ports.some((port) => "name" in port);
const isIngressByName = (rule: Rule): boolean => rule.direction === "ingress" && byName(rule);
const isEgressByName = (rule: Rule): boolean => rule.direction === "egress" && byName(rule);

/** A rule set to be expanded, for the pods of one class or (undefined) for those that name no ports. */
export interface Wanted {
  readonly id: RuleSetId;
  readonly ports: PortClass | undefined;
}

const NOTHING: ReadonlySet<SelectorId> = new Set();
const UNKNOWN_API_SERVER = "its rules deny kube-apiserver, and the EndpointSlices of the service default/kubernetes, which say where that is, have not been listed yet";

interface Known {
  readonly ruleSet: RuleSet;
  readonly meanings: readonly unknown[];
  readonly expanded: Expanded | Error;
}

/** Expands again only where a rule set is new or what it names means something else. */
export class Expander {
  readonly #room: Room;
  #known = new Map<ContentId, Known>();

  constructor(room: Room) {
    this.#room = room;
  }

  /**
   * What did not change is the same object as before. The id of a rule set is the hash of its content. One that denies a
   * peer of `unknown` is an error: its subjects keep what they have, and new ones wait.
   */
  expand(ruleSets: NodeState["ruleSets"], wanted: Iterable<Wanted>, selectors: ResolvedSelectors, classes: PortNames["classes"], unknown: ReadonlySet<SelectorId> = NOTHING): ReadonlyMap<ContentId, Expanded | Error> {
    const before = this.#known;
    this.#known = new Map();
    for (const { id, ports } of wanted) {
      const ruleSet = ruleSets.get(id);
      const content = contentId(id, ruleSet, ports);
      if (ruleSet === undefined || this.#known.has(content)) continue;
      const meanings = [ruleSet.rules.some(isEgressByName) && classes, ...ruleSet.rules.map(({ peer }) => peer !== undefined && selectors.get(peer))];
      const known = before.get(content);
      const isCurrent = known !== undefined && meanings.every((meaning, i) => meaning === known.meanings[i]);
      this.#known.set(content, isCurrent ? known : { ruleSet, meanings, expanded: expandOrError(ruleSet, selectors, { own: ports?.ports ?? [], classes }, this.#room) });
    }
    const isWaiting = ({ ruleSet }: Known): boolean => unknown.size > 0 && ruleSet.rules.some(({ verdict, peer }) => verdict === "deny" && peer !== undefined && unknown.has(peer));
    return new Map([...this.#known].map(([id, known]) => [id, isWaiting(known) ? new CodedError("PEERS_UNKNOWN", UNKNOWN_API_SERVER) : known.expanded]));
  }
}

function expandOrError(ruleSet: RuleSet, selectors: ResolvedSelectors, names: PortNames, room: Room): Expanded | Error {
  try {
    return expandRuleSet(ruleSet, selectors, names, room);
  } catch (thrown) {
    return asError(thrown);
  }
}
