/** The node's own network namespace under policies of nodes. */
import assert from "node:assert/strict";
import { CT_REVOKED, PEER_OWN, QUOTA_HOST, SUBJECT_INGRESS_ADMIN, quotaCodec } from "../../src/kernel/gen/types.ts";
import { icmpFrame, pingFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import type { Ends } from "./lib/frames.ts";
import { host, judgeHost } from "./lib/host.ts";
import { Tcp, ethernet, frame, icmp, icmpv6, ipv4, ipv6, payload, tcp, udp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import type { Hop } from "./lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, UNDERLAY_IFINDEX, a, b, other, outside, remote, self, service } from "./lib/world.ts";
import type { World } from "./lib/world.ts";

/** To the device's own MAC: a test run's device is the loopback, which has none. */
const ours = (packet: Uint8Array): Uint8Array => packet.fill(0, 0, 6);
const arrives = { hook: "from_netdev" } as const;
const leaves = { hook: "to_netdev", mark: 0 } as const;
const into = (ends: Partial<Ends> = {}, flags: number = Tcp.SYN): Uint8Array => ours(tcpFrame(flags, { from: outside.ipv4, to: self.ipv4, ...ends }));
const out = (ends: Partial<Ends> = {}, flags: number = Tcp.SYN): Uint8Array => tcpFrame(flags, { from: self.ipv4, to: outside.ipv4, ...ends });
const back = (ends: Partial<Ends> = {}): Uint8Array => out({ sport: 80, dport: 40000, ...ends }, Tcp.SYN | Tcp.ACK);
const answered = (ends: Partial<Ends> = {}): Uint8Array => into({ sport: 80, dport: 40000, ...ends }, Tcp.SYN | Tcp.ACK);

const GUEST = "192.0.2.100";
const SSH = { protocol: 6, port: 22, rule: 51 } as const;
const closed = (rules: Parameters<World["ingress"]>[1] = []) => (world: World): void => {
  world.subject(host, {});
  world.ingress(host, rules);
  judgeHost(world, host.id);
};
const sealed = (rules: Parameters<World["egress"]>[1] = []) => (world: World): void => {
  world.subject(host, {});
  world.egress(host, rules);
  judgeHost(world, host.id);
};
const both = (world: World): void => {
  closed()(world);
  world.egress(host, []);
};
const denied = { drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS] } as const;
const refused = { drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS] } as const;
const spendQuota = (world: World): void => {
  const value = new Uint8Array(quotaCodec.size);
  quotaCodec.encode({ paidNs: process.hrtime.bigint() + 3_600_000_000_000n }, new DataView(value.buffer));
  world.map("quotas").update(new Uint8Array(Uint32Array.of(QUOTA_HOST).buffer), value);
};
const unremembered = { check: (_: unknown, world: World) => assert.deepEqual(world.flows(), []) };
const passes = (hops: readonly Hop[]): readonly Hop[] => hops;
const unjudged = (world: World): void => world.map("host").update(new Uint8Array(4), new Uint8Array(8));
const fromB = { from: b.ipv4, pod: b } as const;

rows([
  { name: "while no policy selects the node nothing of its own is looked at", hops: [{ ...arrives, packet: into(), rules: [], ...unremembered }, { ...leaves, packet: back(), rules: [], ...unremembered }] },
  {
    name: "a closed node is entered by the allowed port alone, of either family, and answers",
    given: closed([SSH]),
    hops: [
      { ...arrives, packet: into(), ...denied },
      { ...arrives, packet: into({ from: outside.ipv6, to: self.ipv6 }), ...denied },
      { ...arrives, packet: into({ dport: 22 }), rules: [51] },
      { ...leaves, packet: back({ sport: 22 }), rules: [] },
      { ...arrives, packet: into({ dport: 22 }, Tcp.ACK), rules: [] },
      { ...arrives, packet: into({ from: outside.ipv6, to: self.ipv6, dport: 22 }), rules: [51] },
      { ...leaves, packet: back({ from: self.ipv6, to: outside.ipv6, sport: 22 }), rules: [] },
    ],
  },
  { name: "a closed node opens flows itself, and hears their answers", given: (world) => { both(world); world.egress(host, [{ protocol: 6, port: 80, rule: 63 }]); }, hops: [{ ...leaves, packet: out(), rules: [63] }, { ...arrives, packet: answered(), rules: [] }, { ...arrives, packet: into({ sport: 81, dport: 40000 }, Tcp.SYN | Tcp.ACK), ...denied }] },
  { name: "what the node may send is judged with the destination, of either family", given: sealed([{ peer: 9, protocol: 6, port: 443, rule: 61 }]), hops: [{ ...leaves, packet: out(), ...refused }, { ...leaves, packet: out({ dport: 443 }), rules: [61] }, { ...leaves, packet: out({ from: self.ipv6, to: outside.ipv6, dport: 443 }), ...refused }, { ...leaves, packet: out({ to: other.ipv4, dport: 443 }), ...refused }] },
  { name: "a rule names another node, or the world, by its identity", given: closed([{ peer: 6, rule: 52 }]), hops: [{ ...arrives, packet: into({ from: other.ipv4 }), rules: [52] }, { ...arrives, packet: into(), ...denied }] },
  { name: "nobody else has the node's own addresses", given: closed([{ peer: 1, rule: 52 }]), hops: [{ ...arrives, packet: into({ from: self.ipv6, to: self.ipv6 }), ...denied }] },
  { name: "a denial holds where nothing is closed, and what comes before all policies beats it", given: (world) => { closed()(world); world.ingress(host, [{ verdict: 1, precedence: 9, rule: 53 }, { ...SSH, admin: true }], false); world.subject(host, { flags: SUBJECT_INGRESS_ADMIN }); }, hops: [{ ...arrives, packet: into(), drop: "POLICY_DENY", rules: [53] }, { ...arrives, packet: into({ dport: 22 }), rules: [51] }] },
  {
    name: "what watches alone tells and passes",
    given: (world) => { world.subject(host, {}); world.subject({ ...host, id: 21 }, { ingressEnforced: 1, ingressDefault: 77 }); world.subject(host, { audit: 21 }); judgeHost(world, host.id); },
    hops: [{ ...arrives, packet: into(), rules: [77] }],
  },
  {
    name: "what is remembered before the rules come goes on, what opens after them is judged",
    given: (world) => judgeHost(world, 0),
    hops: [
      { ...arrives, packet: into(), rules: [] },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: self.ipv4 })) },
      { ...leaves, packet: out({ to: other.ipv4 }) },
      { ...arrives, change: both, packet: into({}, Tcp.ACK), rules: [] },
      { ...leaves, packet: back(), rules: [] },
      { ...leaves, packet: udpFrame({ from: self.ipv4, to: outside.ipv4, sport: 53, dport: 40000 }), rules: [] },
      { ...arrives, packet: answered({ from: other.ipv4 }), rules: [] },
      { ...arrives, packet: into({ sport: 40001 }), ...denied },
      { ...leaves, packet: out({ to: other.ipv4, sport: 40001 }), ...refused },
    ],
  },
  {
    name: "of what is remembered of before, a handshake begins anew and ends nothing, and a question that nobody answered is judged",
    given: (world) => judgeHost(world, 0),
    hops: [
      { ...arrives, packet: into(), rules: [] },
      { ...leaves, packet: back(), rules: [] },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: self.ipv4 })), rules: [] },
      { ...arrives, change: both, packet: into(), ...denied },
      { ...arrives, packet: into({}, Tcp.ACK), rules: [] },
      { ...leaves, packet: back(), rules: [] },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: self.ipv4 })), ...denied },
    ],
  },
  {
    name: "the middle of a connection that nobody remembers is judged",
    given: both,
    hops: [{ ...arrives, packet: into({}, Tcp.ACK), ...denied }, { ...leaves, packet: back(), ...refused }],
  },
  {
    name: "while others open more than is remembered, the node answers what it may be asked, and asks nobody",
    given: (world) => { both(world); world.ingress(host, [{ protocol: 17, port: 53, rule: 64 }]); },
    hops: [
      { ...leaves, packet: udpFrame({ from: self.ipv4, to: outside.ipv4, sport: 53, dport: 40000 }), ...refused },
      { ...leaves, change: spendQuota, packet: udpFrame({ from: self.ipv4, to: outside.ipv4, sport: 53, dport: 40000 }), rules: [64] },
      { ...leaves, packet: udpFrame({ from: self.ipv4, to: outside.ipv4, sport: 54, dport: 40000 }), ...refused },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: self.ipv4, sport: 53, dport: 40000 })), ...denied },
    ],
  },
  { name: "a rule that is taken back cuts what it allowed", given: closed([{ rule: 54 }]), hops: [{ ...arrives, packet: into(), rules: [54] }, { ...leaves, packet: back() }, { ...arrives, change: closed(), packet: into({}, Tcp.ACK), ...denied }, { ...leaves, packet: back(), drop: "POLICY_DENIED" }] },
  {
    name: "pods of the node are judged where they enter it, and the node where it opens to others",
    given: (world) => { both(world); world.ingress(host, [{ peer: a.identity, protocol: 6, port: 80, rule: 55 }]); },
    hops: [
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN, { ...fromB, to: self.ipv4 }), ...denied },
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN, { from: b.ipv6, to: self.router6, pod: b }), ...denied },
      { hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a }), rules: [55] },
      { hook: "to_container", at: a, mark: 0, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: self.ipv4, to: a.ipv4, sport: 80, dport: 40000 }), rules: [] },
      { hook: "from_container", at: a, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a }), rules: [] },
      { hook: "from_container", at: a, change: (world) => world.ingress(host, []), packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: self.ipv4, pod: a }), ...denied },
    ],
  },
  { name: "a node always reaches its own pods, and they answer it", given: both, hops: [{ hook: "to_container", at: a, mark: 0, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: a.ipv4 }) }, { hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: a.ipv4, to: self.router4, pod: a, sport: 80, dport: 40000 }), rules: [] }] },
  {
    name: "the other end of the tunnel is judged too, by who it is",
    given: closed([{ peer: remote.identity, rule: 56 }]),
    hops: [
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: self.router4 }), rules: [56] },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: 1 }, packet: tcpFrame(Tcp.SYN, { from: other.router4, to: self.router4 }), ...denied },
    ],
  },
  {
    name: "what the node opens into the tunnel is judged there, and answered",
    given: (world) => { both(world); world.egress(host, [{ peer: remote.identity, protocol: 6, port: 80, rule: 62 }]); },
    hops: [
      { hook: "from_host", mark: 0, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4, dport: 81 }), ...refused },
      { hook: "from_host", mark: 0, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, rules: [62] },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: remote.ipv4, to: self.router4, sport: 80, dport: 40000 }), mark_after: 0x300, rules: [] },
    ],
  },
  {
    name: "what the node forwards under its address is not its own, and its answer passes",
    given: both,
    hops: passes([
      { ...leaves, cameFrom: UNDERLAY_IFINDEX, mark: 0x300, packet: out({ to: other.ipv4 }), rules: [] },
      { ...arrives, packet: answered({ from: other.ipv4 }), rules: [] },
      { hook: "from_host", cameFrom: UNDERLAY_IFINDEX, mark: 0x300, packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, rules: [] },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: remote.ipv4, to: self.router4, sport: 80, dport: 40000 }), rules: [] },
      { ...leaves, cameFrom: UNDERLAY_IFINDEX, mark: 0x300, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: other.ipv4 }), rules: [] },
    ]),
  },
  {
    name: "what a pod sent past the stack and then through a service is answered through the stack",
    hops: [
      { hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), action: Action.REDIRECT },
      { hook: "from_host", cameFrom: a, mark: 0x200 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4 }), action: Action.REDIRECT },
      { hook: "from_overlay", outer: { source: other.ipv4, vni: remote.identity }, packet: tcpFrame(Tcp.SYN | Tcp.ACK, { from: remote.ipv4, to: a.ipv4, sport: 80, dport: 40000 }), mark_after: 0x500 },
    ],
  },
  { name: "the answer of a pod's masqueraded flow is the pod's", given: both, hops: [{ hook: "to_netdev", cameFrom: a, mark: 0x200 | (a.id << 16), packet: out() }, { ...arrives, packet: answered(), mark_after: 0x500, rules: [] }] },
  {
    name: "neighbours, groups, ICMP errors and the tunnel of nodes are never judged",
    given: both,
    hops: [
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x86dd), ipv6(other.ipv6, self.ipv6, 58, 255), icmpv6(other.ipv6, self.ipv6, 135, 0, 0), payload(16))) },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: "224.0.0.251" })) },
      { ...leaves, packet: udpFrame({ from: self.ipv4, to: "224.0.0.251" }) },
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x800), ipv4(outside.ipv4, self.ipv4, { protocol: 1 }), icmp(3, 4, 1400), ipv4(self.ipv4, outside.ipv4, { protocol: 6 }), tcp(40000, 443, Tcp.ACK))) },
      { ...arrives, packet: ours(udpFrame({ from: other.ipv4, to: self.ipv4, dport: 8472 })), ...unremembered },
      { ...leaves, packet: udpFrame({ from: self.ipv4, to: other.ipv4, dport: 8472 }), ...unremembered },
      { ...arrives, packet: ours(udpFrame({ from: outside.ipv4, to: self.ipv4, dport: 8472 })), ...denied },
    ],
  },
  { name: "pings are judged as such", given: closed([{ protocol: 1, port: 8, rule: 57 }]), hops: [{ ...arrives, packet: ours(pingFrame("request", { from: outside.ipv4, to: self.ipv4 })), rules: [57] }, { ...leaves, packet: pingFrame("reply", { from: self.ipv4, to: outside.ipv4 }), rules: [] }, { ...arrives, packet: ours(pingFrame("request", { from: outside.ipv6, to: self.ipv6 })), ...denied }, { ...arrives, packet: ours(icmpFrame(17, { from: outside.ipv4, to: self.ipv4 })), ...denied }] },
  {
    name: "other protocols are judged by their number, and what hides its own is dropped",
    given: closed([{ protocol: 47, rule: 58 }, { protocol: 60, rule: 59 }]),
    hops: [
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x800), ipv4(outside.ipv4, self.ipv4, { protocol: 47 }), payload(24))), rules: [58] },
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x800), ipv4(outside.ipv4, self.ipv4, { protocol: 50 }), payload(24))), ...denied },
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x86dd), ipv6(outside.ipv6, self.ipv6, 47), payload(24))), rules: [58] },
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x86dd), ipv6(outside.ipv6, self.ipv6, 60), (inner) => new Uint8Array([...Array.from({ length: 12 }, (_, i) => [i === 11 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0]).flat(), ...inner]), tcp(40000, 22, Tcp.SYN))), drop: "EXTENSION_HEADER" },
    ],
  },
  {
    name: "of a datagram in pieces the first decides",
    given: closed(),
    hops: [
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x800), ipv4(outside.ipv4, self.ipv4, { protocol: 17, id: 7, offset: 1480 }), payload(64))) },
      { ...arrives, packet: ours(frame(ethernet(a.mac, a.mac, 0x800), ipv4(outside.ipv4, self.ipv4, { protocol: 17, id: 7, moreFragments: true }), udp(40000, 53), payload(64))), ...denied },
    ],
  },
  {
    name: "an address that the node has for the time being is judged as its own, in both directions",
    given: (world) => { both(world); world.ingress(host, [SSH]); world.peer(GUEST, { identity: 9, flags: PEER_OWN }); },
    hops: [
      { ...arrives, packet: into({ to: GUEST }), ...denied },
      { ...arrives, packet: into({ to: GUEST, dport: 22 }), rules: [51] },
      { ...leaves, packet: back({ from: GUEST, sport: 22 }), rules: [] },
      { ...leaves, packet: out({ from: GUEST }), ...refused },
      { ...arrives, change: (world) => world.forgetPeer(GUEST), packet: into({ to: GUEST }), rules: [] },
    ],
  },
  {
    name: "what was revoked of a pod's session with the node through a service stays so over a handshake, until an answer is allowed or no policy selects the node",
    given: (world) => judgeHost(world, 0),
    hops: [Tcp.ACK, Tcp.FIN | Tcp.ACK].flatMap((before, i): Hop[] => {
      const ends = { from: a.ipv4, to: service.ipv4, pod: a, sport: 41000 + i } as const;
      const answer = tcpFrame(Tcp.SYN | Tcp.ACK, { from: service.ipv4, to: a.ipv4, sport: 80, dport: ends.sport });
      const sends = (flags: number): Hop => ({ hook: "from_container", at: a, packet: tcpFrame(flags, ends) });
      const cut = { ...sends(Tcp.ACK), drop: "POLICY_DENIED" } as const;
      const revoke = (world: World): void => world.changeFlows(({ flags }) => ({ flags: flags | CT_REVOKED }));
      return [
        sends(Tcp.SYN), sends(before), { ...cut, change: revoke }, sends(Tcp.SYN), cut, sends(Tcp.SYN), cut,
        { hook: "to_container", at: a, cameFrom: 60, mark: 0x500, packet: answer }, sends(Tcp.ACK),
        { ...cut, change: revoke }, { ...sends(Tcp.ACK), change: unjudged }, { ...sends(Tcp.ACK), change: (world) => judgeHost(world, 0) },
      ];
    }),
  },
  { name: "what is another machine's is not judged", given: closed(), hops: [{ ...arrives, packet: tcpFrame(Tcp.SYN, { from: outside.ipv4, to: self.ipv4 }), ...unremembered }] },
  { name: "a link-local address is the node's as well", given: closed(), hops: [{ ...arrives, packet: ours(tcpFrame(Tcp.SYN, { from: "fe80::9", to: "fe80::1" })), ...denied }] },
  { name: "a full table cuts nobody whom the rules allow", given: (world) => { closed([SSH])(world); world.fillFlows(); }, hops: [{ ...arrives, packet: into({ dport: 22 }), rules: [51] }, { ...leaves, packet: back({ sport: 22 }) }, { ...arrives, packet: into(), ...denied }] },
]);
