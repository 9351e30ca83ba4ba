/** While encryption is in force, what would leave for another node's pods outside WireGuard is dropped, and what comes so from them. */
import { pingFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Protocol, Tcp, ethernet, fragmentHeader, frame, ipv4, ipv6, payload, raw, udp } from "./lib/packet.ts";
import type { Layer } from "./lib/packet.ts";
import { rows } from "./lib/rows.ts";
import type { World } from "./lib/world.ts";
import { a, b, other, outside, remote, self } from "./lib/world.ts";

const TUNNEL_PORT = 8472;
const WIREGUARD_PORT = 51871;
const UNDERLAY_MAC = "02:00:00:00:aa:aa";
const leaving = { hook: "to_netdev" } as const;
const inForce = (world: World): void => world.map("encryption").update(new Uint8Array(4), Uint8Array.of(1, 0, 0, 0));
const onReceipt = (world: World): void => world.map("encryption").update(new Uint8Array(4), Uint8Array.of(3, 0, 0, 0));
const coming = { hook: "from_netdev" } as const;
const passes = { mark_after: 0x300 } as const;
const unencrypted = { drop: "UNENCRYPTED" } as const;
const vxlan = (to: string, from: string = self.ipv4): Uint8Array => udpFrame({ from, to, dport: TUNNEL_PORT });

/** A datagram in pieces; the first one has the ports. */
function piece(offset: number, more: boolean, dport: number, id = 77): Uint8Array {
  const header = ipv4(self.ipv4, other.ipv4, { protocol: Protocol.UDP, id, offset, moreFragments: more });
  return offset === 0 ? frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0800), header, udp(40000, dport), payload(64)) : frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0800), header, payload(64));
}

function piece6(offset: number, more: boolean): Uint8Array {
  const headers = [ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x86dd), ipv6(self.ipv6, other.ipv6, 44), fragmentHeader(Protocol.UDP, 78, offset, more)];
  return offset === 0 ? frame(...headers, udp(40000, TUNNEL_PORT), payload(64)) : frame(...headers, payload(64));
}

/** The other node's tunnel packet behind what the parser does not read to its end; `next` is the first of these headers. */
const hidden = (next: number, ...layers: readonly Layer[]): Uint8Array => frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x86dd), ipv6(other.ipv6, self.ipv6, next), ...layers);
const options = (next: number): Layer => raw(Uint8Array.of(next, 0, 1, 4, 0, 0, 0, 0));
const tunnelled: readonly Layer[] = [udp(40000, TUNNEL_PORT), payload(64)];
const tenOptions = Array.from({ length: 10 }, (_, i) => options(i === 9 ? Protocol.UDP : 60));
const HIDDEN = [
  hidden(60, ...tenOptions, ...tunnelled), // behind ten headers of options
  hidden(44, fragmentHeader(60, 78, 0, false), ...tenOptions, ...tunnelled), // behind ten headers of options of an atomic fragment
  hidden(44, fragmentHeader(44, 78, 0, false), fragmentHeader(Protocol.UDP, 79, 0, false), ...tunnelled), // in a fragment of a fragment
  hidden(43, raw(Uint8Array.of(Protocol.UDP, 2, 4, 1, 0, 0, 0, 0)), payload(16, 0), ...tunnelled), // behind a route that is not at its end
  hidden(44, fragmentHeader(60, 78, 0, true), options(Protocol.UDP)), // behind a first piece that ends before the ports
  hidden(44, fragmentHeader(60, 78, 0, true), raw(Uint8Array.of(Protocol.UDP, 3, 1, 28, 0, 0, 0, 0))), // behind a first piece that ends within the options
];

rows([
  {
    name: "once all others enforce, nothing of a node is taken that may hide a tunnel packet",
    hops: HIDDEN.flatMap((packet) => [{ ...coming, packet, ...passes, change: inForce }, { ...coming, packet, change: onReceipt, ...unencrypted }]),
  },
  {
    name: "once all others enforce, other protocols and pings of nodes, and what hides something of the outside's, come in as before",
    given: onReceipt,
    hops: [
      { ...coming, packet: hidden(50, payload(64)), ...passes },
      { ...coming, packet: hidden(60, options(47), payload(64)), ...passes },
      { ...coming, packet: hidden(60, options(59)), ...passes },
      { ...coming, packet: pingFrame("request", { from: other.ipv6, to: self.ipv6 }), ...passes },
      { ...coming, packet: frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0800), ipv4(other.ipv4, self.ipv4, { protocol: 51 }), payload(64)), ...passes },
      { ...coming, packet: frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x86dd), ipv6(outside.ipv6, self.ipv6, 60), ...tenOptions, ...tunnelled), ...passes },
    ],
  },
  { name: "without encryption the tunnel's own packets leave as they are", hops: [{ ...leaving, packet: vxlan(other.ipv4) }, { ...leaving, packet: vxlan(other.ipv6, self.ipv6) }] },
  { name: "a bare tunnel packet is dropped, by either family", given: inForce, hops: [{ ...leaving, packet: vxlan(other.ipv4), ...unencrypted }, { ...leaving, packet: vxlan(other.ipv6, self.ipv6), ...unencrypted }] },
  {
    name: "a bare tunnel packet is dropped also towards a node that is forgotten by now",
    given: inForce,
    hops: [{ ...leaving, packet: vxlan("192.0.2.77"), ...unencrypted }],
  },
  {
    name: "a bare tunnel packet in pieces is dropped, every piece",
    given: inForce,
    hops: [
      { ...leaving, packet: piece(72, false, TUNNEL_PORT), ...unencrypted },
      { ...leaving, packet: piece(0, true, TUNNEL_PORT), ...unencrypted },
      { ...leaving, packet: piece(72, false, TUNNEL_PORT), ...unencrypted },
      { ...leaving, packet: piece6(0, true), ...unencrypted },
      { ...leaving, packet: piece6(72, false), ...unencrypted },
    ],
  },
  {
    name: "WireGuard's packets leave, also in pieces, and so does what the node has to say for itself",
    given: inForce,
    hops: [
      { ...leaving, packet: udpFrame({ from: self.ipv4, to: other.ipv4, sport: WIREGUARD_PORT, dport: WIREGUARD_PORT }) },
      { ...leaving, packet: piece(0, true, WIREGUARD_PORT) },
      { ...leaving, packet: piece(72, false, WIREGUARD_PORT) },
      { ...leaving, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: other.ipv4, dport: 6443 }) },
      { ...leaving, packet: udpFrame({ from: self.ipv4, to: outside.ipv4 }) },
      { ...leaving, packet: frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0806), payload(28)) },
    ],
  },
  {
    name: "whoever sends it, nothing leaves for a pod of another node but through the tunnel",
    given: inForce,
    hops: [remote.ipv4, remote.ipv6, "10.2.0.99", other.router4].flatMap((to, index) => {
      const ipv6 = to.includes(":");
      return [
        { ...leaving, packet: tcpFrame(Tcp.SYN, { from: ipv6 ? self.ipv6 : self.ipv4, to }), ...unencrypted } as const,
        { ...leaving, cameFrom: a, mark: 0x100 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: ipv6 ? a.ipv6 : a.ipv4, to, sport: 41000 + index }), ...unencrypted } as const,
        { ...leaving, cameFrom: 50, mark: 0x300, packet: tcpFrame(Tcp.SYN, { from: ipv6 ? outside.ipv6 : outside.ipv4, to }), ...unencrypted } as const,
        { ...leaving, cameFrom: a, mark: 0x500, packet: tcpFrame(Tcp.ACK, { from: ipv6 ? a.ipv6 : a.ipv4, to }), ...unencrypted } as const,
      ];
    }),
  },
  {
    name: "a pod's packets for the outside leave as without encryption",
    given: inForce,
    hops: [{ ...leaving, cameFrom: b, mark: 0x100 | (b.id << 16), packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }) }, { ...leaving, cameFrom: b, mark: 0x100 | (b.id << 16), packet: udpFrame({ from: self.ipv4, to: outside.ipv4, dport: TUNNEL_PORT }), drop: "TUNNEL_PORT" }],
  },
  {
    name: "while the others may still send in clear, what comes so is taken",
    given: inForce,
    hops: [{ ...coming, packet: vxlan(self.ipv4, other.ipv4), ...passes }, { ...coming, packet: vxlan(self.ipv6, other.ipv6), ...passes }],
  },
  {
    name: "once all others enforce, a bare tunnel packet of a node is dropped on receipt, by either family, also its first piece",
    given: onReceipt,
    hops: [
      { ...coming, packet: vxlan(self.ipv4, other.ipv4), ...unencrypted },
      { ...coming, packet: vxlan(self.ipv6, other.ipv6), ...unencrypted },
      { ...coming, packet: frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0800), ipv4(other.ipv4, self.ipv4, { protocol: Protocol.UDP, id: 79, offset: 0, moreFragments: true }), udp(40000, TUNNEL_PORT), payload(64)), ...unencrypted },
    ],
  },
  {
    name: "once all others enforce, a pod's bare packet is dropped on receipt, also where nodes route without a tunnel",
    given: (world) => { world.goNative(); onReceipt(world); },
    hops: [
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: a.ipv4 }), ...unencrypted },
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: remote.ipv6, to: a.ipv6 }), ...unencrypted },
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: a.ipv4, sport: 41000 }), ...unencrypted },
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: "10.2.0.99", to: self.ipv4 }), ...unencrypted },
    ],
  },
  {
    name: "once all others enforce, WireGuard's packets, what nodes say for themselves and what is the outside's come in as before",
    given: onReceipt,
    hops: [
      { ...coming, packet: udpFrame({ from: other.ipv4, to: self.ipv4, sport: WIREGUARD_PORT, dport: WIREGUARD_PORT }), ...passes },
      { ...coming, packet: udpFrame({ from: other.ipv4, to: self.ipv4, sport: TUNNEL_PORT, dport: 53 }), ...passes },
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: other.ipv4, to: self.ipv4, dport: 6443 }), ...passes },
      { ...coming, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: self.ipv4, dport: TUNNEL_PORT }), ...passes },
      { ...coming, packet: frame(ethernet(UNDERLAY_MAC, UNDERLAY_MAC, 0x0806), payload(28)) },
    ],
  },
]);
