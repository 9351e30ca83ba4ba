/** What comes out of the tunnel: who may speak for whom, and where it goes. */
import assert from "node:assert/strict";
import { Identity } from "../../src/kernel/gen/types.ts";
import { pingFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Tcp, ethernet, frame, icmpv6, ipv6 } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { DEFAULT_INGRESS, a, b, other, outside, remote, self } from "./lib/world.ts";

const told = (vni: number, source: string = other.ipv4) => ({ hook: "from_overlay", outer: { source, vni } }) as const;
const believed = told(remote.identity);
const syn = (from: string, to: string = a.ipv4): Uint8Array => tcpFrame(Tcp.SYN, { from, to });
const spoofed = { drop: "SPOOFED_OVERLAY" } as const;

rows([
  { name: "a pod of another node reaches a pod here", hops: [{ ...believed, packet: syn(remote.ipv4), action: Action.REDIRECT, rules: [], mark_after: 0 }] },
  {
    name: "it is judged by the identity that the tunnel carries, not by its address",
    given: (world) => world.ingress(a, [{ peer: 4777, rule: 41 }]),
    hops: [{ ...told(4777), packet: syn(remote.ipv4), action: Action.REDIRECT, rules: [41] }, { ...believed, packet: syn(remote.ipv4, a.ipv4), drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS] }],
  },
  { name: "it arrives with the addresses of the pod's own link", hops: [{ ...believed, packet: syn(remote.ipv4), action: Action.REDIRECT, check: ({ packet }) => assert.equal(Buffer.from(packet.slice(0, 12)).toString("hex"), "02000000001102000000ff11") }] },
  { name: "an address of that node that is not known yet is still that node's", hops: [{ ...believed, packet: syn("10.2.0.99"), action: Action.REDIRECT }] },
  { name: "a sender that is no node of the cluster is nobody", hops: [{ ...told(remote.identity, "192.0.2.66"), packet: syn(remote.ipv4), ...spoofed }] },
  { name: "a node speaks for its own pods only", hops: [{ ...believed, packet: syn(b.ipv4), ...spoofed }, { ...believed, packet: syn(outside.ipv4), ...spoofed }, { ...believed, packet: syn(other.ipv4), ...spoofed }, { ...believed, packet: syn(self.router4), ...spoofed }] },
  { name: "identity host needs the node's router address, and becomes remote-node", given: (world) => world.ingress(a, [{ peer: 6, rule: 41 }]), hops: [{ ...told(1), packet: syn(other.router4), action: Action.REDIRECT, rules: [41] }, { ...told(1), packet: syn(remote.ipv4), ...spoofed }] },
  { name: "another node does not reach a pod under policy by itself", given: (world) => world.ingress(a, []), hops: [{ ...told(1), packet: syn(other.router4), drop: "POLICY_DENIED" }] },
  { name: "identity world needs the node's router address", given: (world) => world.ingress(a, [{ peer: Identity.WORLD_IPV4, rule: 41 }]), hops: [{ ...told(2), packet: syn(other.router4), action: Action.REDIRECT, rules: [41] }, { ...told(2), packet: syn(outside.ipv4), ...spoofed }] },
  { name: "a masqueraded pod keeps its identity under the router address", given: (world) => world.ingress(a, [{ peer: 4021, rule: 41 }]), hops: [{ ...believed, packet: syn(other.router4), action: Action.REDIRECT, rules: [41] }] },
  { name: "no other identity travels", hops: [0, 3, 6, 255].map((vni) => ({ ...told(vni), packet: syn(remote.ipv4), drop: "INVALID_IDENTITY" }) as const) },
  {
    name: "whichever of its addresses the node sends from, of either family",
    hops: [{ ...told(remote.identity, other.ipv6), packet: syn(remote.ipv4), action: Action.REDIRECT }, { ...told(remote.identity, "2001:db8::66"), packet: syn(remote.ipv4), ...spoofed }],
  },
  {
    name: "a node as a version wrote it that knew one address of each: it speaks for its own pods from that, and for no others",
    given: (world) => world.formerNode(),
    hops: [{ ...believed, packet: syn(remote.ipv4), action: Action.REDIRECT }, { ...believed, packet: syn(b.ipv4), ...spoofed }, { ...believed, packet: syn(outside.ipv4), ...spoofed }],
  },
  { name: "IPv6 inside", given: (world) => world.ingress(a, [{ peer: remote.identity, rule: 41 }]), hops: [{ ...believed, packet: tcpFrame(Tcp.SYN, { from: remote.ipv6, to: a.ipv6 }), action: Action.REDIRECT, rules: [41] }, { ...told(1), packet: tcpFrame(Tcp.SYN, { from: other.router6, to: a.ipv6 }), drop: "POLICY_DENIED" }] },
  {
    name: "the answer of a pod elsewhere",
    given: (world) => { world.ingress(a, []); world.egress(a, [{ peer: remote.identity, rule: 31 }]); },
    hops: [
      { hook: "from_container", at: a, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), action: Action.REDIRECT, check: (_, world) => assert.deepEqual(world.tunnel(), { vni: a.identity, remote: other.ipv4 }) },
      { ...believed, packet: tcpFrame(Tcp.ACK, { from: remote.ipv4, to: a.ipv4, sport: 80, dport: 40000 }), action: Action.REDIRECT, rules: [] },
      { ...believed, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: a.ipv4, sport: 80, dport: 40000 }), drop: "POLICY_DENIED" },
    ],
  },
  {
    name: "the answer of a pod to the world behind another node's router goes back through the tunnel",
    given: (world) => { world.ingress(a, [{ peer: Identity.WORLD_IPV4, rule: 41 }]); world.egress(a, []); },
    hops: [
      { ...told(2), packet: syn(other.router4), action: Action.REDIRECT, rules: [41] },
      { hook: "from_container", at: a, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: other.router4, pod: a, sport: 80, dport: 40000 }), action: Action.REDIRECT, rules: [], check: (_, world) => assert.deepEqual(world.tunnel(), { vni: a.identity, remote: other.ipv4 }) },
    ],
  },
  { name: "the node itself gets what is for its router address, as from a wire", hops: [{ ...believed, packet: pingFrame("request", { from: remote.ipv4, to: self.router4 }), mark_after: 0x300 }, { ...told(1), packet: udpFrame({ from: other.router6, to: self.router6 }), mark_after: 0x300 }] },
  {
    name: "a masqueraded pod's answer to the router address is marked as one",
    hops: [
      { hook: "from_host", cameFrom: a, mark: 0x100 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: self.router4, to: remote.ipv4 }), action: Action.REDIRECT, check: (_, world) => assert.equal(world.tunnel().vni, a.identity) },
      { ...believed, packet: tcpFrame(Tcp.ACK, { from: remote.ipv4, to: self.router4, sport: 80, dport: 40000 }), mark_after: 0x500 },
    ],
  },
  { name: "nothing else is forwarded", hops: [{ ...believed, packet: syn(remote.ipv4, outside.ipv4), drop: "UNKNOWN_ENDPOINT" }, { ...believed, packet: syn(remote.ipv4, self.ipv4), drop: "UNKNOWN_ENDPOINT" }, { ...believed, packet: syn(remote.ipv4, "10.1.0.99"), drop: "UNKNOWN_ENDPOINT" }] },
  { name: "neighbour messages do not cross nodes", hops: [{ ...believed, packet: frame(ethernet(a.mac, a.mac, 0x86dd), ipv6(remote.ipv6, a.ipv6, 58, 255), icmpv6(remote.ipv6, a.ipv6, 136, 0, 0)), drop: "FORGED_NEIGHBOUR" }] },
  { name: "without tunnel metadata nothing comes in", hops: [{ hook: "from_overlay", packet: syn(remote.ipv4), drop: "SPOOFED_OVERLAY" }] },
]);
