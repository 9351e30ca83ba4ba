/**
 * What changes if other policies are applied: pairs of pods, and given flows, whose verdict would be another. Work grows with
 * identities and with what changes, not with pods: subjects whose rules stay are not looked at, and peers that the changed
 * rules see alike are judged once.
 */
import { draftPolicy, selectsHosts } from "../compile/index.ts";
import type { Direction } from "../compile/index.ts";
import { canonicalJson } from "../lib/hash.ts";
import { labelsKey } from "../model/index.ts";
import { isUnjudged, subjectOf } from "./engine.ts";
import type { Engine, Judged } from "./engine.ts";
import { blockClass } from "./evaluate.ts";
import { isOpen, partyWords, ruleWords } from "./explain.ts";
import type { RuleWords } from "./explain.ts";
import type { Party, PortSpec } from "./parties.ts";
import { addressRegions, portRegions, regionTexts, specOf, usesPeer } from "./regions.ts";
import type { PortRegion } from "./regions.ts";
import type { Workload } from "./world.ts";

/** One before and one after the change, over the same pods. */
export interface Engines {
  readonly before: Engine;
  readonly after: Engine;
}

export interface SideWords {
  /** One of them. */
  readonly name: string;
  /** How many pods are seen and judged alike. */
  readonly pods: number;
}

export type Passes = "allowed" | "denied";

export interface PairChange {
  readonly from: SideWords;
  readonly to: SideWords;
  readonly ports: readonly string[];
  readonly before: Passes;
  readonly after: Passes;
  /** What decides afterwards. */
  readonly rule?: RuleWords;
}

export interface Simulation {
  readonly pairs: readonly PairChange[];
  /** Pairs that were not judged, because there are too many. */
  readonly unjudged: number;
}

/** As it is before and after: labels may tell more when a policy names more. */
interface Twin {
  readonly before: Party;
  readonly after: Party;
  readonly words: SideWords;
}

/** Pods that are seen and judged alike. */
interface Group extends Twin {
  /** Those of each node, "" for those of none, by the first of them. */
  readonly nodes: ReadonlyMap<string, Twin>;
}

const MOST_PAIRS = 100_000;

export function simulate(engines: Engines, mostPairs = MOST_PAIRS): Simulation {
  const groups = groupsOf(engines);
  const pairs = new Map<string, readonly [from: Twin, to: Twin]>();
  let unjudged = 0;
  const found = (from: Twin, to: Twin): void => {
    const key = `${keyOf(from)} > ${keyOf(to)}`;
    if (pairs.has(key)) return;
    if (pairs.size < mostPairs) pairs.set(key, [from, to]);
    else unjudged++;
  };
  for (const direction of ["ingress", "egress"] as const) {
    for (const subject of [...groups, ...judgedNodes(engines)]) {
      const rules = changedRules(engines, subject, direction);
      if (rules === undefined) continue;
      const pods = direction === "egress" ? groups.map((group) => beyond(subject, group)) : groups;
      for (const peer of changedPeers(engines, subject, direction, [...pods, ...strangers(engines, rules)])) {
        if (direction === "ingress") found(peer, subject);
        else found(subject, peer);
      }
    }
  }
  return { pairs: [...pairs.values()].flatMap(([from, to]) => pairChanges(engines, from, to)).sort(byName), unjudged };
}

function byName(a: PairChange, b: PairChange): number {
  const text = ({ from, to, ports }: PairChange): string => `${from.name} ${to.name} ${ports.join()}`;
  return text(a) < text(b) ? -1 : 1;
}

/** Pods with the same identity before and after, the same names of ports, and the same kind of node. */
function groupsOf({ before, after }: Engines): readonly Group[] {
  const groups = new Map<string, Map<string, Twin>>();
  before.world.workloads.forEach((workload, index) => {
    const later = after.world.workloads[index] ?? workload;
    if (workload.hostNetwork) return;
    const [key, node] = [groupKey(before, workload, later), workload.node ?? ""];
    const nodes = groups.get(key) ?? new Map<string, Twin>();
    const first = nodes.get(node);
    const words = { name: first?.words.name ?? `${workload.namespace}/${workload.name}`, pods: (first?.words.pods ?? 0) + 1 };
    nodes.set(node, first === undefined ? { before: { kind: "pod", workload }, after: { kind: "pod", workload: later }, words } : { ...first, words });
    groups.set(key, nodes);
  });
  return [...groups.values()].flatMap((nodes) => {
    const pods = [...nodes.values()].reduce((sum, { words }) => sum + words.pods, 0);
    return [...nodes.values()].slice(0, 1).map((first) => ({ ...first, words: { name: first.words.name, pods }, nodes }));
  });
}

/** Without the node's own pods, which it reaches whatever its policies say; where there are no others, all. */
function beyond({ before: subject }: Twin, group: Group): Twin {
  const own = subject.kind === "node" ? group.nodes.get(subject.node.name) : undefined;
  if (own === undefined) return group;
  for (const other of group.nodes.values()) if (other !== own) return { ...other, words: { name: other.words.name, pods: group.words.pods - own.words.pods } };
  return group;
}

function groupKey({ world }: Engine, workload: Workload, later: Workload): string {
  const hasApiServer = world.nodes.get(workload.node ?? "")?.internalIps.some((ip) => world.apiServers.includes(ip)) === true;
  return canonicalJson([labelsKey(workload.labels), labelsKey(later.labels), workload.ports, hasApiServer]);
}

function keyOf({ before }: Twin): string {
  return canonicalJson([before.kind, partyWords(before).name]);
}

interface Rules {
  readonly before: ReturnType<Engine["subject"]>;
  readonly after: ReturnType<Engine["subject"]>;
}

function subjectsOf({ before, after }: Engines, twin: Twin): Rules | undefined {
  const [was, is] = [subjectOf(twin.before), subjectOf(twin.after)];
  return was === undefined || is === undefined ? undefined : { before: before.subject(was), after: after.subject(is) };
}

/** undefined: in this direction the same entries hold as before. */
function changedRules(engines: Engines, subject: Twin, direction: Direction): Rules | undefined {
  const rules = subjectsOf(engines, subject);
  if (rules === undefined) return undefined;
  const content = ({ expanded: { entries, blocks, header } }: Rules["before"]): string => {
    const own = [...entries.values()].filter(({ key }) => (key.direction === 0) === (direction === "ingress"));
    return canonicalJson([own.map(({ key, value: { precedence, verdict } }) => JSON.stringify([key, precedence, verdict])).sort(), [...blocks.keys()].sort().map((text) => [text, blocks.get(text)?.value]), header[`${direction}Enforced`]]);
  };
  return content(rules.before) === content(rules.after) ? undefined : rules;
}

function twin(party: Party, name: string): Twin {
  return { before: party, after: party, words: { name, pods: 0 } };
}

function nodesOf({ before }: Pick<Engines, "before">): readonly Twin[] {
  return [...before.world.nodes.values()].map((node) => twin({ kind: "node", node, address: node.internalIps[0] }, `node ${node.name}`));
}

/** None where no policy of nodes is, which is most often. */
function judgedNodes({ before, after }: Engines): readonly Twin[] {
  const hasOfNodes = ({ world }: Engine): boolean => (world.policies.get("") ?? []).some((row) => draftPolicy(row).some(({ subject }) => selectsHosts(subject)));
  return hasOfNodes(before) || hasOfNodes(after) ? nodesOf({ before }) : [];
}

/** Nodes and the outside, as far as the rules tell them apart. */
function strangers({ before }: Engines, rules: Rules): readonly Twin[] {
  const nodes = nodesOf({ before });
  const anyNode = twin({ kind: "node", node: { name: "another node", addresses: [], internalIps: [], podCidrs: [] }, address: undefined }, "another node");
  const outside = addressRegions([rules.before.expanded, rules.after.expanded]).map(({ block, address }) => twin({ kind: "address", address, unknown: false }, `outside ${block}`));
  const apiServers = before.world.apiServers.filter((ip) => ![...before.world.nodes.values()].some(({ addresses }) => addresses.includes(ip)));
  return [...(nodes.length === 0 ? [anyNode] : nodes), ...outside, ...apiServers.map((address) => twin({ kind: "address", address, unknown: false }, `API server ${address}`))];
}

/** Those whom the changed rules judge otherwise than before at some port. */
function changedPeers(engines: Engines, subject: Twin, direction: Direction, peers: readonly Twin[]): readonly Twin[] {
  const rules = subjectsOf(engines, subject);
  if (rules === undefined) return [];
  const regions = portRegions([[rules.before.expanded, direction], [rules.after.expanded, direction]]);
  const used = { before: usesPeer(rules.before.expanded), after: usesPeer(rules.after.expanded) };
  const known = new Map<string, boolean>();
  return peers.filter((peer) => {
    const key = (["before", "after"] as const).map((when) => sightOf(engines[when], rules[when], subject[when], peer[when], used[when])).join(" ");
    const isChanged = known.get(key) ?? regions.some((region) => passesAlone(engines.before, direction, subject.before, peer.before, specOf(region)) !== passesAlone(engines.after, direction, subject.after, peer.after, specOf(region)));
    known.set(key, isChanged);
    return isChanged;
  });
}

/** As the rules see the peer. */
function sightOf(engine: Engine, { expanded }: Rules["before"], subject: Party, peer: Party, used: ReadonlySet<number>): string {
  const workload = subjectOf(subject);
  if (workload === undefined) return "";
  const { identity, scope, address, ports } = engine.know(workload, peer);
  const isOwnNode = isUnjudged("ingress", subject, peer) || isUnjudged("egress", subject, peer);
  return [used.has(identity) ? identity : identity === 0 ? "unknown" : "-", blockClass(expanded, { scope, address }), used.has(ports) ? ports : "-", isOwnNode].join("/");
}

function passesAlone(engine: Engine, direction: Direction, subject: Party, peer: Party, port: PortSpec): boolean {
  return judgeSide(engine, direction, subject, peer, port)?.verdict !== "deny";
}

/** undefined: nobody judges there. */
function judgeSide(engine: Engine, direction: Direction, own: Party, other: Party, port: PortSpec): Judged | undefined {
  const workload = subjectOf(own);
  return workload === undefined || isUnjudged(direction, own, other) ? undefined : engine.judge(direction, workload, other, port);
}

export interface FlowVerdict {
  readonly passes: Passes;
  readonly rule?: RuleWords;
}

/** Both ends asked, as for a packet. */
export function verdictOf(engine: Engine, from: Party, to: Party, port: PortSpec): FlowVerdict {
  const sides = [judgeSide(engine, "egress", from, to, port), judgeSide(engine, "ingress", to, from, port)].filter((side) => side !== undefined);
  const denying = sides.find(({ verdict }) => verdict === "deny");
  const deciding = denying ?? sides.findLast(({ by }) => by === "rule");
  const name = deciding?.subject.names.get(deciding.rule);
  return { passes: denying === undefined ? "allowed" : "denied", ...(name === undefined || isOpen(name) ? {} : { rule: ruleWords(engine.world, name) }) };
}

/** Rows of one pair: ports with the same change and the same rule are one. */
function pairChanges(engines: Engines, from: Twin, to: Twin): readonly PairChange[] {
  const rules = [[subjectsOf(engines, from), "egress"], [subjectsOf(engines, to), "ingress"]] as const;
  const regions = portRegions(rules.flatMap(([sides, direction]) => (sides === undefined ? [] : [[sides.before.expanded, direction] as const, [sides.after.expanded, direction] as const])));
  const rows = new Map<string, { readonly change: Omit<PairChange, "ports">; readonly regions: PortRegion[] }>();
  for (const region of regions) {
    const before = verdictOf(engines.before, from.before, to.before, specOf(region));
    const { passes, ...rule } = verdictOf(engines.after, from.after, to.after, specOf(region));
    if (before.passes === passes) continue;
    const change = { from: from.words, to: to.words, before: before.passes, after: passes, ...rule };
    const key = canonicalJson(change);
    const row = rows.get(key) ?? { change, regions: [] };
    row.regions.push(region);
    rows.set(key, row);
  }
  return [...rows.values()].map(({ change, regions: own }) => ({ ...change, ports: regionTexts(own, regions) }));
}
