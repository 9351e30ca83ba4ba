/** Headers that say one thing to whoever judges and another to whoever receives. */
import { tcpFrame } from "./lib/frames.ts";
import { Protocol, Tcp, bytes, ethernet, fragmentHeader, frame, ipv4, ipv6, payload, raw, tcp, udp } from "./lib/packet.ts";
import type { Layer } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { Hop } from "./lib/rows.ts";
import { a, b } from "./lib/world.ts";

const fromA = { hook: "from_container", at: a } as const;
const passes = { ...fromA, action: Action.REDIRECT } as const;
const link4 = ethernet(a.mac, a.hostMac, 0x0800);
const link6 = ethernet(a.mac, a.hostMac, 0x86dd);

const drops = (reason: NonNullable<Hop["drop"]>, ...packets: readonly Uint8Array[]): readonly Hop[] => packets.map((packet) => ({ ...fromA, packet, drop: reason }));
const optioned = (options: string): Uint8Array => frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, options: bytes(options) }), udp(40000, 53), payload(8));

/** An extension header of 8 bytes. */
const extension = (next: number, rest = "000000000000"): Layer => raw(bytes(`${next.toString(16).padStart(2, "0")}00${rest}`));
const extended = (first: number, ...layers: readonly Layer[]): Uint8Array => frame(link6, ipv6(a.ipv6, b.ipv6, first), ...layers, udp(40000, 53), payload(8));

/** The IP packet ends after `length` bytes of transport; the frame goes on as if it did not. */
const padded4 = (protocol: number, length: number, more: boolean, whole: Uint8Array): Uint8Array => frame(link4, ipv4(a.ipv4, b.ipv4, { protocol, moreFragments: more, totalLength: 20 + length }), raw(whole));
function padded6(next: number, length: number, whole: Uint8Array): Uint8Array {
  const packet = frame(link6, ipv6(a.ipv6, b.ipv6, next), raw(whole));
  new DataView(packet.buffer, packet.byteOffset).setUint16(18, length);
  return packet;
}

const syn = frame(tcp(40000, 80, Tcp.SYN), payload(0));
const datagram = frame(udp(40000, 53), payload(8));

rows([
  { name: "a source route is refused, loose and strict, also behind other options", hops: drops("SOURCE_ROUTE", optioned("8307040a02001500"), optioned("8907040a02001500"), optioned("01010107040000018307040a02001500")) },
  { name: "options that end nowhere", hops: drops("INVALID_PACKET", optioned("44000000"), optioned("44010000"), optioned("44280000"), optioned("01010144")) },
  { name: "other options pass, and what stands behind their end is nothing", hops: [{ ...passes, packet: optioned("94040000") }, { ...passes, packet: optioned("0083070400000000") }] },
  { name: "a routing header with segments left, whatever its type; without them it is passed by", hops: [...drops("SOURCE_ROUTE", ...["0001", "0201", "0401"].map((head) => extended(43, extension(17, `${head}00000000`)))), { ...passes, packet: extended(43, extension(17, "000000000000")) }] },
  { name: "hop-by-hop options anywhere but first", hops: [...drops("EXTENSION_HEADER", extended(60, extension(0), extension(17)), extended(0, extension(0), extension(17))), { ...passes, packet: extended(0, extension(60), extension(17)) }] },
  { name: "a fragment of a fragment", hops: drops("EXTENSION_HEADER", frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(44, 1, 0, false), fragmentHeader(17, 2, 72, false), payload(64)), frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(44, 1, 0, true), fragmentHeader(17, 2, 0, true), udp(40000, 53), payload(64))) },
  { name: "an atomic fragment is a whole datagram", given: (world) => world.ingress(b, [{ protocol: Protocol.UDP, port: 53, rule: 41 }]), hops: [{ ...passes, packet: extended(44, fragmentHeader(17, 7, 0, false)), rules: [41] }, { ...fromA, packet: frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(17, 7, 72, false), payload(64)), drop: "FRAGMENT_NOT_FOUND" }] },
  { name: "a jumbogram", hops: drops("INVALID_PACKET", padded6(0, 0, frame(extension(17, "c20400010000"), raw(datagram)))) },
  { name: "padding behind the IP packet is not its transport header", hops: drops("INVALID_PACKET", padded4(6, 8, false, syn), padded4(6, 16, false, syn), padded4(17, 0, false, datagram), padded4(17, 4, false, datagram), padded6(6, 8, syn), padded6(17, 4, datagram), padded6(60, 8, frame(extension(17), raw(datagram)))) },
  { name: "nor does it complete a tiny first fragment", hops: drops("INVALID_PACKET", padded4(6, 8, true, syn), padded4(6, 16, true, syn)) },
  { name: "padding behind a whole packet is nothing", hops: [{ ...passes, packet: padded4(6, 20, false, frame(raw(syn), payload(6))) }, { ...passes, packet: padded6(17, 16, frame(raw(datagram), payload(6))) }] },
  { name: "a TCP header that is longer than its packet", hops: drops("INVALID_PACKET", frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 6 }), raw(syn.map((byte, i) => (i === 12 ? 0x60 : byte)))), frame(link6, ipv6(a.ipv6, b.ipv6, 6), raw(syn.map((byte, i) => (i === 12 ? 0xf0 : byte))))) },
  { name: "SCTP and ICMP without their whole header", hops: [...drops("INVALID_PACKET", frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 132 }), payload(15)), frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 1 }), raw(bytes("08000000000001")))), { ...passes, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 132 }), payload(16)) }] },
  { name: "a fragment beyond the longest datagram", hops: [{ ...passes, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, id: 9, moreFragments: true }), udp(40000, 53), payload(64)) }, ...drops("INVALID_PACKET", frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, id: 9, offset: 65_528 }), payload(8))), { ...passes, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, id: 9, offset: 65_520 }), payload(15)) }] },
  {
    name: "fragments that overlap the header, come again or come first",
    given: (world) => world.ingress(b, [{ protocol: Protocol.UDP, port: 53, rule: 41 }]),
    hops: [
      ...drops("FRAGMENT_NOT_FOUND", pieceOf(72, 53)),
      { ...passes, packet: pieceOf(0, 53), rules: [41] },
      ...drops("INVALID_PACKET", pieceOf(8, 53), pieceOf(16, 53)),
      { ...passes, packet: pieceOf(72, 53) },
      // The datagram's first fragment once more, to a port that is denied: it and what follows is denied.
      ...drops("POLICY_DENIED", pieceOf(0, 99), pieceOf(72, 53)),
    ],
  },
  { name: "an allowed flow's middle under another protocol's number", given: (world) => world.ingress(b, [{ protocol: 6, port: 80, rule: 41 }]), hops: [{ ...passes, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: a }), rules: [41] }, ...drops("POLICY_DENIED", frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17 }), udp(40000, 80), payload(20)))] },
]);

function pieceOf(offset: number, port: number): Uint8Array {
  return frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, id: 9, offset, moreFragments: offset < 72 }), offset === 0 ? udp(40000, port) : payload(0), payload(64));
}
