/** Frames as a forger makes them: every address is what he likes. */
import { ethernet, frame, icmpv6, ipv4, ipv6, raw as layer, udp } from "../../bpf/lib/packet.ts";
import type { Layer } from "../../bpf/lib/packet.ts";
import { parseAddress } from "../../../src/lib/ip.ts";

/** From whose device to whose. */
export interface Macs {
  readonly mac: string;
  readonly hostMac: string;
}

export const says = (text: string): Layer => layer(new Uint8Array(Buffer.from(text)));
export const etherType = (address: string): number => (address.includes(":") ? 0x86dd : 0x0800);

export function ip(from: string, to: string, protocol: number): Layer {
  return from.includes(":") ? ipv6(from, to, protocol) : ipv4(from, to, { protocol });
}

export function datagram(macs: Macs, from: string, to: string, text: string, dport: number, sport = 40000): Uint8Array {
  return frame(ethernet(macs.mac, macs.hostMac, etherType(from)), ip(from, to, 17), udp(sport, dport), says(text));
}

/** A word of ICMPv6 between neighbours, to all of them. */
export function linkMessage(mac: string, type: number, source: string, target: string, text: string): Uint8Array {
  return frame(ethernet(mac, "33:33:00:00:00:01", 0x86dd), ipv6(source, "ff02::1", 58, 255), icmpv6(source, "ff02::1", type, 0, 0), layer(parseAddress(target)), says(text));
}

/** RFC 7348 section 5. */
export const vxlan = (vni: number, inner: Uint8Array): Layer => layer(Uint8Array.from([8, 0, 0, 0, vni >>> 16, (vni >>> 8) & 0xff, vni & 0xff, 0, ...inner]));
