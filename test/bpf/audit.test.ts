/** Policies that only watch: what they would have dropped passes and is told; what is enforced decides. */
import assert from "node:assert/strict";
import { DropReason, EventType, Verdict, ruleHitCodec } from "../../src/kernel/gen/types.ts";
import { perCpu } from "../../src/kernel/index.ts";
import { ab, ba, tcpFrame } from "./lib/frames.ts";
import { Tcp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { DEFAULT_INGRESS, a, b, outside, remote } from "./lib/world.ts";
import type { Pod, Seen, World } from "./lib/world.ts";

/** Its slot and rule set are what would hold if the watching policies were enforced too. */
const watcher: Pod = { ...b, id: 14 };
const syn = tcpFrame(Tcp.SYN, ab);
const toB = { hook: "from_container", at: a, packet: syn } as const;

function watched(world: World, by: (watcher: Pod) => void, pod = b): void {
  world.subject(watcher, {});
  by(watcher);
  world.subject(pod, { audit: watcher.id });
}

function hits(world: World, rule: number): bigint {
  const value = world.map("rule_hits").lookup(new Uint8Array(Uint32Array.of(rule).buffer));
  return value === undefined ? 0n : perCpu(value, ruleHitCodec.size, ruleHitCodec.decode).reduce((sum, { packets }) => sum + packets, 0n);
}

const told = (...wanted: readonly (readonly [verdict: number, rule: number, reason: number])[]) => ({ events }: Seen): void => {
  assert.ok(events.every(({ type }) => type === EventType.VERDICT));
  assert.deepEqual(events.map(({ verdict, rule, reason }) => [verdict, rule, reason]), wanted);
};

rows([
  {
    name: "what the default deny of a watching policy would have dropped passes, told once with its rule and counted for it",
    given: (world) => watched(world, (one) => world.ingress(one, [])),
    hops: [
      { ...toB, action: Action.REDIRECT, check: (seen, world) => (told([Verdict.AUDIT, DEFAULT_INGRESS, DropReason.POLICY_DENIED])(seen), assert.equal(hits(world, DEFAULT_INGRESS), 1n)) },
      { hook: "from_container", at: b, packet: tcpFrame(Tcp.SYN | Tcp.ACK, ba), action: Action.REDIRECT, rules: [] },
      { ...toB, packet: tcpFrame(Tcp.ACK, ab), action: Action.REDIRECT, rules: [] },
    ],
  },
  {
    name: "a watching deny rule is told before an enforced allow, and both rules are counted",
    given: (world) => {
      world.ingress(b, [{ peer: a.identity, rule: 41 }]);
      watched(world, (one) => world.ingress(one, [{ peer: a.identity, rule: 41 }, { rule: 66, verdict: Verdict.DENY, precedence: 2 }]));
    },
    hops: [{ ...toB, action: Action.REDIRECT, check: (seen, world) => (told([Verdict.AUDIT, 66, DropReason.POLICY_DENY])(seen), assert.deepEqual([hits(world, 41), hits(world, 66)], [1n, 1n])) }],
  },
  {
    name: "what a watching policy allows opens nothing that the enforced ones close",
    given: (world) => {
      world.ingress(b, []);
      watched(world, (one) => world.ingress(one, [{ peer: a.identity, rule: 41 }]));
    },
    hops: [{ ...toB, drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS] }],
  },
  {
    name: "a flow that the watching policies allow too is told as allowed, by the enforced rule",
    given: (world) => {
      world.ingress(b, [{ peer: a.identity, rule: 41 }]);
      watched(world, (one) => world.ingress(one, [{ rule: 42 }]));
    },
    hops: [{ ...toB, action: Action.REDIRECT, check: (seen, world) => (told([Verdict.ALLOW, 41, 0])(seen), assert.equal(world.flows()[0]?.ingressRule, 41)) }],
  },
  {
    name: "watching egress of blocks, towards the outside: told where the packet leaves the stack",
    given: (world) =>
      watched(world, (one) => {
        world.egress(one, [{ peer: 0x02000001, rule: 31, verdict: Verdict.DENY }]);
        world.blocks(one, { "198.51.100.0/24": { world: 0x02000001 } });
      }, a),
    hops: [{ hook: "to_netdev", cameFrom: a, mark: 0x100 | (a.id << 16), packet: tcpFrame(Tcp.SYN, { from: a.ipv4, to: outside.ipv4 }), check: told([Verdict.AUDIT, 31, DropReason.POLICY_DENY]) }],
  },
  {
    name: "from another node through the tunnel: what the watching policies allow is told by nobody",
    given: (world) => watched(world, (one) => world.ingress(one, [{ peer: remote.identity, rule: 41 }])),
    hops: [{ hook: "from_overlay", outer: { source: "192.0.2.2", vni: remote.identity }, packet: tcpFrame(Tcp.SYN, { from: remote.ipv4, to: b.ipv4 }), action: Action.REDIRECT, rules: [] }],
  },
  {
    name: "a watching slot that is closed tells nothing",
    given: (world) => world.subject(b, { audit: 15 }),
    hops: [{ ...toB, action: Action.REDIRECT, rules: [] }],
  },
]);
