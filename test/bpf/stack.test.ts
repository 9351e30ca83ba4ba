/** Packets that the stack may translate: judged where they leave it; who sent them; how replies come back. */
import assert from "node:assert/strict";
import { CT_PRE_NAT, CT_REVOKED, CT_VIA_STACK, FlowZone, Identity, Verdict } from "../../src/kernel/gen/types.ts";
import { tcpFrame, udpFrame, pingFrame } from "./lib/frames.ts";
import { Protocol, Tcp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { Hop } from "./lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, LOOPBACK, UNDERLAY_IFINDEX, VXLAN_IFINDEX, a, b, other, outside, remote, self, service } from "./lib/world.ts";
import type { Pod, World } from "./lib/world.ts";

const POD = 0x100;
const DEFER = 0x200;
const NETDEV = 0x300;
const JUDGED = 0x400;
const REPLY = 0x500;
const mark = (origin: number, pod: Pod): number => (origin | (pod.id << 16)) >>> 0;

const fromA = { hook: "from_container", at: a } as const;
const toService = tcpFrame(Tcp.SYN, { from: a.ipv4, to: service.ipv4, pod: a });
const serviceReply = tcpFrame(Tcp.ACK, { from: service.ipv4, to: a.ipv4, sport: 80, dport: 40000 });
/** The same after the stack chose b, and b's answer. */
const translated = tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, dport: 8080 });
const answer = tcpFrame(Tcp.ACK, { from: b.ipv4, to: a.ipv4, pod: b, sport: 8080, dport: 40000 });
const remoteAnswer = tcpFrame(Tcp.ACK, { from: remote.ipv4, to: a.ipv4, sport: 8080, dport: 40000 });
const atB = { hook: "to_container", at: b, cameFrom: a, mark: mark(DEFER, a) } as const;

/** a may reach the node on 30080 and b on 8080, where kube-proxy sends what comes to 30080; nobody may open anything towards a. */
function throughOwnNode(world: World): void {
  world.egress(a, [{ peer: 1, protocol: Protocol.TCP, port: 30080, rule: 31 }, { peer: b.identity, protocol: Protocol.TCP, port: 8080, rule: 32 }]);
  world.ingress(a, []);
  world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 8080, rule: 41 }]);
}
const opensOwnNode: readonly Hop[] = [
  { ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a, dport: 30080 }), mark_after: mark(POD, a), rules: [31] },
  { ...atB, mark: mark(POD, a), packet: tcpFrame(Tcp.SYN, { from: self.router4, to: b.ipv4, sport: 50000, dport: 8080 }), rules: [32, 41] },
  { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: b.ipv4, to: self.router4, pod: b, sport: 8080, dport: 50000 }), mark_after: mark(REPLY, b), rules: [] },
];
const answersOwnNode = { hook: "to_container", at: a, cameFrom: b, mark: mark(REPLY, b), packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: self.ipv4, to: a.ipv4, sport: 30080, dport: 40000 }) } as const;

rows([
  {
    name: "a service goes up to the stack with the pod's id; the entry admits nothing yet",
    hops: [
      { ...fromA, packet: udpFrame({ from: a.ipv4, to: service.ipv4, pod: a }), mark_after: mark(POD, a), rules: [], check: (_, world) => assert.deepEqual(world.flows().map(({ zone, flags }) => [zone, flags & CT_PRE_NAT]), [[FlowZone.PRE_NAT, CT_PRE_NAT]]) },
      { hook: "to_container", at: a, cameFrom: 50, packet: udpFrame({ from: service.ipv4, to: a.ipv4, sport: 53, dport: 40000 }), drop: "POLICY_DENIED", change: (world) => world.ingress(a, []) },
      { hook: "to_container", at: a, cameFrom: 50, mark: REPLY, packet: udpFrame({ from: service.ipv4, to: a.ipv4, sport: 53, dport: 40000 }) },
    ],
  },
  { name: "a pod with an egress entry is deferred, enforced or not", given: (world) => world.egress(a, [{ rule: 1, peer: 5, verdict: Verdict.DENY }], false), hops: [{ ...fromA, packet: toService, mark_after: mark(DEFER, a) }] },
  { name: "a pod under egress policy is deferred, not judged by the service's address", given: (world) => world.egress(a, []), hops: [{ ...fromA, packet: toService, mark_after: mark(DEFER, a), rules: [] }] },
  {
    name: "the backend here: both ends are judged once, the reply finds its way back",
    given: (world) => {
      world.egress(a, [{ peer: b.identity, protocol: Protocol.TCP, port: 8080, rule: 31 }]);
      world.ingress(a, []);
      world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 8080, rule: 41 }]);
      world.egress(b, []);
    },
    hops: [
      { ...fromA, packet: toService, mark_after: mark(DEFER, a), rules: [] },
      { ...atB, packet: translated, rules: [31, 41] },
      { hook: "from_container", at: b, packet: answer, mark_after: mark(REPLY, b), rules: [] },
      { hook: "to_container", at: a, cameFrom: b, mark: mark(REPLY, b), packet: serviceReply, rules: [] },
      { ...fromA, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: service.ipv4, pod: a }), mark_after: mark(DEFER, a) },
      { ...atB, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: b.ipv4, dport: 8080 }), rules: [] },
    ],
  },
  {
    name: "the source's egress is judged with the backend, not with the service",
    given: (world) => world.egress(a, [{ peer: Identity.WORLD_IPV4, rule: 31 }]),
    hops: [{ ...fromA, packet: toService }, { ...atB, packet: translated, drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS] }],
  },
  {
    name: "revoked, the backend's answer is dropped as well",
    given: (world) => world.ingress(b, [{ rule: 41 }]),
    hops: [{ ...fromA, packet: toService }, { ...atB, mark: mark(POD, a), packet: translated }, { hook: "from_container", at: b, packet: answer, drop: "POLICY_DENIED", change: (world) => world.ingress(b, []) }],
  },
  {
    name: "a masqueraded pod is still that pod, by the device it came in on",
    given: (world) => world.ingress(b, [{ peer: a.identity, rule: 41 }]),
    hops: [{ ...atB, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: b.ipv4 }), rules: [41] }, { ...atB, cameFrom: b, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: b.ipv4, sport: 9 }) }],
  },
  { name: "a pod reaches itself through a service", given: (world) => { world.ingress(a, []); world.egress(a, []); }, hops: [{ hook: "to_container", at: a, cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: self.router4, to: a.ipv4 }), rules: [] }] },
  {
    name: "a pod's mark without its device is judged by nobody, so it is dropped",
    hops: [
      { ...atB, cameFrom: 0, packet: translated, drop: "UNJUDGED_EXIT" },
      { hook: "to_netdev", mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }), drop: "UNJUDGED_EXIT" },
      { hook: "from_host", mark: mark(POD, a), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4 }), drop: "UNJUDGED_EXIT" },
    ],
  },
  {
    name: "the node always reaches its pods, and gets their answers",
    given: (world) => { world.ingress(b, []); world.egress(b, []); },
    hops: [
      { hook: "to_container", at: b, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: b.ipv4 }), rules: [] },
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: b.ipv4, to: self.router4, pod: b, sport: 80, dport: 40000 }), mark_after: mark(REPLY, b), rules: [] },
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN, { from: b.ipv4, to: self.router4, pod: b }), drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS] },
    ],
  },
  {
    name: "the node's address on a packet from a wire is the world's",
    given: (world) => world.ingress(b, [{ peer: 1, rule: 41 }]),
    hops: [
      { hook: "to_container", at: b, cameFrom: 50, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: b.ipv4 }), drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS], check: ({ events }) => assert.equal(events[0]?.sourceIdentity, Identity.WORLD_IPV4) },
      { hook: "to_container", at: b, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: b.ipv4 }), drop: "POLICY_DENIED" },
      { hook: "to_container", at: b, cameFrom: LOOPBACK + 50, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: b.ipv4 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "the node is the host under its own addresses only",
    given: (world) => world.ingress(b, []),
    hops: [
      { hook: "to_container", at: b, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: b.ipv4 }) },
      { hook: "to_container", at: b, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: b.ipv4 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "a pod's address comes from its device or through the tunnel, from nowhere else",
    hops: [
      ...[remote.ipv4, "10.2.0.99", a.ipv4, other.router4].flatMap((from) => [0, 50].map((cameFrom) => ({ hook: "to_container", at: b, cameFrom, packet: tcpFrame(Tcp.SYN, { from, to: b.ipv4 }), drop: "SPOOFED_UNDERLAY" }) as const)),
      { hook: "to_container", at: b, cameFrom: VXLAN_IFINDEX, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: b.ipv4 }), rules: [41], change: (world) => world.ingress(b, [{ peer: remote.identity, rule: 41 }]) },
    ],
  },
  {
    name: "the node that runs the API server comes on an underlay device, as every other node",
    given: (world) => { world.peer(other.ipv4, { identity: Identity.KUBE_APISERVER }); world.ingress(b, [{ peer: Identity.KUBE_APISERVER, rule: 41 }]); },
    hops: [
      { hook: "to_container", at: b, cameFrom: 50, packet: tcpFrame(Tcp.SYN, { from: other.ipv4, to: b.ipv4 }), drop: "SPOOFED_UNDERLAY" },
      { hook: "to_container", at: b, cameFrom: UNDERLAY_IFINDEX, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: other.ipv4, to: b.ipv4 }), rules: [41] },
    ],
  },
  {
    name: "the outside reaches a pod through a node port when the world may; the answer is marked",
    given: (world) => { world.ingress(b, [{ peer: Identity.WORLD_IPV4, rule: 41 }]); world.egress(b, []); },
    hops: [
      { hook: "to_container", at: b, cameFrom: 50, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: b.ipv4 }), rules: [41], check: (_, world) => assert.equal((world.flows()[0]?.flags ?? 0) & CT_VIA_STACK, CT_VIA_STACK) },
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.ACK, { from: b.ipv4, to: outside.ipv4, pod: b, sport: 80, dport: 40000 }), mark_after: mark(REPLY, b) },
      { hook: "to_netdev", cameFrom: b, mark: mark(REPLY, b), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: outside.ipv4, sport: 30080, dport: 40000 }), rules: [] },
    ],
  },
  {
    name: "pod to the outside: judged after masquerade, the answer passes, others from there do not",
    given: (world) => { world.egress(a, [{ peer: Identity.WORLD_IPV4, protocol: Protocol.TCP, port: 443, rule: 31 }]); world.ingress(a, []); },
    hops: [
      { ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: outside.ipv4, pod: a, dport: 443 }), mark_after: mark(DEFER, a) },
      { hook: "to_netdev", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4, sport: 50000, dport: 443 }), rules: [31] },
      { hook: "from_netdev", packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: outside.ipv4, to: self.ipv4, sport: 443, dport: 50000 }), mark_after: REPLY },
      { hook: "to_container", at: a, cameFrom: 50, mark: REPLY, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: outside.ipv4, to: a.ipv4, sport: 443, dport: 40000 }), rules: [] },
      { hook: "from_netdev", packet: tcpFrame(Tcp.ACK, { from: outside.ipv4, to: self.ipv4, sport: 443, dport: 50001 }), mark_after: NETDEV },
      { hook: "to_container", at: a, cameFrom: 50, mark: NETDEV, packet: tcpFrame(Tcp.ACK, { from: outside.ipv4, to: a.ipv4, sport: 444, dport: 40000 }), drop: "POLICY_DENIED" },
      { hook: "to_netdev", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4, dport: 80 }), drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS] },
    ],
  },
  {
    name: "revoked, the next packet to the outside ends the flow, and its answers are no answers any more",
    given: (world) => world.egress(a, [{ peer: Identity.WORLD_IPV4, rule: 31 }]),
    hops: [
      { hook: "to_netdev", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }), rules: [31] },
      { hook: "to_netdev", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.ACK, { from: self.ipv4, to: outside.ipv4 }), drop: "POLICY_DENIED", change: (world) => world.egress(a, []) },
      { hook: "from_netdev", packet: tcpFrame(Tcp.ACK, { from: outside.ipv4, to: self.ipv4, sport: 80, dport: 40000 }), mark_after: NETDEV },
    ],
  },
  {
    name: "a mark that the stack lost does not free a pod of judgement",
    given: (world) => world.egress(a, []),
    hops: [
      { hook: "to_netdev", cameFrom: a, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }), drop: "POLICY_DENIED" },
      { hook: "from_host", cameFrom: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4 }), drop: "POLICY_DENIED" },
      { hook: "to_container", at: b, cameFrom: a, packet: translated, drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "the backend elsewhere: judged at cilium_host, the reply goes back through the stack",
    given: (world) => { world.egress(a, [{ peer: remote.identity, rule: 31 }]); world.ingress(a, []); },
    hops: [
      { ...fromA, packet: toService },
      { hook: "from_host", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, dport: 8080 }), action: Action.REDIRECT, rules: [31], mark_after: 0, check: (_, world) => assert.deepEqual(world.tunnel(), { vni: a.identity, remote: other.ipv4 }) },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: remoteAnswer, mark_after: REPLY },
      { hook: "to_container", at: a, cameFrom: 60, mark: REPLY, packet: serviceReply, rules: [] },
    ],
  },
  {
    name: "the backend elsewhere answers a half-closed connection after half an hour, still through the stack",
    given: (world) => { world.egress(a, [{ peer: remote.identity, rule: 31 }]); world.ingress(a, []); },
    hops: [
      { ...fromA, packet: toService },
      { hook: "from_host", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, dport: 8080 }), action: Action.REDIRECT },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: remoteAnswer, mark_after: REPLY },
      { hook: "to_container", at: a, cameFrom: 60, mark: REPLY, packet: serviceReply },
      { ...fromA, packet: tcpFrame(Tcp.FIN | Tcp.ACK, { from: a.ipv4, to: service.ipv4, pod: a }) },
      { hook: "from_host", cameFrom: a, mark: mark(DEFER, a), packet: tcpFrame(Tcp.FIN | Tcp.ACK, { from: a.ipv4, to: remote.ipv4, dport: 8080 }), action: Action.REDIRECT },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: remoteAnswer, mark_after: REPLY, change: (world) => world.changeFlows(({ expires }) => ({ expires: expires - 1800 })) },
      { hook: "to_container", at: a, cameFrom: 60, mark: REPLY, packet: serviceReply, rules: [] },
    ],
  },
  {
    name: "the own node's node port with a backend here: the answer comes from the node, as the pod sees it",
    given: throughOwnNode,
    hops: [
      ...opensOwnNode,
      { ...answersOwnNode, rules: [] },
      { ...fromA, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a, dport: 30080 }), mark_after: mark(POD, a), rules: [] },
      { ...answersOwnNode, rules: [], check: (_, world) => assert.deepEqual(world.flows().map(({ flags }) => flags & CT_REVOKED), [0, 0]) },
    ],
  },
  { name: "without the mark of an answer a pod's packet from the node's address is judged as that pod's", given: throughOwnNode, hops: [...opensOwnNode, { ...answersOwnNode, mark: mark(POD, b), drop: "POLICY_DENIED" }] },
  {
    name: "the mark of an answer opens nothing by itself",
    given: (world) => { throughOwnNode(world); world.egress(b, []); },
    hops: [answersOwnNode, { ...answersOwnNode, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: a.ipv4, sport: 30080, dport: 40000 }) }].map((hop) => ({ ...hop, drop: "POLICY_DENIED" }) as const),
  },
  {
    name: "revoked, the own node's node port stays closed, though the pod might reach the backend on that port",
    given: throughOwnNode,
    hops: [...opensOwnNode, ...[1, 2].map(() => ({ ...answersOwnNode, drop: "POLICY_DENIED", change: (world: World) => { world.egress(a, [{ peer: b.identity, rule: 31 }]); world.ingress(b, [{ peer: a.identity, rule: 41 }]); } }) as const)],
  },
  {
    name: "a service whose backend is the node itself: the node's answer passes",
    given: (world) => world.ingress(a, []),
    hops: [{ ...fromA, packet: toService }, { hook: "to_container", at: a, packet: serviceReply, rules: [] }, { ...fromA, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: service.ipv4, pod: a }), mark_after: mark(POD, a) }],
  },
  {
    name: "identities that travel from cilium_host",
    hops: [
      { hook: "from_host", packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, check: (_, world) => assert.equal(world.tunnel().vni, 1) },
      { hook: "from_host", cameFrom: 50, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, mark_after: 0, check: (_, world) => assert.equal(world.tunnel().vni, 2) },
      { hook: "from_host", cameFrom: 50, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, check: (_, world) => assert.equal(world.tunnel().vni, 2) },
      { hook: "from_host", packet: tcpFrame(Tcp.SYN, { from: self.router4, to: outside.ipv4 }), drop: "NO_TUNNEL_ENDPOINT" },
    ],
  },
  {
    name: "egress to the own node is judged at once, and passes without deferral",
    given: (world) => world.egress(a, [{ peer: 1, protocol: Protocol.UDP, port: 53, rule: 31 }]),
    hops: [{ ...fromA, packet: udpFrame({ from: a.ipv4, to: self.ipv4, pod: a }), mark_after: mark(POD, a), rules: [31] }, { ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a }), drop: "POLICY_DENIED" }],
  },
  {
    name: "another node is a remote node where the packet leaves",
    given: (world) => world.egress(a, [{ peer: 6, rule: 31 }]),
    hops: [{ ...fromA, packet: pingFrame("request", { from: a.ipv4, to: other.ipv4, pod: a }), mark_after: mark(DEFER, a) }, { hook: "to_netdev", cameFrom: a, mark: mark(DEFER, a), packet: pingFrame("request", { from: self.ipv4, to: other.ipv4 }), rules: [31] }],
  },
  {
    name: "our own answers reach the pod unjudged; another's mark alone does not say that it is one",
    given: (world) => world.ingress(a, []),
    hops: [
      { hook: "to_container", at: a, cameFrom: LOOPBACK, mark: JUDGED, packet: pingFrame("request", { from: outside.ipv4, to: a.ipv4 }) },
      { hook: "to_container", at: a, cameFrom: 50, mark: JUDGED, packet: pingFrame("request", { from: outside.ipv4, to: a.ipv4 }), drop: "POLICY_DENIED" },
    ],
  },
  { name: "a pod's packet under such a mark is judged where it leaves", given: (world) => world.egress(a, []), hops: [{ hook: "to_netdev", cameFrom: a, mark: JUDGED, packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }), drop: "POLICY_DENIED" }] },
  { name: "an address that is not the pod's is not delivered", hops: [{ hook: "to_container", at: a, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: "224.0.0.251" }), drop: "UNKNOWN_ENDPOINT" }] },
  { name: "the node's own packets leave unhindered", hops: [{ hook: "to_netdev", packet: tcpFrame(Tcp.SYN, { from: self.ipv4, to: outside.ipv4 }), rules: [] }, { hook: "to_netdev", cameFrom: 50, mark: NETDEV, packet: tcpFrame(Tcp.SYN, { from: "10.99.0.1", to: outside.ipv4 }), rules: [] }] },
  {
    name: "a pod address on the underlay is a spoof, whatever it is",
    hops: [remote.ipv4, "10.2.0.99", a.ipv4, "10.1.0.99", other.router4, remote.ipv6, "fd00:2::99"].map((from) => ({ hook: "from_netdev", packet: tcpFrame(Tcp.SYN, { from, to: from.includes(":") ? self.ipv6 : self.ipv4 }), drop: "SPOOFED_UNDERLAY" }) as const),
  },
  {
    name: "stubs with an empty slot: pods closed, the node open, pods' packets never leave it",
    given: (world) => world.emptyHooks(),
    hops: [
      { hook: "stub_from_container", at: a, packet: toService, action: Action.SHOT },
      { hook: "stub_to_container", at: a, packet: serviceReply, action: Action.SHOT },
      { hook: "stub_from_overlay", packet: serviceReply, action: Action.SHOT },
      { hook: "stub_from_host", packet: serviceReply, action: Action.SHOT },
      { hook: "stub_from_netdev", packet: serviceReply, action: Action.UNSPEC },
      { hook: "stub_to_netdev", packet: serviceReply, action: Action.UNSPEC },
      { hook: "stub_to_netdev", mark: mark(DEFER, a), packet: serviceReply, action: Action.SHOT },
      { hook: "stub_to_netdev", mark: mark(POD, a), packet: serviceReply, action: Action.SHOT, check: (_, world) => world.fillHooks() },
      { hook: "stub_from_container", at: a, packet: toService, action: Action.OK },
    ],
  },
]);
