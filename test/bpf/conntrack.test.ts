/** What an entry lets pass, when it is judged again, and when it is gone. */
import assert from "node:assert/strict";
import { CT_CLOSING, CT_FIN_OPENER, CT_FIN_RESPONDER, CT_FROM_LOW, CT_REPLIED, CT_REVOKED } from "../../src/kernel/gen/types.ts";
import { ab, ba, pingFrame, sctpFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Chunk, Protocol, Tcp, ethernet, frame, icmp, ipv4, raw } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { DEFAULT_INGRESS, a, b, remote } from "./lib/world.ts";
import type { World } from "./lib/world.ts";

const fromA = { hook: "from_container", at: a, action: Action.REDIRECT } as const;
const fromB = { hook: "from_container", at: b, action: Action.REDIRECT } as const;
const denied = { action: Action.SHOT, drop: "POLICY_DENIED" } as const;
const back = { ...ba, sport: 80, dport: 40000 } as const;
const syn = tcpFrame(Tcp.SYN, ab);
const ack = tcpFrame(Tcp.ACK, ab);
const reply = tcpFrame(Tcp.ACK, back);
const ENDED = CT_FIN_OPENER | CT_FIN_RESPONDER | CT_CLOSING;
const allow80 = [{ peer: a.identity, protocol: Protocol.TCP, port: 80, rule: 41 }] as const;

/** Nobody may open anything towards a; b takes port 80 of a. */
function onlyAToB80(world: World): void {
  world.ingress(a, []);
  world.ingress(b, allow80);
}

/** An error of `pod` about `original`, a frame that it got. */
function errorAbout(original: Uint8Array, from: string, to: string, link = ethernet(b.mac, b.hostMac, 0x0800)): Uint8Array {
  return frame(link, ipv4(from, to, { protocol: Protocol.ICMP }), icmp(3, 3, 0), raw(original.slice(14, 14 + 28)));
}

rows([
  {
    name: "the destination answers, although it may open nothing",
    given: onlyAToB80,
    hops: [{ ...fromA, packet: syn }, { ...fromB, packet: reply }, { ...fromB, packet: tcpFrame(Tcp.SYN, { ...ba, dport: 80 }), ...denied }],
  },
  {
    name: "UDP and echo replies pass, nothing else does",
    given: (world) => {
      world.ingress(a, []);
      world.ingress(b, [{ peer: a.identity, rule: 41 }]);
    },
    hops: [
      { ...fromA, packet: udpFrame(ab) },
      { ...fromB, packet: udpFrame({ ...ba, sport: 53, dport: 40000 }) },
      { ...fromB, packet: udpFrame({ ...ba, sport: 54, dport: 40000 }), ...denied },
      { ...fromA, packet: pingFrame("request", ab) },
      { ...fromB, packet: pingFrame("reply", ba) },
      { ...fromB, packet: pingFrame("request", ba), ...denied },
    ],
  },
  {
    name: "an echo reply without request passes only where a request could have",
    given: (world) => {
      world.ingress(a, []);
      world.ingress(b, allow80);
    },
    hops: [{ ...fromB, packet: pingFrame("reply", ba), ...denied }, { ...fromB, packet: pingFrame("reply", ba), change: (world) => world.ingress(b, [{ peer: a.identity, rule: 41 }]) }],
  },
  {
    name: "a SYN is never a reply, even on the tuple of a live connection",
    given: onlyAToB80,
    hops: [{ ...fromA, packet: syn }, { ...fromB, packet: reply }, { ...fromB, packet: tcpFrame(Tcp.SYN, back), ...denied }, { ...fromA, packet: ack }],
  },
  {
    name: "a segment without entry passes in the direction that could have opened it",
    given: onlyAToB80,
    hops: [{ ...fromA, packet: ack }],
  },
  {
    name: "a segment without entry passes as the reply of a flow that could have been opened",
    given: onlyAToB80,
    hops: [{ ...fromB, packet: reply }, { ...fromA, packet: ack }, { ...fromB, packet: tcpFrame(Tcp.SYN, back), ...denied }],
  },
  {
    name: "a segment without entry that neither direction allows is dropped under the first direction's rule",
    given: onlyAToB80,
    hops: [{ ...fromB, packet: tcpFrame(Tcp.ACK, ba), ...denied, rules: [DEFAULT_INGRESS], check: ({ events }) => assert.equal(events[0]?.endpoint, a.id) }],
  },
  {
    name: "a revoked rule cuts the live connection in both directions",
    given: onlyAToB80,
    hops: [
      { ...fromA, packet: syn },
      { ...fromB, packet: reply },
      { ...fromA, packet: ack, ...denied, change: (world) => world.ingress(b, []), check: (_, world) => assert.equal((world.flows()[0]?.flags ?? 0) & CT_REVOKED, CT_REVOKED) },
      { ...fromB, packet: reply, ...denied },
    ],
  },
  {
    name: "the middle of a revoked connection does not pass as the answer of a flow that the other side might have opened",
    given: (world) => world.ingress(b, allow80),
    hops: [
      { ...fromA, packet: syn },
      { ...fromB, packet: reply },
      { ...fromA, packet: ack, ...denied, change: (world) => world.ingress(b, []) },
      { ...fromA, packet: ack, ...denied },
      { ...fromB, packet: reply, ...denied },
      { ...fromA, packet: ack, rules: [45], change: (world) => world.ingress(b, [{ peer: a.identity, rule: 45 }]), check: (_, world) => assert.equal((world.flows()[0]?.flags ?? 0) & CT_REVOKED, 0) },
      { ...fromB, packet: reply, rules: [] },
    ],
  },
  {
    name: "the reply meets the revoked rule first",
    given: onlyAToB80,
    hops: [{ ...fromA, packet: syn }, { ...fromB, packet: reply, ...denied, change: (world) => world.ingress(b, []) }],
  },
  {
    name: "a new generation under which the flow is still allowed keeps the entry and its counters",
    given: onlyAToB80,
    hops: [
      { ...fromA, packet: syn },
      { ...fromB, packet: reply },
      { ...fromB, packet: reply, change: (world) => world.ingress(b, [{ peer: a.identity, rule: 44 }]), rules: [44] },
      {
        ...fromB, packet: reply, rules: [], check: (_, world) => {
          const [flow] = world.flows();
          assert.deepEqual([flow?.packets, flow?.ingressRule, flow?.sourceIdentity, flow?.destinationIdentity], [4n, 44, a.identity, b.identity]);
          assert.equal((flow?.flags ?? 0) & (CT_FROM_LOW | CT_REPLIED), CT_FROM_LOW | CT_REPLIED);
        },
      },
    ],
  },
  {
    name: "another identity behind the remote address is judged again",
    given: (world) => world.egress(a, [{ peer: remote.identity, rule: 31 }]),
    hops: [
      { ...fromA, packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: remote.ipv4, pod: a }), rules: [31] },
      { ...fromA, packet: tcpFrame(Tcp.ACK, { from: a.ipv4, to: remote.ipv4, pod: a }), ...denied, change: (world) => world.peer(remote.ipv4, { identity: 4099, flags: 1, node: "192.0.2.2" }) },
    ],
  },
  {
    name: "a local address that belongs to another pod now is judged again",
    given: onlyAToB80,
    hops: [{ ...fromA, packet: syn }, { ...fromA, packet: ack, ...denied, change: (world) => world.endpoint(a, { identity: 2999 }) }],
  },
  {
    name: "an expired entry is no entry",
    given: (world) => {
      world.ingress(a, []);
      world.ingress(b, [{ rule: 41 }]);
    },
    hops: [{ ...fromA, packet: udpFrame(ab) }, { ...fromB, packet: udpFrame({ ...ba, sport: 53, dport: 40000 }), ...denied, change: (world) => world.changeFlows(() => ({ expires: 1 })) }],
  },
  {
    name: "lifetimes: opening 60 s until the opener confirms, established 6 h, half closed 1 h, closing 30 s; a SYN after the end opens anew",
    hops: [
      { ...fromA, packet: syn, check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromB, packet: tcpFrame(Tcp.SYN | Tcp.ACK, back), check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromA, packet: syn, check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromA, packet: ack, check: (_, world) => assert.equal(world.lifetime(), 21600) },
      { ...fromB, packet: tcpFrame(Tcp.FIN | Tcp.ACK, back), check: (_, world) => assert.equal(world.lifetime(), 3600) },
      { ...fromB, packet: tcpFrame(Tcp.FIN | Tcp.ACK, back), check: (_, world) => assert.equal(world.lifetime(), 3600) },
      { ...fromA, packet: tcpFrame(Tcp.FIN | Tcp.ACK, ab), check: (_, world) => assert.equal(world.lifetime(), 30) },
      { ...fromA, packet: syn, check: (_, world) => assert.deepEqual([world.lifetime(), (world.flows()[0]?.flags ?? 0) & (ENDED | CT_REPLIED)], [60, 0]) },
    ],
  },
  {
    name: "the middle of a connection is established when both sides were heard; one side alone never is",
    given: onlyAToB80,
    hops: [
      { ...fromB, packet: reply, check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromB, packet: reply, check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromA, packet: ack, check: (_, world) => assert.equal(world.lifetime(), 21600) },
    ],
  },
  {
    name: "a SYN on a half-closed connection opens anew: its first FIN is no second one",
    hops: [
      { ...fromA, packet: syn },
      { ...fromB, packet: tcpFrame(Tcp.FIN | Tcp.ACK, back) },
      { ...fromA, packet: syn, check: (_, world) => assert.deepEqual([world.lifetime(), (world.flows()[0]?.flags ?? 0) & (ENDED | CT_REPLIED)], [60, 0]) },
      { ...fromA, packet: tcpFrame(Tcp.FIN | Tcp.ACK, ab), check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromB, packet: reply, check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromA, packet: ack, check: (_, world) => assert.equal(world.lifetime(), 3600) },
    ],
  },
  {
    name: "a RST of either side ends the connection",
    hops: [fromA, fromB].flatMap((closer) => [
      { ...fromA, packet: syn },
      { ...fromB, packet: reply },
      { ...closer, packet: tcpFrame(Tcp.RST, closer === fromA ? ab : back), check: (_: unknown, world: World) => assert.equal(world.lifetime(), 10) },
    ]),
  },
  {
    name: "lifetimes: UDP 30 s, also with an answer; 120 s once the opener went on",
    hops: [
      { ...fromA, packet: udpFrame(ab), check: (_, world) => assert.equal(world.lifetime(), 30) },
      { ...fromA, packet: udpFrame(ab), check: (_, world) => assert.equal(world.lifetime(), 30) },
      { ...fromB, packet: udpFrame({ ...ba, sport: 53, dport: 40000 }), check: (_, world) => assert.equal(world.lifetime(), 30) },
      { ...fromA, packet: udpFrame(ab), check: (_, world) => assert.equal(world.lifetime(), 120) },
    ],
  },
  {
    name: "lifetimes: ICMP 30 s",
    hops: [{ ...fromA, packet: pingFrame("request", ab), check: (_, world) => assert.equal(world.lifetime(), 30) }, { ...fromB, packet: pingFrame("reply", ba), check: (_, world) => assert.equal(world.lifetime(), 30) }],
  },
  {
    name: "lifetimes: SCTP opening 60 s, established 210 s, shut down 30 s, aborted 10 s; INIT is never a reply",
    given: (world) => {
      world.ingress(a, []);
      world.ingress(b, [{ peer: a.identity, protocol: Protocol.SCTP, port: 80, rule: 41 }]);
    },
    hops: [
      { ...fromA, packet: sctpFrame(Chunk.INIT, ab), check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromB, packet: sctpFrame(Chunk.INIT, back), ...denied },
      { ...fromB, packet: sctpFrame(Chunk.INIT_ACK, back), check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromA, packet: sctpFrame(Chunk.COOKIE_ECHO, ab), check: (_, world) => assert.equal(world.lifetime(), 210) },
      { ...fromA, packet: sctpFrame(Chunk.SHUTDOWN, ab), check: (_, world) => assert.equal(world.lifetime(), 210) },
      { ...fromB, packet: sctpFrame(Chunk.SHUTDOWN_ACK, back), check: (_, world) => assert.equal(world.lifetime(), 30) },
      { ...fromA, packet: sctpFrame(Chunk.INIT, ab), check: (_, world) => assert.equal(world.lifetime(), 60) },
      { ...fromB, packet: sctpFrame(Chunk.ABORT, back), check: (_, world) => assert.equal(world.lifetime(), 10) },
      { ...fromA, packet: sctpFrame(Chunk.INIT, ab).slice(0, -8), action: Action.SHOT, drop: "INVALID_PACKET" },
    ],
  },
  {
    name: "an ICMP error passes with the flow that it quotes, and does not end it",
    given: (world) => {
      world.ingress(a, []);
      world.ingress(b, [{ rule: 41 }]);
    },
    hops: [
      { ...fromA, packet: udpFrame(ab) },
      { ...fromB, packet: errorAbout(udpFrame(ab), b.ipv4, a.ipv4), check: (_, world) => assert.equal(world.flows().length, 1) },
      { ...fromB, packet: errorAbout(udpFrame({ ...ab, sport: 40001 }), b.ipv4, a.ipv4), ...denied },
    ],
  },
  {
    name: "a pod cannot send errors about flows of others",
    hops: [
      { ...fromA, packet: udpFrame(ab) },
      { ...fromB, packet: errorAbout(udpFrame({ from: a.ipv4, to: remote.ipv4, pod: a }), b.ipv4, a.ipv4), action: Action.SHOT, drop: "INVALID_SOURCE_IP" },
      { ...fromB, packet: errorAbout(udpFrame({ ...ab, from: "10.1.0.99" }), b.ipv4, a.ipv4), action: Action.SHOT, drop: "INVALID_PACKET" },
    ],
  },
  {
    name: "a full table drops new flows and keeps the old ones",
    hops: [
      { ...fromA, packet: syn },
      { ...fromA, packet: udpFrame(ab), action: Action.SHOT, drop: "CT_INSERT_FAILED", change: (world) => world.fillFlows() },
      { ...fromA, packet: ack },
    ],
  },
]);
