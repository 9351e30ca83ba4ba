/** Peers that are no identity: address blocks, entities, named ports; and what stands where a port does. */
import assert from "node:assert/strict";
import { CLASS_BLOCKS, CLASS_PORTS, Identity, Verdict } from "../../src/kernel/gen/types.ts";
import { ab, ba, icmpFrame, pingFrame, sctpFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Chunk, Protocol, Tcp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { Hop } from "./lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, UNDERLAY_IFINDEX, a, b, other, outside, remote, self } from "./lib/world.ts";

const [C1, C2, C3] = [CLASS_BLOCKS, CLASS_BLOCKS + 1, CLASS_BLOCKS + 2];
const [HTTP_80, HTTP_81] = [CLASS_PORTS, CLASS_PORTS + 1];
const toB = { hook: "from_container", at: a } as const;
const toA = { hook: "from_container", at: b } as const;
const everywhere = (number: number) => ({ world: number, node: number, pod: number });

/** Of pod a, where it leaves the node. */
const leaving = (to: string, dport = 80) => ({ hook: "to_netdev", cameFrom: a, mark: 0x200 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: to.includes(":") ? self.ipv6 : self.ipv4, to, dport }) }) as const;
/** From a wire to pod b. */
const arriving = (from: string, dport = 80) => ({ hook: "to_container", at: b, cameFrom: UNDERLAY_IFINDEX, mark: 0x300, packet: tcpFrame(Tcp.SYN, { from, to: from.includes(":") ? b.ipv6 : b.ipv4, dport }) }) as const;
const allowed = (rule: number) => ({ rules: [rule] }) as const;
const refused = (rule: number) => ({ drop: rule === DEFAULT_EGRESS || rule === DEFAULT_INGRESS ? "POLICY_DENIED" : "POLICY_DENY", rules: [rule] }) as const;

rows([
  {
    name: "of the blocks around an address the longest counts: an exception inside a block, a block inside the exception",
    given: (world) => {
      world.egress(a, [{ peer: C1, protocol: Protocol.TCP, port: 80, rule: 31 }, { peer: C2, rule: 32 }]);
      world.blocks(a, { "198.51.100.0/24": { world: C1 }, "198.51.100.128/25": {}, "198.51.100.200/32": { world: C2 }, "2001:db8:ff::/48": { world: C1 } });
    },
    hops: [
      { ...leaving(outside.ipv4), ...allowed(31) },
      { ...leaving("198.51.100.129"), ...refused(DEFAULT_EGRESS) },
      { ...leaving("198.51.100.200", 443), ...allowed(32) },
      { ...leaving(outside.ipv6), ...allowed(31) },
      { ...leaving("203.0.113.1"), ...refused(DEFAULT_EGRESS) },
    ],
  },
  {
    name: "a block of IPv4 is none of the IPv6 addresses that look alike, and /0 is one family",
    given: (world) => { world.ingress(b, [{ peer: C1, rule: 41 }]); world.blocks(b, { "0.0.0.0/0": { world: C1 } }); },
    hops: [{ ...arriving(outside.ipv4), ...allowed(41) }, { ...arriving(outside.ipv6), ...refused(DEFAULT_INGRESS) }],
  },
  {
    name: "a deny by block outranks a narrower allow by identity, a deny by identity one by block, and each names its rule",
    given: (world) => {
      world.ingress(b, [
        { peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 41, precedence: 10 }, { peer: C1, rule: 42, verdict: Verdict.DENY, precedence: 20 },
        { peer: C2, protocol: Protocol.TCP, port: 80, rule: 43, precedence: 10 }, { peer: remote.identity, rule: 44, verdict: Verdict.DENY, precedence: 20 },
      ]);
      world.blocks(b, { [`${a.ipv4}/32`]: everywhere(C1), [`${remote.ipv4}/32`]: everywhere(C2) });
    },
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, ab), ...refused(42) },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: b.ipv4 }), ...refused(44) },
    ],
  },
  {
    name: "a block means pods, nodes and the world each only where it says so",
    given: (world) => {
      world.ingress(b, [{ peer: C1, rule: 41 }, { peer: C2, rule: 42 }, { peer: C3, rule: 43 }]);
      world.blocks(b, { "0.0.0.0/0": { world: C1, node: C2, pod: C3 } });
    },
    hops: [
      { ...arriving(outside.ipv4), ...allowed(41) },
      { ...arriving(other.ipv4), ...allowed(42) },
      { ...toB, packet: tcpFrame(Tcp.SYN, ab), action: Action.REDIRECT, ...allowed(43) },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: b.ipv4 }), action: Action.REDIRECT, ...allowed(43) },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: 1 }, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: b.ipv4 }), action: Action.REDIRECT, ...allowed(42) },
    ],
  },
  {
    name: "a block for the world is no way to pods and nodes",
    given: (world) => { world.egress(a, [{ peer: C1, rule: 31 }]); world.blocks(a, { "0.0.0.0/0": { world: C1 } }); },
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, ab), ...refused(DEFAULT_EGRESS) },
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), ...refused(DEFAULT_EGRESS) },
      { ...leaving(other.ipv4), ...refused(DEFAULT_EGRESS) },
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a }), ...refused(DEFAULT_EGRESS) },
      { ...leaving(outside.ipv4), ...allowed(31) },
    ],
  },
  {
    name: "the outside behind a node's address is no node by identity, and the address decides of the blocks",
    given: (world) => { world.ingress(b, [{ peer: Identity.REMOTE_NODE, rule: 41 }, { peer: C1, rule: 42 }, { peer: C2, rule: 43 }]); world.blocks(b, { "10.2.0.0/16": { world: C1, node: C2 } }); },
    hops: [{ hook: "from_overlay", outer: { source: other.ipv4, vni: Identity.WORLD }, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: b.ipv4 }), action: Action.REDIRECT, ...allowed(43) }],
  },
  {
    name: "another rule set's blocks do not count, nor those of a rule set that has none in its header",
    given: (world) => { world.egress(a, [{ peer: C1, rule: 31 }]); world.blocks(b, { "0.0.0.0/0": { world: C1 } }); world.blocks(a, { "0.0.0.0/0": { world: C1 } }); world.subject(a, { flags: 0 }); },
    hops: [{ ...leaving(outside.ipv4), ...refused(DEFAULT_EGRESS) }, { ...leaving(outside.ipv4), change: (world) => world.blocks(a, {}), ...allowed(31) }],
  },
  {
    name: "a block with a port range takes its ports only",
    given: (world) => { world.egress(a, [{ peer: C1, protocol: Protocol.TCP, port: 8080, prefix: 12, rule: 31 }]); world.blocks(a, { "198.51.100.0/24": { world: C1 } }); },
    hops: [{ ...leaving(outside.ipv4, 8087), ...allowed(31) }, { ...leaving(outside.ipv4, 8063), ...refused(DEFAULT_EGRESS) }],
  },
  {
    name: "a block that is taken away ends the connection that it allowed, one that stays does not disturb it",
    given: (world) => { world.egress(a, [{ peer: C1, rule: 31 }]); world.blocks(a, { "198.51.100.0/24": { world: C1 } }); },
    hops: [
      { ...leaving(outside.ipv4), ...allowed(31) },
      { ...leaving(outside.ipv4), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: outside.ipv4 }), change: (world) => world.blocks(a, { "198.51.100.0/25": { world: C1 } }), rules: [31] },
      { ...leaving(outside.ipv4), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: outside.ipv4 }), rules: [] },
      { ...leaving(outside.ipv4), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: outside.ipv4 }), change: (world) => world.blocks(a, { "198.51.100.0/25": {} }), ...refused(DEFAULT_EGRESS) },
    ],
  },
  {
    name: "of two pods with one identity, each is reached on the number that it gives the port's name",
    given: (world) => {
      world.egress(a, [{ peer: HTTP_80, protocol: Protocol.TCP, port: 80, rule: 31 }, { peer: HTTP_81, protocol: Protocol.TCP, port: 81, rule: 31 }]);
      world.namesPorts(a);
      world.endpoint(b, { identity: remote.identity, ports: HTTP_81 });
      world.peer(remote.ipv4, { identity: remote.identity, ports: HTTP_80, flags: 1, node: other.ipv4 });
    },
    hops: [
      ...([[b.ipv4, 81, 80], [remote.ipv4, 80, 81]] as const).flatMap(([to, open, closed]): Hop[] => [
        { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to, pod: a, dport: open }), action: Action.REDIRECT, ...allowed(31) },
        { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to, pod: a, dport: closed }), ...refused(DEFAULT_EGRESS) },
      ]),
    ],
  },
  {
    name: "a port's name that goes cuts the connection, one that stays and another number beside it disturb none",
    given: (world) => {
      world.egress(a, [{ peer: HTTP_81, protocol: Protocol.TCP, port: 81, rule: 31 }]);
      world.namesPorts(a);
      world.endpoint(b, { ports: HTTP_81 });
    },
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, { ...ab, dport: 81 }), action: Action.REDIRECT, ...allowed(31) },
      { ...toA, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { ...ba, sport: 81, dport: 40000 }), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: tcpFrame(Tcp.ACK, { ...ab, dport: 81 }), change: (world) => world.egress(a, [{ peer: HTTP_81, protocol: Protocol.TCP, port: 81, rule: 31 }, { peer: HTTP_80, protocol: Protocol.TCP, port: 80, rule: 32 }]), action: Action.REDIRECT, ...allowed(31) },
      { ...toB, packet: tcpFrame(Tcp.ACK, { ...ab, dport: 81 }), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: tcpFrame(Tcp.ACK, { ...ab, dport: 81 }), change: (world) => world.egress(a, [{ peer: HTTP_80, protocol: Protocol.TCP, port: 80, rule: 32 }]), ...refused(DEFAULT_EGRESS) },
      { ...toA, packet: tcpFrame(Tcp.ACK, { ...ba, sport: 81, dport: 40000 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "entities: a rule that goes cuts the connection to the host, to another node and from the world, one that stays disturbs none",
    given: (world) => {
      world.egress(a, [{ peer: Identity.HOST, rule: 31 }, { peer: Identity.REMOTE_NODE, rule: 32 }]);
      world.ingress(b, [{ peer: Identity.WORLD_IPV4, rule: 41 }]);
    },
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a }), ...allowed(31) },
      { ...leaving(other.ipv4), ...allowed(32) },
      { ...arriving(outside.ipv4), ...allowed(41) },
      { ...toB, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a }), change: (world) => world.egress(a, [{ peer: Identity.HOST, rule: 31 }]), ...allowed(31) },
      { ...leaving(other.ipv4), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: other.ipv4 }), ...refused(DEFAULT_EGRESS) },
      { ...toB, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a }), rules: [] },
      { ...arriving(outside.ipv4), packet: tcpFrame(Tcp.ACK, { from: outside.ipv4, to: b.ipv4 }), rules: [] },
      { ...toB, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a }), change: (world) => world.egress(a, []), ...refused(DEFAULT_EGRESS) },
      { ...arriving(outside.ipv4), packet: tcpFrame(Tcp.ACK, { from: outside.ipv4, to: b.ipv4 }), change: (world) => world.ingress(b, [{ peer: Identity.WORLD_IPV6, rule: 42 }]), ...refused(DEFAULT_INGRESS) },
    ],
  },
  {
    name: "an ICMP type that goes ends the echo in both directions, one that stays does not disturb it",
    given: (world) => world.ingress(b, [{ protocol: Protocol.ICMP, port: 8, rule: 41 }]),
    hops: [
      { ...toB, packet: pingFrame("request", ab), action: Action.REDIRECT, ...allowed(41) },
      { ...toA, packet: pingFrame("reply", ba), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: pingFrame("request", ab), change: (world) => world.ingress(b, [{ protocol: Protocol.ICMP, port: 8, rule: 41 }, { protocol: Protocol.ICMP, port: 13, rule: 42 }]), action: Action.REDIRECT, ...allowed(41) },
      { ...toA, packet: pingFrame("reply", ba), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: pingFrame("request", ab), change: (world) => world.ingress(b, [{ protocol: Protocol.ICMP, port: 13, rule: 42 }]), ...refused(DEFAULT_INGRESS) },
      { ...toA, packet: pingFrame("reply", ba), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "a name in an egress rule says nothing about who comes in",
    given: (world) => {
      world.ingress(b, [{ peer: HTTP_80, rule: 41 }]);
      world.namesPorts(b);
      world.endpoint(a, { ports: HTTP_80 });
    },
    hops: [{ ...toB, packet: tcpFrame(Tcp.SYN, ab), ...refused(DEFAULT_INGRESS) }],
  },
  {
    name: "the world is told apart by family",
    given: (world) => world.ingress(b, [{ peer: Identity.WORLD_IPV6, rule: 41 }]),
    hops: [{ ...arriving(outside.ipv6), ...allowed(41) }, { ...arriving(outside.ipv4), ...refused(DEFAULT_INGRESS), check: ({ events }) => assert.equal(events[0]?.sourceIdentity, Identity.WORLD_IPV4) }],
  },
  {
    name: "entities: the node that runs the API server, another node, the API server outside",
    given: (world) => {
      world.egress(a, [{ peer: Identity.KUBE_APISERVER, rule: 31 }, { peer: Identity.FIRST_LOCAL, rule: 32 }]);
      world.peer(other.ipv4, { identity: Identity.KUBE_APISERVER });
      world.peer(outside.ipv4, { identity: Identity.FIRST_LOCAL });
    },
    hops: [{ ...leaving(other.ipv4, 6443), ...allowed(31) }, { ...leaving(outside.ipv4, 6443), ...allowed(32) }, { ...leaving(other.ipv6), ...refused(DEFAULT_EGRESS) }],
  },
  {
    name: "through the tunnel the node that runs the API server is known as such",
    given: (world) => { world.ingress(a, [{ peer: Identity.KUBE_APISERVER, rule: 41 }]); world.peer(other.router4, { identity: Identity.KUBE_APISERVER, flags: 5, node: other.ipv4 }); },
    hops: [{ hook: "from_overlay", outer: { source: other.ipv4, vni: 1 }, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: a.ipv4 }), action: Action.REDIRECT, ...allowed(41) }],
  },
  {
    name: "no other node becomes this one, whatever its router address is said to be",
    given: (world) => { world.ingress(a, []); world.peer(other.router4, { identity: Identity.HOST, flags: 5, node: other.ipv4 }); },
    hops: [{ hook: "from_overlay", outer: { source: other.ipv4, vni: 1 }, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: a.ipv4 }), ...refused(DEFAULT_INGRESS) }],
  },
  {
    name: "an ICMP type is judged as a port, its reply belongs to the flow",
    given: (world) => { world.ingress(b, [{ protocol: Protocol.ICMP, port: 8, rule: 41 }]); world.ingress(a, []); },
    hops: [
      { ...toB, packet: pingFrame("request", ab), action: Action.REDIRECT, ...allowed(41) },
      { ...toA, packet: pingFrame("reply", ba), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: icmpFrame(13, ab), ...refused(DEFAULT_INGRESS) },
      { ...toB, packet: udpFrame({ ...ab, dport: 8 }), ...refused(DEFAULT_INGRESS) },
      { ...toA, packet: pingFrame("request", ba), ...refused(DEFAULT_INGRESS) },
    ],
  },
  {
    name: "the types that ask: timestamp and extended echo, each with its own answer",
    given: (world) => { world.ingress(b, [{ protocol: Protocol.ICMP, port: 13, rule: 41 }, { protocol: Protocol.ICMP, port: 42, rule: 42 }]); world.egress(b, []); },
    hops: [
      { ...toB, packet: icmpFrame(13, ab), action: Action.REDIRECT, ...allowed(41) },
      { ...toA, packet: icmpFrame(14, ba), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: icmpFrame(42, ab), action: Action.REDIRECT, ...allowed(42) },
      { ...toA, packet: icmpFrame(43, ba), action: Action.REDIRECT, rules: [] },
      { ...toA, packet: pingFrame("reply", ba), ...refused(DEFAULT_INGRESS) },
      { ...toB, packet: pingFrame("request", ab), ...refused(DEFAULT_INGRESS) },
    ],
  },
  {
    name: "ICMPv6 types, and deny of one type beside allow of all",
    given: (world) => world.ingress(b, [{ protocol: Protocol.ICMPV6, rule: 41, precedence: 1 }, { protocol: Protocol.ICMPV6, port: 128, verdict: Verdict.DENY, rule: 42, precedence: 2 }]),
    hops: [
      { ...toB, packet: pingFrame("request", { from: a.ipv6, to: b.ipv6, pod: a }), ...refused(42) },
      { ...toB, packet: icmpFrame(160, { from: a.ipv6, to: b.ipv6, pod: a }), action: Action.REDIRECT, ...allowed(41) },
      { ...toB, packet: pingFrame("request", ab), ...refused(DEFAULT_INGRESS) },
    ],
  },
  {
    name: "SCTP ports are judged",
    given: (world) => world.ingress(b, [{ protocol: Protocol.SCTP, port: 36412, rule: 41 }]),
    hops: [{ ...toB, packet: sctpFrame(Chunk.INIT, { ...ab, dport: 36412 }), action: Action.REDIRECT, ...allowed(41) }, { ...toB, packet: sctpFrame(Chunk.INIT, { ...ab, dport: 36413 }), ...refused(DEFAULT_INGRESS) }, { ...toB, packet: udpFrame({ ...ab, dport: 36412 }), ...refused(DEFAULT_INGRESS) }],
  },
]);
