/** The frames that most rows send. */
import { frame, ethernet, icmp, icmpv6, ipv4, ipv6, payload, sctp, tcp, udp, Protocol } from "./packet.ts";
import type { Layer } from "./packet.ts";
import { a, b } from "./world.ts";
import type { Pod } from "./world.ts";

const isIpv6 = (address: string): boolean => address.includes(":");

function ip(source: string, destination: string, protocol: number): Layer {
  return isIpv6(source) ? ipv6(source, destination, protocol) : ipv4(source, destination, { protocol, dontFragment: true });
}

function link(source: string, destination: string, address: string): Layer {
  return ethernet(source, destination, isIpv6(address) ? 0x86dd : 0x0800);
}

/** Any MAC will do outside of from_container. */
const ANY_MAC = "02:00:00:00:aa:aa";

export interface Ends {
  readonly from: string;
  readonly to: string;
  readonly sport?: number;
  readonly dport?: number;
  /** Pod that sends it into its own device. */
  readonly pod?: Pod;
  readonly length?: number;
}

function links({ pod, from }: Ends): Layer {
  return pod === undefined ? link(ANY_MAC, ANY_MAC, from) : link(pod.mac, pod.hostMac, from);
}

export function tcpFrame(flags: number, ends: Ends): Uint8Array {
  return frame(links(ends), ip(ends.from, ends.to, Protocol.TCP), tcp(ends.sport ?? 40000, ends.dport ?? 80, flags), payload(ends.length ?? 0));
}

export function udpFrame(ends: Ends): Uint8Array {
  return frame(links(ends), ip(ends.from, ends.to, Protocol.UDP), udp(ends.sport ?? 40000, ends.dport ?? 53), payload(ends.length ?? 12));
}

export function sctpFrame(chunk: number, ends: Ends): Uint8Array {
  return frame(links(ends), ip(ends.from, ends.to, Protocol.SCTP), sctp(ends.sport ?? 40000, ends.dport ?? 80, chunk));
}

/** A message of the family's ICMP with an identifier, such as those of RFC 792, 4443 and 8335. */
export function icmpFrame(type: number, ends: Ends & { readonly id?: number }): Uint8Array {
  const rest = ((ends.id ?? 77) << 16) | 1;
  if (isIpv6(ends.from)) return frame(links(ends), ipv6(ends.from, ends.to, Protocol.ICMPV6), icmpv6(ends.from, ends.to, type, 0, rest), payload(16));
  return frame(links(ends), ip(ends.from, ends.to, Protocol.ICMP), icmp(type, 0, rest), payload(16));
}

export function pingFrame(kind: "request" | "reply", ends: Ends & { readonly id?: number }): Uint8Array {
  if (isIpv6(ends.from)) return icmpFrame(kind === "request" ? 128 : 129, ends);
  return icmpFrame(kind === "request" ? 8 : 0, ends);
}

/** From a to b and back, as pods of one node. */
export const ab = { from: a.ipv4, to: b.ipv4, pod: a } as const;
export const ba = { from: b.ipv4, to: a.ipv4, pod: b } as const;
