/** Options, extension headers, fragments, and packets that are too big. */
import assert from "node:assert/strict";
import { ab, tcpFrame } from "./lib/frames.ts";
import { Protocol, Tcp, bytes, checksum, ethernet, fragmentHeader, frame, ipv4, ipv6, payload, raw, tcp, udp } from "./lib/packet.ts";
import type { Layer } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { TUNNEL_MTU, a, b, other, remote, self } from "./lib/world.ts";
import { parseAddress } from "../../src/lib/ip.ts";

const fromA = { hook: "from_container", at: a } as const;
const passes = { ...fromA, action: Action.REDIRECT } as const;
const link4 = ethernet(a.mac, a.hostMac, 0x0800);
const link6 = ethernet(a.mac, a.hostMac, 0x86dd);
const allow53 = [{ protocol: Protocol.UDP, port: 53, rule: 41 }] as const;

/** A datagram of IPv4 in pieces: `offset` 0 has the UDP header. */
const piece = (offset: number, more: boolean, id = 9): Uint8Array => frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, id, offset, moreFragments: more }), offset === 0 ? udp(40000, 53) : payload(0), payload(64));
const piece6 = (offset: number, more: boolean): Uint8Array => frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(17, 9, offset, more), offset === 0 ? udp(40000, 53) : payload(0), payload(64));

/** An extension header of 8 bytes. */
const extension = (next: number, rest = "000000000000"): Layer => raw(bytes(`${next.toString(16).padStart(2, "0")}00${rest}`));
const extended = (first: number, ...layers: readonly Layer[]): Uint8Array => frame(link6, ipv6(a.ipv6, b.ipv6, first), ...layers, udp(40000, 53), payload(8));

function u16(data: Uint8Array, at: number): number {
  return ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);
}

/** ICMP error to `to` from this node's router, with true checksums, quoting `original`. */
function isAnswer4(packet: Uint8Array, original: Uint8Array, mtu: number, to: string): void {
  const ip = packet.slice(14, 34);
  const message = packet.slice(34);
  assert.deepEqual([checksum(ip), checksum(message)], [0, 0]);
  assert.deepEqual([message[0], message[1], u16(message, 6)], [3, 4, mtu]);
  assert.deepEqual([...ip.slice(12)], [...parseAddress(self.router4).slice(12), ...parseAddress(to).slice(12)]);
  assert.equal(u16(ip, 2), packet.length - 14);
  assert.deepEqual(message.slice(8), original.slice(14, 14 + 96));
}

function isAnswer6(packet: Uint8Array, original: Uint8Array, mtu: number): void {
  const message = packet.slice(54);
  const pseudo = Uint8Array.from([...packet.slice(22, 54), 0, 0, 0, message.length, 0, 0, 0, 58]);
  assert.equal(checksum(pseudo, message), 0);
  assert.deepEqual([message[0], message[1], u16(message, 6)], [2, 0, mtu]);
  assert.deepEqual([...packet.slice(22, 54)], [...parseAddress(self.router6), ...parseAddress(a.ipv6)]);
  assert.deepEqual(message.slice(8), original.slice(14, 14 + 96));
}

const big4 = tcpFrame(Tcp.ACK, { ...ab, length: 1411 }); // 20 + 20 + 1411 = 1451
const big6 = tcpFrame(Tcp.ACK, { from: a.ipv6, to: remote.ipv6, pod: a, length: 1391 });
const macs = (packet: Uint8Array): string => Buffer.from(packet.slice(0, 12)).toString("hex");

rows([
  { name: "IPv4 options are walked", given: (world) => world.ingress(b, allow53), hops: [{ ...passes, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, options: bytes("01010100".repeat(10)) }), udp(40000, 53), payload(8)), rules: [41] }] },
  {
    name: "IPv4 lengths must hold",
    hops: [
      { ...fromA, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, totalLength: 99 }), udp(1, 53), payload(8)), drop: "INVALID_PACKET" },
      { ...fromA, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 17, totalLength: 19 }), udp(1, 53), payload(8)), drop: "INVALID_PACKET" },
      { ...fromA, packet: frame(link4, raw(Uint8Array.of(0x44)), raw(frame(ipv4(a.ipv4, b.ipv4, { protocol: 17 }), udp(1, 53), payload(8)).slice(1))), drop: "INVALID_PACKET" },
    ],
  },
  { name: "extension headers are walked", given: (world) => world.ingress(b, allow53), hops: [{ ...passes, packet: extended(0, extension(60), extension(17)), rules: [41] }, { ...passes, packet: extended(43, extension(17, "000000000000")) }] },
  { name: "eight of them, not nine", hops: [{ ...passes, packet: extended(60, ...Array.from({ length: 7 }, () => extension(60)), extension(17)) }, { ...fromA, packet: extended(60, ...Array.from({ length: 8 }, () => extension(60)), extension(17)), drop: "EXTENSION_HEADER" }] },
  { name: "unknown ones, ESP and no next header are dropped", hops: [135, 50, 59, 253].map((next) => ({ ...fromA, packet: extended(next, extension(17)), drop: "EXTENSION_HEADER" }) as const) },
  { name: "an extension header that reaches beyond the packet", hops: [{ ...fromA, packet: extended(60, raw(bytes("11ff000000000000"))), drop: "INVALID_PACKET" }] },
  {
    name: "later fragments pass with the first one's ports",
    given: (world) => world.ingress(b, allow53),
    hops: [{ ...fromA, packet: piece(72, false), drop: "FRAGMENT_NOT_FOUND" }, { ...passes, packet: piece(0, true), rules: [41] }, { ...passes, packet: piece(72, false), rules: [] }, { ...fromA, packet: piece(72, false, 10), drop: "FRAGMENT_NOT_FOUND" }],
  },
  { name: "later fragments of a datagram to a denied port are denied", given: (world) => world.ingress(b, []), hops: [{ ...fromA, packet: piece(0, true), drop: "POLICY_DENIED" }, { ...fromA, packet: piece(72, false), drop: "POLICY_DENIED" }] },
  { name: "the same in IPv6", given: (world) => world.ingress(b, allow53), hops: [{ ...fromA, packet: piece6(72, false), drop: "FRAGMENT_NOT_FOUND" }, { ...passes, packet: piece6(0, true), rules: [41] }, { ...passes, packet: piece6(72, false) }] },
  { name: "a later fragment that would overwrite the transport header", hops: [{ ...passes, packet: piece(0, true) }, { ...fromA, packet: piece(8, true), drop: "INVALID_PACKET" }] },
  {
    name: "a first fragment without its whole TCP header",
    hops: [
      { ...fromA, packet: frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 6, moreFragments: true }), raw(frame(tcp(1, 2, Tcp.SYN)).slice(0, 16))), drop: "INVALID_PACKET" },
      { ...fromA, packet: frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(60, 9, 0, true), extension(17), udp(1, 53)), action: Action.REDIRECT },
      { ...fromA, packet: frame(link6, ipv6(a.ipv6, b.ipv6, 44), fragmentHeader(60, 9, 72, false), payload(64)), drop: "UNKNOWN_L4" },
    ],
  },
  {
    name: "too big for the pod here: the sender is told the MTU",
    hops: [{ ...fromA, packet: big4, action: Action.REDIRECT, drop: "PACKET_TOO_BIG", mark_after: 0x400, check: ({ packet }) => { isAnswer4(packet, big4, TUNNEL_MTU, a.ipv4); assert.equal(macs(packet), "02000000001102000000ff11"); } }],
  },
  { name: "one byte less passes", hops: [{ ...passes, packet: tcpFrame(Tcp.ACK, { ...ab, length: 1410 }) }] },
  { name: "too big for the tunnel, IPv6", hops: [{ ...fromA, packet: big6, action: Action.REDIRECT, drop: "PACKET_TOO_BIG", check: ({ packet }) => isAnswer6(packet, big6, TUNNEL_MTU) }] },
  { name: "a pod here with a smaller link", given: (world) => world.endpoint(b, { mtu: 1300 }), hops: [{ ...fromA, packet: tcpFrame(Tcp.ACK, { ...ab, length: 1300 }), action: Action.REDIRECT, drop: "PACKET_TOO_BIG" }] },
  { name: "of a GSO packet the segment counts", hops: [{ ...passes, packet: tcpFrame(Tcp.ACK, { ...ab, length: 2800 }), gsoSize: 1410, gsoSegs: 2 }, { ...fromA, packet: tcpFrame(Tcp.ACK, { ...ab, length: 2800 }), gsoSize: 1411, gsoSegs: 2, action: Action.REDIRECT, drop: "PACKET_TOO_BIG" }] },
  {
    name: "too big from the tunnel: the answer goes back to the node that sent it, from the router",
    given: (world) => world.endpoint(a, { mtu: 1300 }),
    hops: [{
      hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.ACK, { from: remote.ipv4, to: a.ipv4, length: 1300 }), action: Action.REDIRECT, drop: "PACKET_TOO_BIG",
      check: ({ packet }, world) => { isAnswer4(packet, tcpFrame(Tcp.ACK, { from: remote.ipv4, to: a.ipv4, length: 1300 }), 1300, remote.ipv4); assert.deepEqual(world.tunnel(), { vni: 1, remote: other.ipv4 }); },
    }],
  },
]);
