/** An administrator's tier: asked first, final unless its strongest rule passes the packet on. */
import assert from "node:assert/strict";
import { Verdict } from "../../src/kernel/gen/types.ts";
import { ab, tcpFrame } from "./lib/frames.ts";
import { Protocol, Tcp } from "./lib/packet.ts";
import { Action, rows } from "./lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, a, b } from "./lib/world.ts";
import type { Rule } from "./lib/world.ts";

const syn = tcpFrame(Tcp.SYN, ab);
const other = tcpFrame(Tcp.SYN, { ...ab, dport: 81 });
const toB = { hook: "from_container", at: a } as const;
const admin = (rule: number, verdict: Verdict, precedence: number, rest: Partial<Rule> = {}): Rule => ({ admin: true, rule, verdict, precedence, ...rest });
const port80 = { protocol: Protocol.TCP, port: 80 } as const;
const DENY: Rule = { rule: 41, verdict: Verdict.DENY, precedence: 2000 };
const ALLOW: Rule = { rule: 42, precedence: 1000 };

rows([
  {
    name: "what the administrator accepts no policy denies, whatever its precedence",
    given: (world) => world.ingress(b, [admin(7, Verdict.ALLOW, 1, { peer: a.identity, ...port80 }), DENY]),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [7] }, { ...toB, packet: other, drop: "POLICY_DENY", rules: [41] }],
  },
  {
    name: "what the administrator denies no policy allows, also where the keys are the same",
    given: (world) => world.ingress(b, [admin(7, Verdict.DENY, 1), ALLOW]),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [7] }],
  },
  {
    name: "passed on: weaker rules of the administrator do not count, the policies decide, by the same key too",
    given: (world) => world.ingress(b, [admin(7, Verdict.PASS, 3, { peer: a.identity, ...port80 }), admin(8, Verdict.DENY, 2), { ...ALLOW, peer: a.identity, ...port80 }]),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [42] }, { ...toB, packet: other, drop: "POLICY_DENY", rules: [8] }],
  },
  {
    name: "passed on and meant by no policy: the default of the direction, and it is named",
    given: (world) => world.ingress(b, [admin(7, Verdict.PASS, 3)]),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENIED", rules: [DEFAULT_INGRESS], check: ({ events }) => assert.equal(events[0]?.verdict, Verdict.DENY) }],
  },
  {
    name: "passed on where nothing is enforced: it passes, and no event says by which rule",
    given: (world) => world.ingress(b, [admin(7, Verdict.PASS, 3)], false),
    hops: [{ ...toB, packet: syn, action: Action.REDIRECT, rules: [] }],
  },
  {
    name: "a stronger rule of the administrator beats a pass, a weaker does not, whatever is narrower",
    given: (world) => world.ingress(b, [admin(7, Verdict.PASS, 3), admin(8, Verdict.DENY, 4, { peer: a.identity, ...port80 }), admin(9, Verdict.DENY, 2, { peer: a.identity, protocol: Protocol.TCP, port: 81 })], false),
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [8] }, { ...toB, packet: other, action: Action.REDIRECT, rules: [] }],
  },
  {
    name: "a pass by identity hands over to a denial by address block, which no one key could say",
    given: (world) => {
      world.ingress(b, [admin(7, Verdict.PASS, 3, { peer: a.identity }), admin(8, Verdict.ALLOW, 2), { rule: 41, verdict: Verdict.DENY, precedence: 2000, peer: 0x02000001 }, ALLOW]);
      world.blocks(b, { [`${a.ipv4}/32`]: { pod: 0x02000001 } });
    },
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [41] }],
  },
  {
    name: "each direction has its own tier",
    given: (world) => {
      world.egress(a, [admin(7, Verdict.ALLOW, 1)]);
      world.ingress(b, [admin(8, Verdict.DENY, 1, port80), { ...ALLOW, protocol: Protocol.TCP }]);
    },
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENY", rules: [7, 8] }, { ...toB, packet: other, action: Action.REDIRECT, rules: [7, 42] }],
  },
  {
    name: "an entry of the administrator counts only where the subject says that it has some",
    given: (world) => {
      world.egress(a, [admin(7, Verdict.ALLOW, 1)]);
      world.subject(a, { flags: 0 });
    },
    hops: [{ ...toB, packet: syn, drop: "POLICY_DENIED", rules: [DEFAULT_EGRESS] }],
  },
]);
