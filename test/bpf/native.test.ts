/** Without a tunnel: whose packets from the underlay are believed, and where pods' packets go. */
import assert from "node:assert/strict";
import { pingFrame, tcpFrame } from "./lib/frames.ts";
import { Tcp, ethernet, frame, icmpv6, ipv6 } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { World } from "./lib/world.ts";
import { DEFAULT_INGRESS, UNDERLAY_IFINDEX, VXLAN_IFINDEX, a, b, other, outside, remote, self } from "./lib/world.ts";

const wire = { hook: "from_netdev" } as const;
/** To the device's own MAC: a test run's device is the loopback, which has none. */
const ours = (packet: Uint8Array): Uint8Array => packet.fill(0, 0, 6);
const syn = (from: string, to: string = a.ipv4, sport = 40000): Uint8Array => ours(tcpFrame(Tcp.SYN, { from, to, sport }));
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
