/** Without a tunnel: whose packets from the underlay are believed, and where pods' packets go. */
import assert from "node:assert/strict";
import { PEER_BARE, PEER_DIRECT, PEER_TUNNEL } from "../../src/kernel/gen/types.ts";
import { pingFrame, tcpFrame } from "./lib/frames.ts";
import { Tcp, ethernet, frame, icmpv6, ipv6 } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { World } from "./lib/world.ts";
import { DEFAULT_INGRESS, UNDERLAY_IFINDEX, VXLAN_IFINDEX, a, b, other, outside, remote, self } from "./lib/world.ts";

const wire = { hook: "from_netdev" } as const;
/** To the device's own MAC: a test run's device is the loopback, which has none. */
const ours = (packet: Uint8Array): Uint8Array => packet.fill(0, 0, 6);
const syn = (from: string, to: string = a.ipv4, sport = 40000): Uint8Array => ours(tcpFrame(Tcp.SYN, { from, to, sport }));
const tunnelled = (vni: number) => ({ hook: "from_overlay", outer: { source: other.ipv4, vni } }) as const;
/** The other node may be sent to by this way, and believed both ways. */
const changeOver = (world: World, way: "tunnel" | "direct"): void => world.reach(way === "direct" ? PEER_DIRECT : PEER_TUNNEL | PEER_BARE, other.ipv4);
const spoofed = { drop: "SPOOFED_UNDERLAY" } as const;
const native = (more: (world: World) => void = () => undefined) => (world: World): void => { world.goNative(); more(world); };

rows([
  { name: "while there is a tunnel, pods of another node come through nothing else", hops: [{ ...wire, packet: syn(remote.ipv4), ...spoofed }] },
  {
    name: "a pod of another node reaches a pod here, judged by its address, once",
    given: native((world) => world.ingress(a, [{ peer: remote.identity, rule: 41 }])),
    hops: [{ ...wire, packet: syn(remote.ipv4), action: Action.REDIRECT, rules: [41], mark_after: 0 }, { ...wire, packet: syn(remote.ipv6, a.ipv6), action: Action.REDIRECT, rules: [41] }],
  },
  { name: "what a switch floods is another machine's", given: native(), hops: [{ ...wire, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: a.ipv4 }), mark_after: 0x300 }] },
  { name: "an address of another node's pods that nobody knows is nobody", given: native((world) => world.ingress(a, [{ peer: 9, rule: 41 }])), hops: [{ ...wire, packet: syn("10.2.0.99"), drop: "UNKNOWN_IDENTITY" }] },
  { name: "this node's pods and routers come on no wire", given: native(), hops: [b.ipv4, b.ipv6, self.router4, "10.1.0.99"].map((from) => ({ ...wire, packet: syn(from, from.includes(":") ? a.ipv6 : a.ipv4), ...spoofed }) as const) },
  {
    name: "another node's router speaks for the outside, never for the node",
    given: native((world) => world.ingress(a, [{ peer: 9, rule: 41 }])),
    hops: [{ ...wire, packet: syn(other.router4), action: Action.REDIRECT, rules: [41] }, { ...wire, change: (world) => world.ingress(a, [{ peer: 6, rule: 42 }]), packet: syn(other.router4, a.ipv4, 41000), drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS] }],
  },
  {
    name: "through the stack pods and nodes come from underlay devices alone",
    given: native(),
    hops: [remote.ipv4, other.ipv4, other.router4].flatMap((from, index) => [
      { hook: "to_container", at: a, cameFrom: 50, mark: 0, packet: tcpFrame(Tcp.SYN, { from, to: a.ipv4, pod: a, sport: 42000 + index }), ...spoofed } as const,
      { hook: "to_container", at: a, cameFrom: VXLAN_IFINDEX, mark: 0, packet: tcpFrame(Tcp.SYN, { from, to: a.ipv4, pod: a, sport: 43000 + index }), ...spoofed } as const,
      { hook: "to_container", at: a, cameFrom: UNDERLAY_IFINDEX, mark: 0, packet: tcpFrame(Tcp.SYN, { from, to: a.ipv4, pod: a, sport: 44000 + index }) } as const,
    ]),
  },
  { name: "neighbour messages of other nodes' pods are none", given: native(), hops: [{ ...wire, packet: ours(frame(ethernet(a.mac, a.mac, 0x86dd), ipv6(remote.ipv6, a.ipv6, 58, 255), icmpv6(remote.ipv6, a.ipv6, 136, 0, 0))), drop: "FORGED_NEIGHBOUR" }] },
  { name: "what is for the node itself goes to its stack", given: native(), hops: [{ ...wire, packet: pingFrame("request", { from: remote.ipv4, to: self.ipv4 }), mark_after: 0x300 }] },
  {
    name: "where no route leads on, the stack answers the pod, with what was judged",
    given: native((world) => world.egress(a, [{ peer: remote.identity, rule: 31 }])),
    hops: [{ hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), action: Action.OK, rules: [31], mark_after: 0x400 | (a.id << 16) }],
  },
  ...(["tunnel", "direct"] as const).flatMap((way) => {
    const given = (more: (world: World) => void = () => undefined) => (world: World): void => { changeOver(world, way); more(world); };
    return [
      {
        name: `while nodes change over what comes is believed either way, where the other is sent to by ${way}`,
        given: given((world) => world.ingress(a, [{ peer: remote.identity, rule: 41 }])),
        hops: [
          { ...wire, packet: syn(remote.ipv4), action: Action.REDIRECT, rules: [41] },
          { ...tunnelled(remote.identity), packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: a.ipv4, sport: 40001 }), action: Action.REDIRECT, rules: [41] },
          { ...tunnelled(remote.identity), packet: tcpFrame(Tcp.SYN, { from: remote.ipv6, to: a.ipv6 }), action: Action.REDIRECT, rules: [41] },
          { ...tunnelled(remote.identity), packet: tcpFrame(Tcp.SYN, { from: b.ipv4, to: a.ipv4 }), drop: "SPOOFED_OVERLAY" as const },
          { ...wire, packet: syn(b.ipv4), ...spoofed },
        ],
      },
      {
        name: `while nodes change over a router is its node in the tunnel alone, where the other is sent to by ${way}`,
        given: given((world) => world.ingress(a, [{ peer: 6, rule: 42 }])),
        hops: [
          { ...tunnelled(1), packet: tcpFrame(Tcp.SYN, { from: other.router4, to: a.ipv4 }), action: Action.REDIRECT, rules: [42] },
          { ...wire, packet: syn(other.router4, a.ipv4, 41000), drop: "POLICY_DENIED" as const, rules: [DEFAULT_INGRESS] },
        ],
      },
      {
        name: `while nodes change over pods come through the stack from the tunnel and from underlay devices, from no other, where the other is sent to by ${way}`,
        given: given(),
        hops: [UNDERLAY_IFINDEX, VXLAN_IFINDEX, 50].map((cameFrom) => ({
          hook: "to_container" as const, at: a, cameFrom, mark: 0, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: a.ipv4, pod: a, sport: 42000 + cameFrom }), ...(cameFrom === 50 ? spoofed : {}),
        })),
      },
    ];
  }),
  {
    name: "where the other is sent to through the tunnel it is, also while what comes without is believed",
    given: (world) => changeOver(world, "tunnel"),
    hops: [{ hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), action: Action.REDIRECT, mark_after: 0 }],
  },
  {
    name: "the answer of a translated flow is the stack's",
    given: native((world) => { world.ingress(a, []); world.egress(a, [{ peer: remote.identity, rule: 31 }]); }),
    hops: [
      { hook: "to_netdev", cameFrom: a, mark: 0x200 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4 }), rules: [31] },
      { ...wire, packet: ours(tcpFrame(Tcp.ACK, { from: remote.ipv4, to: a.ipv4, sport: 80, dport: 40000 })), mark_after: 0x500, check: ({ events }) => assert.deepEqual(events, []) },
      { ...wire, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: a.ipv4 }), mark_after: 0x300 },
    ],
  },
]);
