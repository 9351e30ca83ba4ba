/** Event of the kernel → event in words. Pure: everything it may know is in its arguments. */
import type { RuleName } from "../compile/state.ts";
import { directionNames, dropReasonNames, EventType, hookNames, identityNames, verdictNames } from "../kernel/gen/types.ts";
import type { Event } from "../kernel/gen/types.ts";
import { formatAddress } from "../lib/ip.ts";
import type { EventPeer, EventRule, PacketEvent } from "./event.ts";

export interface AddressName {
  readonly namespace?: string;
  readonly pod?: string;
  readonly node?: string;
}

export interface PodName {
  readonly namespace: string;
  readonly pod: string;
}

export interface EnrichContext {
  readonly node: string;
  /** Nanoseconds to add to CLOCK_MONOTONIC for the time since 1970. */
  readonly clockOffsetNs: bigint;
  readonly ruleName: (rule: number) => RuleName | undefined;
  readonly labels: (identity: number) => readonly string[] | undefined;
  readonly address: (ip: string) => AddressName | undefined;
  readonly endpoint: (id: number) => PodName | undefined;
}

const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, "ICMPv4"],
  [6, "TCP"],
  [17, "UDP"],
  [58, "ICMPv6"],
  [132, "SCTP"],
]);
export function protocolName(number: number): string {
  return PROTOCOLS.get(number) ?? `proto-${number}`;
}

const TCP_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const; // from bit 0 on, RFC 9293 3.1
const TCP = 6;

/** `POLICY_DENIED` → `policy-denied`. */
export function words(name: string | undefined, number: number): string {
  return name === undefined ? `unknown-${number}` : name.toLowerCase().replaceAll("_", "-");
}

/** RFC 3339 with microseconds. */
export function timeText(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String((ns / 1000n) % 1_000_000n).padStart(6, "0")}Z`;
}

/** Labels of an identity; of a reserved one that nobody told others of, its own. */
export function labelsOf(identity: number, context: Pick<EnrichContext, "labels">): readonly string[] {
  const known = context.labels(identity);
  if (known !== undefined) return known;
  const reserved = identityNames.get(identity);
  return reserved === undefined || identity === 0 ? [] : [`reserved:${words(reserved, identity)}`];
}

export function describePeer(address: Uint8Array, port: number, identity: number, context: Pick<EnrichContext, "labels" | "address">): EventPeer {
  const ip = formatAddress(address);
  return { ip, port, identity, labels: labelsOf(identity, context), ...context.address(ip) };
}

/** undefined: no rule. */
export function describeRule(id: number, context: Pick<EnrichContext, "ruleName">): EventRule | undefined {
  if (id === 0) return undefined;
  const name = context.ruleName(id);
  if (name === undefined) return { id, kind: "rule", policies: [], path: "", references: [] };
  const policies = name.policies.map(({ namespace, name: own }) => (namespace === "" ? own : `${namespace}/${own}`)).sort();
  return { id, kind: name.kind, policies, path: name.path, ...(name.name === undefined ? {} : { name: name.name }), ...(name.log === undefined ? {} : { log: name.log }), references: name.policies };
}

export function enrich(event: Event, context: EnrichContext): PacketEvent {
  const rule = describeRule(event.rule, context);
  const isDrop = event.type === EventType.DROP;
  const endpoint = event.endpoint === 0 ? undefined : context.endpoint(event.endpoint);
  const isIcmp = event.protocol === 1 || event.protocol === 58;
  return {
    time: timeText(event.timeNs + context.clockOffsetNs),
    type: isDrop ? "drop" : "policy-verdict",
    node: context.node,
    direction: directionNames.get(event.direction) === "EGRESS" ? "egress" : "ingress",
    verdict: isDrop ? "deny" : (words(verdictNames.get(event.verdict), event.verdict) as PacketEvent["verdict"]),
    ...(event.reason === 0 ? {} : { reason: words(dropReasonNames.get(event.reason), event.reason) }),
    source: describePeer(event.source, event.sourcePort, event.sourceIdentity, context),
    destination: describePeer(event.destination, event.destinationPort, event.destinationIdentity, context),
    protocol: protocolName(event.protocol),
    ...(event.protocol === TCP ? { tcpFlags: TCP_FLAGS.filter((_, bit) => (event.tcpFlags >> bit) & 1) } : {}),
    ...(isIcmp ? { icmpType: event.icmpType } : {}),
    ...(rule === undefined ? {} : { rule }),
    ...(endpoint === undefined ? {} : { endpoint }),
    length: event.length,
    hook: words(hookNames.get(event.hook), event.hook).replaceAll("-", "_"),
  };
}
