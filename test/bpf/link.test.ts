/** The pod's link: neighbours are answered here, and a pod speaks for itself only. */
import { tcpFrame, udpFrame } from "./lib/frames.ts";
import { Protocol, Tcp, arp, bytes, concat, ethernet, frame, icmpv6, ipv4, ipv6, payload, raw, tcp, udp } from "./lib/packet.ts";
import type { Layer } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { a, b, other, outside, remote, self } from "./lib/world.ts";
import { parseAddress } from "../../src/lib/ip.ts";

const fromA = { hook: "from_container", at: a } as const;
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const NOBODY = "00:00:00:00:00:00";
const GATEWAY = "169.254.1.1";
const LINK_LOCAL = "fe80::ff:fe00:11"; // of 02:00:00:00:00:11
const ipv6Link = ethernet(a.mac, a.hostMac, 0x86dd);

function arpFrame(operation: number, sender: string, target: string, mac = a.mac): Uint8Array {
  return frame(ethernet(a.mac, BROADCAST, 0x0806), arp(operation, mac, sender, NOBODY, target));
}

function neighbour(type: number, source: string, target: string, mac = a.mac): Uint8Array {
  const destination = "ff02::1:ff00:1";
  return frame(ethernet(mac, "33:33:ff:00:00:01", 0x86dd), ipv6(source, destination, Protocol.ICMPV6, 255), icmpv6(source, destination, type, 0, 0), raw(parseAddress(target)), raw(bytes(`0101${a.mac}`)));
}

/** The answer that the kernel would give as the owner of the target. */
function advertisement(source: string, destination: string): Uint8Array {
  const body: Layer = raw(concat(parseAddress(source), bytes(`0201${a.hostMac}`)));
  return frame(ethernet(a.hostMac, a.mac, 0x86dd), ipv6(source, destination, Protocol.ICMPV6, 255), icmpv6(source, destination, 136, 0, 0xe0000000), body);
}

const silent = { action: Action.SHOT, rules: [] } as const;
const forged = { drop: "FORGED_NEIGHBOUR" } as const;

rows([
  { name: "ARP for any other address is answered with the host side's MAC", hops: [{ ...fromA, packet: arpFrame(1, a.ipv4, GATEWAY), action: Action.REDIRECT, mark_after: 0x400, becomes: frame(ethernet(a.hostMac, a.mac, 0x0806), arp(2, a.hostMac, GATEWAY, a.mac, a.ipv4)) }] },
  { name: "ARP for its own address, a probe for duplicates, is not", hops: [{ ...fromA, packet: arpFrame(1, "0.0.0.0", a.ipv4), ...silent }, { ...fromA, packet: arpFrame(1, a.ipv4, a.ipv4), ...silent }] },
  { name: "ARP in the name of others is forged", hops: [{ ...fromA, packet: arpFrame(1, b.ipv4, GATEWAY), ...forged }, { ...fromA, packet: arpFrame(2, b.ipv4, GATEWAY), ...forged }, { ...fromA, packet: arpFrame(2, a.ipv4, GATEWAY, b.mac), ...forged }] },
  { name: "its own ARP reply reaches the node", hops: [{ ...fromA, packet: arpFrame(2, a.ipv4, self.router4), rules: [] }] },
  { name: "a neighbour solicitation is answered with a true checksum", hops: [{ ...fromA, packet: neighbour(135, a.ipv6, "fe80::1"), action: Action.REDIRECT, mark_after: 0x400, becomes: advertisement("fe80::1", a.ipv6) }, { ...fromA, packet: neighbour(135, LINK_LOCAL, self.router6), action: Action.REDIRECT, becomes: advertisement(self.router6, LINK_LOCAL) }] },
  { name: "probes for its own addresses are not answered", hops: [{ ...fromA, packet: neighbour(135, "::", LINK_LOCAL), ...silent }, { ...fromA, packet: neighbour(135, "::", a.ipv6), ...silent }] },
  { name: "solicitations, advertisements and routers in the name of others are forged", hops: [{ ...fromA, packet: neighbour(135, b.ipv6, "fe80::1"), ...forged }, { ...fromA, packet: neighbour(136, a.ipv6, "fe80::1"), ...forged }, { ...fromA, packet: neighbour(136, b.ipv6, b.ipv6), ...forged }, { ...fromA, packet: neighbour(134, LINK_LOCAL, "fe80::1"), ...forged }, { ...fromA, packet: neighbour(137, LINK_LOCAL, "fe80::1"), ...forged }] },
  { name: "its own advertisement reaches the node", hops: [{ ...fromA, packet: neighbour(136, a.ipv6, a.ipv6), rules: [] }] },
  { name: "router solicitations and listener reports end in silence", hops: [{ ...fromA, packet: neighbour(133, LINK_LOCAL, "::"), ...silent }, { ...fromA, packet: neighbour(143, "::", "::"), ...silent }] },
  { name: "the node's neighbour messages reach the pod", hops: [{ hook: "to_container", at: a, packet: arpFrame(1, self.router4, a.ipv4) }, { hook: "to_container", at: a, packet: neighbour(135, "fe80::1", a.ipv6) }, { hook: "to_container", at: a, cameFrom: 50, packet: neighbour(135, "fe80::1", a.ipv6), ...forged }] },
  { name: "another MAC is not the pod's", hops: [{ ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: { ...a, mac: b.mac } }), drop: "INVALID_SOURCE_MAC" }] },
  {
    name: "another source address is not the pod's",
    hops: [b.ipv4, remote.ipv4, self.ipv4, "0.0.0.0", "127.0.0.1", b.ipv6, "fe80::1", LINK_LOCAL, "::1", "::"].map((from) => ({ ...fromA, packet: udpFrame({ from, to: from.includes(":") ? remote.ipv6 : remote.ipv4, pod: a }), drop: "INVALID_SOURCE_IP" }) as const),
  },
  { name: "a pod without IPv6 has no IPv6 source, not even the unspecified one", given: (world) => world.endpoint(a, { ipv6: new Uint8Array(16) }), hops: [{ ...fromA, packet: udpFrame({ from: "::", to: remote.ipv6, pod: a }), drop: "INVALID_SOURCE_IP" }] },
  { name: "an IPv4 address inside an IPv6 header is malformed", hops: [{ ...fromA, packet: frame(ipv6Link, ipv6(`::ffff:${a.ipv4}`, b.ipv6, 17), udp(1, 2)), drop: "INVALID_PACKET" }, { ...fromA, packet: frame(ipv6Link, ipv6(a.ipv6, `::ffff:${b.ipv4}`, 17), udp(1, 2)), drop: "INVALID_PACKET" }] },
  { name: "loopback addresses are not on the wire", hops: [{ ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: "127.0.0.1", pod: a }), drop: "INVALID_PACKET" }, { ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv6, to: "::1", pod: a }), drop: "INVALID_PACKET" }] },
  { name: "a pod is no DHCP server", hops: [{ ...fromA, packet: udpFrame({ from: a.ipv4, to: b.ipv4, pod: a, sport: 67 }), drop: "FORGED_DHCP" }, { ...fromA, packet: udpFrame({ from: a.ipv6, to: b.ipv6, pod: a, sport: 547 }), drop: "FORGED_DHCP" }] },
  {
    name: "no node's tunnel port is reached by a pod, directly or translated",
    hops: [...[self.ipv4, self.router4, other.ipv4, other.router4].map((to) => ({ ...fromA, packet: udpFrame({ from: a.ipv4, to, pod: a, dport: 8472 }), drop: "TUNNEL_PORT" }) as const), { ...fromA, packet: udpFrame({ from: a.ipv4, to: b.ipv4, pod: a, dport: 8472 }), action: Action.REDIRECT }, { hook: "to_netdev", cameFrom: a, mark: 0x100 | (a.id << 16), packet: udpFrame({ from: self.ipv4, to: outside.ipv4, dport: 8472 }), drop: "TUNNEL_PORT" }],
  },
  {
    name: "other ethertypes, VLAN tags and transports are refused",
    hops: [
      { ...fromA, packet: frame(ethernet(a.mac, a.hostMac, 0x88cc), payload(50)), drop: "UNSUPPORTED_L3" },
      { ...fromA, packet: frame(ethernet(a.mac, a.hostMac, 0x8100), raw(bytes("00050800")), ipv4(a.ipv4, b.ipv4, { protocol: 6 }), tcp(1, 2, 2)), drop: "UNSUPPORTED_L3" },
      { ...fromA, packet: frame(ethernet(a.mac, a.hostMac, 0x0800), ipv4(a.ipv4, b.ipv4, { protocol: 47 }), payload(20)), drop: "UNKNOWN_L4" },
      { ...fromA, packet: frame(ethernet(a.mac, a.hostMac, 0x0800), ipv4(a.ipv4, b.ipv4, { protocol: 58 }), payload(20)), drop: "INVALID_PACKET" },
    ],
  },
]);
