/** One line for people: who, whom, what became of it, and by which policy. */
import type { EventPeer, EventRule, MonitorEvent, PacketEvent } from "./event.ts";

/** Who it is, with address and port. */
export function peerText(peer: EventPeer): string {
  const colon = peer.ip.includes(":");
  const address = peer.port === 0 ? peer.ip : colon ? `[${peer.ip}]:${peer.port}` : `${peer.ip}:${peer.port}`;
  const name = nameOf(peer);
  return name === undefined ? address : `${name} (${address})`;
}

function nameOf(peer: EventPeer): string | undefined {
  if (peer.pod !== undefined) return `${peer.namespace ?? ""}/${peer.pod}`;
  const reserved = peer.labels.find((label) => label.startsWith("reserved:"));
  if (reserved === undefined) return peer.identity === 0 ? undefined : `identity ${peer.identity}`;
  const what = reserved.slice("reserved:".length);
  return peer.node === undefined ? what : `${what} ${peer.node}`;
}

/** Verdicts as the field's tools print them. */
function verdictOf(event: PacketEvent): string {
  if (event.type === "drop") return "DROPPED";
  return event.verdict === "audit" ? "AUDITED" : event.verdict === "deny" ? "DENIED" : "ALLOWED";
}

function cause(rule: EventRule | undefined, direction: string): string {
  if (rule === undefined) return "";
  const policies = rule.policies.length === 0 ? `rule ${rule.id}` : rule.policies.join(", ");
  if (rule.kind === "default-deny") return `  by default-deny ${direction} of ${policies}`;
  return `  by ${policies}${rule.path === "" ? "" : ` ${rule.path}`}${rule.name === undefined ? "" : ` ${JSON.stringify(rule.name)}`}${rule.log === undefined ? "" : ` (${rule.log})`}`;
}

function detail(event: PacketEvent): string {
  if (event.tcpFlags !== undefined && event.tcpFlags.length > 0) return `${event.protocol} ${event.tcpFlags.join(",")}`;
  return event.icmpType === undefined ? event.protocol : `${event.protocol} type ${event.icmpType}`;
}

/** Where neither address tells on whose link it was. */
function link({ endpoint: at, source, destination }: PacketEvent): string {
  const isNamed = at === undefined || [source, destination].some((side) => side.namespace === at.namespace && side.pod === at.pod);
  return isNamed ? "" : `  on the link of ${at.namespace}/${at.pod}`;
}

export function renderEvent(event: MonitorEvent): string {
  const time = event.time.slice(11, 23);
  if (event.type === "lost") return `${time} LOST ${event.count} events (${event.where})`;
  const reason = event.reason === undefined ? "" : ` ${event.reason.replaceAll("-", " ")}`;
  const path = `${peerText(event.source)} -> ${peerText(event.destination)}`;
  return `${time} ${verdictOf(event)}${reason}  ${path} ${detail(event)}${cause(event.rule, event.direction)}${link(event)}`;
}
