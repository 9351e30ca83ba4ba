/** What a pod, the underlay or another node may try, and the reason under which each try ends. */
import { tcpFrame, udpFrame } from "./lib/frames.ts";
import { Protocol, Tcp, arp, bytes, ethernet, frame, icmp, icmpv6, ipv4, ipv6, payload, raw, udp } from "./lib/packet.ts";
import type { Layer } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { Hop } from "./lib/rows.ts";
import { Identity } from "../../src/kernel/gen/types.ts";
import { a, b, other, outside, remote, self, service } from "./lib/world.ts";
import { parseAddress } from "../../src/lib/ip.ts";

const fromA = { hook: "from_container", at: a } as const;
const link4 = ethernet(a.mac, a.hostMac, 0x0800);
const link6 = ethernet(a.mac, a.hostMac, 0x86dd);
const LINK_LOCAL = "fe80::ff:fe00:11"; // of 02:00:00:00:00:11
const ALL_NODES = "ff02::1";
const TUNNEL_PORT = 8472;
const silent = { action: Action.SHOT, rules: [] } as const;

const drops = (reason: NonNullable<Hop["drop"]>, ...packets: readonly Uint8Array[]): readonly Hop[] => packets.map((packet) => ({ ...fromA, packet, drop: reason }));

function linkMessage(type: number, source: string, target: string): Uint8Array {
  return frame(link6, ipv6(source, ALL_NODES, Protocol.ICMPV6, 255), icmpv6(source, ALL_NODES, type, 0, 0), raw(parseAddress(target)));
}

const dhcp = (from: string, to: string, sport: number, dport: number): Uint8Array => udpFrame({ from, to, pod: a, sport, dport });

/** A datagram in pieces; the first one has the ports. */
const piece = (from: string, to: string, offset: number, more: boolean, dport = 53): Uint8Array =>
  frame(link4, ipv4(from, to, { protocol: 17, id: 9, offset, moreFragments: more }), offset === 0 ? udp(40000, dport) : payload(0), payload(64));

/** An ICMP error of `from` about what `quoted` says. */
function unreachable(from: string, to: string, quoted: Layer, ...rest: readonly Layer[]): Uint8Array {
  return from.includes(":")
    ? frame(link6, ipv6(from, to, Protocol.ICMPV6), icmpv6(from, to, 1, 4, 0), quoted, ...rest)
    : frame(link4, ipv4(from, to, { protocol: 1 }), icmp(3, 3, 0), quoted, ...rest);
}

rows([
  {
    name: "neither multicast, broadcast nor link-local addresses lead anywhere from a pod",
    hops: [
      ...drops("LINK_ONLY", ...["224.0.0.251", "239.1.2.3", "255.255.255.255"].map((to) => udpFrame({ from: a.ipv4, to, pod: a, dport: 5353 }))),
      ...drops("LINK_ONLY", ...["ff02::fb", "ff0e::1", "fe80::1", LINK_LOCAL].map((to) => udpFrame({ from: a.ipv6, to, pod: a, dport: 5353 }))),
    ],
  },
  { name: "nor do unspecified ones", hops: [...drops("INVALID_PACKET", udpFrame({ from: a.ipv4, to: "0.0.0.0", pod: a }), udpFrame({ from: a.ipv4, to: "0.1.2.3", pod: a }), udpFrame({ from: a.ipv6, to: "::", pod: a }))] },
  { name: "the metadata address of clouds is an address like others", hops: [{ ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: "169.254.169.254", pod: a }), mark_after: (a.id << 16) | 0x100 }] },
  { name: "a multicast source is nobody's", hops: drops("INVALID_SOURCE_IP", udpFrame({ from: "224.0.0.1", to: b.ipv4, pod: a }), udpFrame({ from: "255.255.255.255", to: b.ipv4, pod: a }), udpFrame({ from: "ff02::1", to: b.ipv6, pod: a })) },
  { name: "a pod serves no DHCP and asks for none", hops: drops("FORGED_DHCP", dhcp(a.ipv4, b.ipv4, 67, 68), dhcp("0.0.0.0", "255.255.255.255", 68, 67), dhcp(a.ipv4, "255.255.255.255", 68, 67), dhcp(a.ipv6, b.ipv6, 547, 546), dhcp(LINK_LOCAL, "ff02::1:2", 546, 547)) },
  { name: "a DHCP server of the outside may be asked in the pod's own name", hops: [{ ...fromA, packet: dhcp(a.ipv4, outside.ipv4, 68, 67) }] },
  { name: "no router speaks from a pod", hops: drops("FORGED_NEIGHBOUR", ...[134, 137, 130].map((type) => linkMessage(type, LINK_LOCAL, "fe80::1")), ...[5, 9].map((type) => frame(link4, ipv4(a.ipv4, b.ipv4, { protocol: 1 }), icmp(type, 0, 0), payload(28)))) },
  { name: "nor may it solicit or report in the name of others", hops: drops("FORGED_NEIGHBOUR", ...[133, 131, 143].map((type) => linkMessage(type, "fe80::99", "::"))) },
  { name: "nor probe for another's address, as if to take it", hops: [...drops("FORGED_NEIGHBOUR", linkMessage(135, "::", b.ipv6), linkMessage(135, "::", "fe80::1")), { ...fromA, packet: linkMessage(135, "::", a.ipv6), ...silent }] },
  { name: "a multicast address has no neighbour entry", hops: drops("INVALID_PACKET", linkMessage(135, a.ipv6, "ff02::1")) },
  { name: "gratuitous ARP for another's address, and of a pod without IPv4", hops: drops("FORGED_NEIGHBOUR", frame(ethernet(a.mac, "ff:ff:ff:ff:ff:ff", 0x0806), arp(1, a.mac, b.ipv4, "00:00:00:00:00:00", b.ipv4)), frame(ethernet(a.mac, "ff:ff:ff:ff:ff:ff", 0x0806), arp(2, a.mac, self.router4, "ff:ff:ff:ff:ff:ff", self.router4))) },
  { name: "IGMP of a pod", hops: drops("UNKNOWN_L4", frame(link4, ipv4(a.ipv4, "224.0.0.22", { protocol: 2, options: bytes("94040000") }), payload(16))) },
  {
    name: "the tunnel port: addresses of nodes that are not known, services and the outside, also in pieces",
    hops: [
      ...drops("TUNNEL_PORT", ...[service.ipv4, outside.ipv4, "172.17.0.1"].map((to) => udpFrame({ from: a.ipv4, to, pod: a, dport: TUNNEL_PORT })), udpFrame({ from: a.ipv6, to: outside.ipv6, pod: a, dport: TUNNEL_PORT })),
      ...drops("TUNNEL_PORT", piece(a.ipv4, other.ipv4, 0, true, TUNNEL_PORT), piece(a.ipv4, other.ipv4, 72, false)),
      { ...fromA, packet: udpFrame({ from: a.ipv4, to: remote.ipv4, pod: a, dport: TUNNEL_PORT }), action: Action.REDIRECT },
    ],
  },
  {
    name: "a client of the outside whose own port is the tunnel's is answered",
    given: (world) => world.egress(a, []),
    hops: [
      { hook: "to_container", at: a, cameFrom: 50, mark: 0x300, packet: udpFrame({ from: outside.ipv4, to: a.ipv4, sport: TUNNEL_PORT, dport: 53 }) },
      { ...fromA, packet: udpFrame({ from: a.ipv4, to: outside.ipv4, pod: a, sport: 53, dport: TUNNEL_PORT }), mark_after: (a.id << 16) | 0x500 },
      { ...fromA, packet: udpFrame({ from: a.ipv4, to: outside.ipv4, pod: a, sport: 54, dport: TUNNEL_PORT }), drop: "TUNNEL_PORT" },
    ],
  },
  {
    name: "the tunnel port of the node that runs the API server",
    given: (world) => { for (const router of [other.router4, other.router6]) world.peer(router, { identity: Identity.KUBE_APISERVER, flags: 5, node: other.ipv4 }); },
    hops: drops("TUNNEL_PORT", udpFrame({ from: a.ipv4, to: other.router4, pod: a, dport: TUNNEL_PORT }), udpFrame({ from: a.ipv6, to: other.router6, pod: a, dport: TUNNEL_PORT })),
  },
  {
    name: "the tunnel port behind a service: in the tunnel, and at its end",
    hops: [
      { hook: "from_host", cameFrom: a, mark: 0x100 | (a.id << 16), packet: udpFrame({ from: a.ipv4, to: other.router4, dport: TUNNEL_PORT }), drop: "TUNNEL_PORT" },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: udpFrame({ from: remote.ipv4, to: self.router4, dport: TUNNEL_PORT }), drop: "TUNNEL_PORT" },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: 1 }, packet: udpFrame({ from: other.router6, to: self.router6, dport: TUNNEL_PORT }), drop: "TUNNEL_PORT" },
    ],
  },
  {
    name: "a forged first fragment does not take away the ports of another's datagram",
    given: (world) => world.ingress(b, [{ protocol: Protocol.UDP, port: 53, rule: 41 }]),
    hops: [
      { ...fromA, packet: piece(a.ipv4, b.ipv4, 0, true), action: Action.REDIRECT, rules: [41] },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: piece(a.ipv4, b.ipv4, 0, true, 99), drop: "SPOOFED_OVERLAY" },
      { hook: "from_netdev", packet: piece(a.ipv4, b.ipv4, 0, true, 99), drop: "SPOOFED_UNDERLAY" },
      { hook: "from_container", at: b, packet: frame(ethernet(b.mac, b.hostMac, 0x0800), ipv4(a.ipv4, b.ipv4, { protocol: 17, id: 9, moreFragments: true }), udp(40000, 99), payload(64)), drop: "INVALID_SOURCE_IP" },
      { ...fromA, packet: piece(a.ipv4, b.ipv4, 72, false), action: Action.REDIRECT },
    ],
  },
  {
    name: "an ICMP error about a flow that does not exist",
    hops: [
      ...drops("POLICY_DENIED", unreachable(a.ipv4, b.ipv4, ipv4(b.ipv4, a.ipv4, { protocol: 17 }), udp(40000, 53)), unreachable(a.ipv6, b.ipv6, ipv6(b.ipv6, a.ipv6, 17), udp(40000, 53))),
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: unreachable(remote.ipv4, a.ipv4, ipv4(a.ipv4, remote.ipv4, { protocol: 17 }), udp(40000, 53)), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "an ICMP error in which another's flow is quoted",
    given: (world) => world.ingress(b, []),
    hops: [
      { hook: "from_container", at: b, packet: udpFrame({ from: b.ipv4, to: remote.ipv4, pod: b, sport: 40000 }), action: Action.REDIRECT },
      ...drops("INVALID_SOURCE_IP", unreachable(a.ipv4, b.ipv4, ipv4(b.ipv4, remote.ipv4, { protocol: 17 }), udp(40000, 53))),
      ...drops("INVALID_PACKET", unreachable(a.ipv4, b.ipv4, ipv4(remote.ipv4, a.ipv4, { protocol: 17 }), udp(40000, 53))),
    ],
  },
  {
    name: "an ICMP error with a broken quote",
    hops: drops(
      "INVALID_PACKET",
      unreachable(a.ipv4, b.ipv4, raw(bytes("44")), raw(frame(ipv4(b.ipv4, a.ipv4, { protocol: 17 }), udp(40000, 53)).slice(1))),
      unreachable(a.ipv4, b.ipv4, raw(bytes("65")), raw(frame(ipv4(b.ipv4, a.ipv4, { protocol: 17 }), udp(40000, 53)).slice(1))),
      unreachable(a.ipv6, b.ipv6, raw(bytes("40")), raw(frame(ipv6(b.ipv6, a.ipv6, 17), udp(40000, 53)).slice(1))),
    ),
  },
  {
    name: "Packet Too Big about a datagram in pieces is about its flow",
    hops: [
      { hook: "from_container", at: b, packet: udpFrame({ from: b.ipv6, to: a.ipv6, pod: b, sport: 40000 }), action: Action.REDIRECT },
      { ...fromA, packet: unreachable(a.ipv6, b.ipv6, ipv6(b.ipv6, a.ipv6, 44), raw(bytes("1100000100000009")), udp(40000, 53)), action: Action.REDIRECT },
      { ...fromA, packet: unreachable(a.ipv6, b.ipv6, ipv6(b.ipv6, a.ipv6, 44), raw(bytes("1100004900000009")), udp(40000, 53)), drop: "FRAGMENT_NOT_FOUND" },
      { ...fromA, packet: unreachable(a.ipv6, b.ipv6, ipv6(b.ipv6, a.ipv6, 44), raw(bytes("1100000100000009")), udp(40001, 53)), drop: "POLICY_DENIED" },
    ],
  },
]);
