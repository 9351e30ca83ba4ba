/** Flows that were seen, judged by the policies of before and of after. */
import type { EventPeer, MonitorEvent, PacketEvent } from "../hubble/index.ts";
import { isAddress } from "../lib/ip.ts";
import type { Labels } from "../model/index.ts";
import { specText } from "./near.ts";
import { addressParty, findParties, parsePort, partyOf } from "./parties.ts";
import type { Party, PortSpec } from "./parties.ts";
import { partyWords } from "./explain.ts";
import type { RuleWords } from "./explain.ts";
import { verdictOf } from "./simulate.ts";
import type { Engines, Passes } from "./simulate.ts";
import type { World } from "./world.ts";

export interface FlowChange {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  /** How often it was seen. */
  readonly seen: number;
  readonly before: Passes;
  readonly after: Passes;
  readonly rule?: RuleWords;
}

/** A flow in the words of a question: `shop/web`, `shop/api`, `8080/TCP`. */
export interface AskedFlow {
  readonly from: string;
  readonly to: string;
  readonly port: string;
}

export interface FlowSimulation {
  readonly changes: readonly FlowChange[];
  /** Packets, and flows in words, that were looked at. */
  readonly events: number;
  /** Packets that the recording missed. */
  readonly lost: number;
  /** Packets whose verdict was not that of today's policies: policies, or labels, have changed since. */
  readonly outdated: number;
}

const PROTOCOLS: ReadonlyMap<string, number> = new Map([["TCP", 6], ["UDP", 17], ["SCTP", 132], ["ICMPv4", 1], ["ICMPv6", 58]]);
/** Drops for other reasons than policy say nothing of it. */
const POLICY_REASONS: readonly string[] = ["policy-denied", "policy-deny"];

export function simulateFlows(engines: Engines, events: Iterable<MonitorEvent>, asked: readonly AskedFlow[] = []): FlowSimulation {
  const rows = new Map<string, Row>();
  const counts = { events: 0, lost: 0, outdated: 0 };
  const counted = (from: Seen, to: Seen, port: PortSpec): Row => {
    const key = `${from.name} ${to.name} ${specText(port)}`;
    const known = rows.get(key);
    if (known !== undefined) known.change = { ...known.change, seen: known.change.seen + 1 };
    const row = known ?? judged(engines, from, to, port);
    rows.set(key, row);
    return row;
  };
  for (const event of events) {
    if (event.type === "lost") {
      counts.lost += event.count;
      continue;
    }
    if (event.type === "drop" && !POLICY_REASONS.includes(event.reason ?? "")) continue;
    counts.events++;
    const row = counted(twinOf(engines, event.source), twinOf(engines, event.destination), portOf(event));
    // Of one packet both ends tell: that one lets it pass is not the other's say.
    if (event.type === "drop" && row.change.before === "allowed") counts.outdated++;
  }
  for (const { from, to, port } of meant(engines, asked)) {
    counts.events++;
    counted(from, to, port);
  }
  return { changes: [...rows.values()].filter(({ isChange }) => isChange).map(({ change }) => change), ...counts };
}

interface Seen {
  readonly name: string;
  readonly before: Party;
  readonly after: Party;
}

interface Row {
  change: FlowChange;
  readonly isChange: boolean;
}

/** A flow to a service is one to each of the pods behind it. */
function meant(engines: Engines, asked: readonly AskedFlow[]): readonly { readonly from: Seen; readonly to: Seen; readonly port: PortSpec }[] {
  const seen = (words: string, port: PortSpec): readonly (Seen & { readonly port: PortSpec })[] => {
    const after = findParties(engines.after.world, words, port);
    return findParties(engines.before.world, words, port).map(({ party, port: translated }, index) => ({ name: partyWords(party).name, before: party, after: after[index]?.party ?? party, port: translated }));
  };
  return asked.flatMap(({ from, to, port }) => {
    const spec = parsePort(port);
    return seen(from, spec).slice(0, 1).flatMap((sender) => seen(to, spec).map((receiver) => ({ from: sender, to: receiver, port: receiver.port })));
  });
}

function judged({ before, after }: Engines, from: Seen, to: Seen, port: PortSpec): Row {
  const was = verdictOf(before, from.before, to.before, port);
  const { passes, ...rule } = verdictOf(after, from.after, to.after, port);
  return { change: { from: from.name, to: to.name, port: specText(port), seen: 1, before: was.passes, after: passes, ...rule }, isChange: was.passes !== passes };
}

function portOf({ protocol, destination, icmpType }: PacketEvent): PortSpec {
  return { protocol: protocolNumber(protocol) ?? 0, port: icmpType ?? destination.port };
}

/** Of a protocol as events name it, `TCP` or `proto-47`; undefined: none is named so. */
export function protocolNumber(name: string): number | undefined {
  const number = /^proto-(\d+)$/.exec(name)?.[1];
  return number === undefined ? PROTOCOLS.get(name) : Number(number);
}

function twinOf({ before, after }: Engines, peer: EventPeer): Seen {
  const own = partyOfPeer(before.world, peer);
  return { name: partyWords(own).name, before: own, after: partyOfPeer(after.world, peer) };
}

/** The pod of that name, else whoever has the address, else a pod with the labels that it had. */
function partyOfPeer(world: World, { namespace, pod, ip, labels, node }: EventPeer): Party {
  const named = pod === undefined ? undefined : world.workloads.find((each) => each.kind === "Pod" && each.namespace === namespace && each.name === pod);
  if (named !== undefined) return partyOf(world, named);
  const found = addressParty(world, ip);
  if (found.kind !== "address") return found;
  if (labels.some((label) => label.startsWith("k8s:"))) return { kind: "pod", workload: { kind: "Pod", namespace: namespace ?? "", name: pod ?? ip, labels: labelMap(labels), ports: [], addresses: isAddress(ip) ? [ip] : [], node: undefined, hostNetwork: false } };
  const isNode = labels.some((label) => ["reserved:host", "reserved:remote-node"].includes(label));
  return isNode ? { kind: "node", node: { name: node ?? ip, addresses: [ip], internalIps: [ip], podCidrs: [] }, address: ip } : { ...found, unknown: false };
}

function labelMap(labels: readonly string[]): Labels {
  return new Map(labels.map((label) => {
    const equals = label.indexOf("=");
    return equals < 0 ? [label, ""] : [label.slice(0, equals), label.slice(equals + 1)];
  }));
}
