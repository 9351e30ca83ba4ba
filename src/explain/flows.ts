/** Flows that were seen, judged by the policies of before and of after. */
import type { EventPeer, MonitorEvent, PacketEvent } from "../hubble/index.ts";
import { isAddress } from "../lib/ip.ts";
import type { Labels } from "../model/index.ts";
import { specText } from "./near.ts";
import { addressParty, partyOf } from "./parties.ts";
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

export interface FlowSimulation {
  readonly changes: readonly FlowChange[];
  /** Packets that were looked at. */
  readonly events: number;
  /** Packets that the recording missed. */
  readonly lost: number;
  /** Packets whose verdict was not that of today's policies: policies, or labels, have changed since. */
  readonly outdated: number;
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMPv4: 1, ICMPv6: 58 };
/** Drops for other reasons than policy say nothing of it. */
const POLICY_REASONS: readonly string[] = ["policy-denied", "policy-deny"];

export function simulateFlows(engines: Engines, events: Iterable<MonitorEvent>): FlowSimulation {
  const rows = new Map<string, { change: FlowChange; isChange: boolean }>();
  const counts = { events: 0, lost: 0, outdated: 0 };
  for (const event of events) {
    if (event.type === "lost") {
      counts.lost += event.count;
      continue;
    }
    if (event.type === "drop" && !POLICY_REASONS.includes(event.reason ?? "")) continue;
    counts.events++;
    const port = portOf(event);
    const [from, to] = [twinOf(engines, event.source), twinOf(engines, event.destination)];
    const key = `${from.name} ${to.name} ${specText(port)}`;
    const known = rows.get(key);
    if (known !== undefined) known.change = { ...known.change, seen: known.change.seen + 1 };
    const row = known ?? judged(engines, from, to, port);
    rows.set(key, row);
    // Of one packet both ends tell: that one lets it pass is not the other's say.
    if (event.type === "drop" && row.change.before === "allowed") counts.outdated++;
  }
  return { changes: [...rows.values()].filter(({ isChange }) => isChange).map(({ change }) => change), ...counts };
}

interface Seen {
  readonly name: string;
  readonly before: Party;
  readonly after: Party;
}

function judged({ before, after }: Engines, from: Seen, to: Seen, port: PortSpec): { change: FlowChange; isChange: boolean } {
  const was = verdictOf(before, from.before, to.before, port);
  const { passes, ...rule } = verdictOf(after, from.after, to.after, port);
  return { change: { from: from.name, to: to.name, port: specText(port), seen: 1, before: was.passes, after: passes, ...rule }, isChange: was.passes !== passes };
}

function portOf({ protocol, destination, icmpType }: PacketEvent): PortSpec {
  const number = PROTOCOLS[protocol] ?? Number(/^proto-(\d+)$/.exec(protocol)?.[1] ?? 0);
  return { protocol: number, port: icmpType ?? destination.port };
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
