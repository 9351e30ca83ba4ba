/** One line of words for one event of `cilium monitor`. Pure. */
import type { EventPeer, MonitorEvent, PacketEvent } from "../hubble/event.ts";

export function eventText(event: MonitorEvent): string {
  if (event.type === "lost") {
    return `${clock(event.time)}  ${event.node}  LOST     ${event.count} events (${event.where})`;
  }
  const flags = event.tcpFlags === undefined || event.tcpFlags.length === 0 ? "" : ` ${event.tcpFlags.join(",")}`;
  const parts = [
    clock(event.time),
    event.node,
    verdictText(event),
    `${peerText(event.source)} -> ${peerText(event.destination)}`,
    `${event.protocol}${flags}`,
    `${event.direction}: ${ruleText(event)}`,
  ];
  return parts.join("  ");
}

function verdictText(event: PacketEvent): string {
  if (event.type === "drop") return "DROPPED ";
  return event.verdict === "audit" ? "AUDITED " : "ALLOWED ";
}

/** The policy that decided, by name; what happened instead when no policy did. */
function ruleText(event: PacketEvent): string {
  const reason = event.reason === undefined ? "" : `${event.reason}`;
  if (event.rule === undefined) return reason === "" ? "no policy" : reason;
  const policies = event.rule.policies.join(", ") || `rule ${event.rule.id}`;
  const decided = event.rule.kind === "default-deny" ? `default deny of ${policies}` : `${policies} ${event.rule.path}`;
  return reason === "" ? decided : `${reason}, ${decided}`;
}

function peerText(peer: EventPeer): string {
  const port = peer.port === 0 ? "" : `:${peer.port}`;
  return `${peerName(peer)}${port}`;
}

function peerName(peer: EventPeer): string {
  if (peer.pod !== undefined) return `${peer.namespace ?? ""}/${peer.pod}`;
  if (peer.node !== undefined) return `${peer.node} (${peer.ip})`;
  const reserved = peer.labels.find((label) => label.startsWith("reserved:"));
  return reserved === undefined ? peer.ip : `${peer.ip} (${reserved.slice("reserved:".length)})`;
}

/** `2026-01-02T03:04:05.678901Z` → `03:04:05.678`. */
function clock(time: string): string {
  return /T(\d\d:\d\d:\d\d\.\d{3})/.exec(time)?.[1] ?? time;
}
