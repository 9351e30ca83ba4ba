/** Who may open a flow: both ends of a local flow, precedence, prefixes, default deny, unknown identities. */
import assert from "node:assert/strict";
import { Verdict } from "../../src/kernel/gen/types.ts";
import { ab, ba, pingFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Protocol, Tcp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, a, b, outside, remote } from "./lib/world.ts";

const syn = tcpFrame(Tcp.SYN, ab);
const toB = { hook: "from_container", at: a } as const;
const toA = { hook: "from_container", at: b } as const;

rows([
  { name: "without policy a pod reaches a pod of its node directly", hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [], mark_after: 0 }] },
  {
    name: "the packet arrives with the addresses of the pod's own link",
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, becomes: Uint8Array.from([...Buffer.from("02000000001202000000ff12", "hex"), ...syn.slice(12)]) }],
  },
  {
    name: "default deny of the destination drops, and names its rule",
    given: (world) => world.ingress(b, []),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS], check: ({ events }) => assert.deepEqual([events[0]?.endpoint, events[0]?.direction, events[0]?.sourceIdentity, events[0]?.destinationIdentity], [b.id, 0, a.identity, b.identity]) }],
  },
  {
    name: "default deny of the source drops, although the destination would take it",
    given: (world) => world.egress(a, []),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS], check: ({ events }) => assert.deepEqual([events[0]?.endpoint, events[0]?.direction], [a.id, 1]) }],
  },
  {
    name: "each end is judged once, egress first, and each verdict names its rule",
    given: (world) => {
      world.egress(a, [{ peer: b.identity, rule: 31 }]);
      world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 41 }]);
    },
    hops: [
      { ...toB, packet: syn, action: Action.REDIRECT, rules: [31, 41] },
      { ...toA, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { ...ba, sport: 80, dport: 40000 }), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: tcpFrame(Tcp.ACK, ab), action: Action.REDIRECT, rules: [] },
    ],
  },
  {
    name: "another port than the allowed one is denied",
    given: (world) => world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 81, rule: 41 }]),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENIED" }],
  },
  {
    name: "the same port of another protocol is denied",
    given: (world) => world.ingress(b, [{ protocol: Protocol.TCP, port: 53, rule: 41 }]),
    hops: [{ ...toB, packet: udpFrame(ab), drop: "POLICY_DENIED" }],
  },
  {
    name: "a port range of 64 to 95 takes port 80",
    given: (world) => world.ingress(b, [{ protocol: Protocol.TCP, port: 64, prefix: 11, rule: 41 }]),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [41] }, { ...toB, packet: tcpFrame(Tcp.SYN, { ...ab, dport: 96 }), drop: "POLICY_DENIED" }],
  },
  {
    name: "all ports of a protocol",
    given: (world) => world.ingress(b, [{ protocol: Protocol.TCP, rule: 41 }]),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [41] }, { ...toB, packet: udpFrame(ab), drop: "POLICY_DENIED" }],
  },
  {
    name: "a broad deny outranks a narrow allow",
    given: (world) => world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 41, precedence: 10 }, { rule: 42, verdict: Verdict.DENY, precedence: 20 }]),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [42] }],
  },
  {
    name: "of equal precedence deny wins, whichever is found first",
    given: (world) => world.ingress(b, [{ peer: a.identity, rule: 42, verdict: Verdict.DENY }, { protocol: Protocol.TCP, port: 80, rule: 41 }]),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [42] }],
  },
  {
    name: "a deny rule holds where nothing is enforced",
    given: (world) => world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 42, verdict: Verdict.DENY }], false),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [42] }, { ...toB, packet: tcpFrame(Tcp.SYN, { ...ab, dport: 81 }), action: Action.REDIRECT, rules: [] }],
  },
  {
    name: "an audit verdict passes and says so",
    given: (world) => world.ingress(b, [{ rule: 43, verdict: Verdict.AUDIT }]),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [43], check: ({ events }) => assert.equal(events[0]?.verdict, Verdict.AUDIT) }],
  },
  {
    name: "an ICMP identifier is no type",
    given: (world) => world.ingress(b, [{ protocol: Protocol.ICMP, port: 80, rule: 41 }]),
    hops: [{ ...toB, packet: pingFrame("request", { ...ab, id: 80 }), drop: "POLICY_DENIED" }],
  },
  {
    name: "a peer without ports takes ICMP",
    given: (world) => world.ingress(b, [{ peer: a.identity, rule: 41 }]),
    hops: [
      { ...toB, packet: pingFrame("request", ab), action: Action.REDIRECT, rules: [41] },
      { ...toA, packet: pingFrame("reply", ba), action: Action.REDIRECT, rules: [] },
    ],
  },
  {
    name: "IPv6 is judged by the same rules",
    given: (world) => world.ingress(b, [{ peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 41 }]),
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv6, to: b.ipv6, pod: a }), action: Action.REDIRECT, rules: [41] },
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv6, to: b.ipv6, pod: a, dport: 81 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "a pod elsewhere is judged by its identity and sent through the tunnel",
    given: (world) => world.egress(a, [{ peer: remote.identity, protocol: Protocol.TCP, port: 80, rule: 31 }]),
    hops: [
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), action: Action.REDIRECT, rules: [31], mark_after: 0 },
      { ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a, dport: 81 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "a pod address without identity is dropped under egress policy, even one that allows everything",
    given: (world) => world.egress(a, [{ rule: 31 }]),
    hops: [{ ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: "10.2.0.99", pod: a }), drop: "UNKNOWN_IDENTITY", rules: [DEFAULT_EGRESS] }],
  },
  {
    name: "a pod address without identity is reached where no egress policy is",
    hops: [{ ...toB, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: "10.2.0.99", pod: a }), action: Action.REDIRECT }],
  },
  {
    name: "a rule set that is not there closes the pod as source and as destination",
    given: (world) => world.subject(b, { ruleSet: 0 }),
    hops: [{ ...toB, packet: syn, drop: "POLICY_NOT_READY" }, { ...toA, packet: tcpFrame(Tcp.SYN, ba), drop: "POLICY_NOT_READY" }],
  },
  {
    name: "a pod whose policy is not applied is closed in both directions, to its node too",
    given: (world) => world.endpoint(b, { flags: 0 }),
    hops: [
      { ...toB, packet: syn, drop: "POLICY_NOT_READY" },
      { ...toA, packet: tcpFrame(Tcp.SYN, ba), drop: "POLICY_NOT_READY" },
      { hook: "to_container", at: b, packet: tcpFrame(Tcp.SYN, { from: "10.1.0.1", to: b.ipv4 }), drop: "POLICY_NOT_READY" },
    ],
  },
  { name: "a device without endpoint is closed", hops: [{ hook: "from_container", packet: syn, drop: "UNKNOWN_ENDPOINT" }, { hook: "to_container", packet: syn, drop: "UNKNOWN_ENDPOINT" }] },
  {
    name: "an address outside gets the identity of its CIDR where it leaves the node",
    given: (world) => {
      world.cidr("198.51.100.0/24", { identity: 16777300 });
      world.egress(a, [{ peer: 16777300, rule: 31 }]);
    },
    hops: [
      { hook: "to_netdev", cameFrom: a, mark: 0x200 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: "192.0.2.1", to: outside.ipv4 }), rules: [31] },
      { hook: "to_netdev", cameFrom: a, mark: 0x200 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: "192.0.2.1", to: "203.0.113.1" }), drop: "POLICY_DENIED" },
    ],
  },
]);
