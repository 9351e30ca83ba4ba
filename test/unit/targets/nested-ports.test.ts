/** Ports inside of ports: whichever keys a packet meets, the strongest rule that covers it decides, never the narrowest key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PortMatch, Rule, RuleSet } from "../../../src/compile/state.ts";
import { anyPort, portRange } from "../../../src/compile/ports.ts";
import { judge } from "../../../src/explain/index.ts";
import type { Question } from "../../../src/explain/index.ts";
import { Tier, Verdict } from "../../../src/kernel/gen/types.ts";
import type { PolicyEntry } from "../../../src/kernel/gen/types.ts";
import { expandRuleSet } from "../../../src/targets/expand.ts";
import type { Entry } from "../../../src/targets/expand.ts";

const [TCP, UDP, DEFAULT, PEER] = [6, 17, 900, 301];
const LAST_PORT = 0xffff;
const MESSAGES = [TCP, UDP] as const;

/** A rule as it is written: a range of one protocol, or everything. */
interface Range {
  readonly protocol: 0 | 6 | 17;
  readonly first: number;
  readonly last: number;
  readonly ofPeer: boolean;
  readonly verdict: "allow" | "deny" | "pass";
  readonly precedence: number;
  readonly admin: boolean;
}

const bounds = fc.tuple(fc.constantFrom(1, 8, 79, 80, 81, 96, 1024, 8080, 32_768, LAST_PORT), fc.constantFrom(1, 63, 80, 95, 127, 1023, 8080, 40_000, LAST_PORT)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const range: fc.Arbitrary<Range> = fc
  .record({ protocol: fc.constantFrom(0 as const, 6 as const, 6 as const, 17 as const), bounds, ofPeer: fc.boolean(), verdict: fc.constantFrom("allow" as const, "deny" as const), precedence: fc.integer({ min: 1, max: 4 }), admin: fc.constantFrom(false, false, true), isPass: fc.boolean() })
  .map(({ bounds: [first, last], isPass, ...rest }) => ({ ...rest, first: rest.protocol === 0 ? 0 : first, last: rest.protocol === 0 ? LAST_PORT : last, verdict: rest.admin && isPass ? "pass" : rest.verdict }));

function matches({ protocol, first, last }: Range): readonly PortMatch[] {
  return protocol === 0 ? [anyPort(0)] : portRange(protocol, first, last);
}

function ruleSetOf(ranges: readonly Range[]): RuleSet {
  const rules = ranges.map((one, index): Rule => ({ id: index + 1, direction: "ingress", peer: one.ofPeer ? "s" : undefined, ports: matches(one), verdict: one.verdict, precedence: one.precedence, ...(one.admin ? { tier: "admin" } : {}) }));
  return { ingressDefault: DEFAULT, egressDefault: undefined, rules };
}

const question = (peer: number, protocol: number, port: number): Question => ({ direction: "ingress", peer, scope: "pods", address: undefined, ports: 0, protocol, port });

/** Of what covers the packet: the first tier that does not pass it on, there the greatest precedence, there a denial. */
function strongest(ranges: readonly Range[], { peer, protocol, port }: Question): readonly number[] {
  const covering = ranges.map((one, index) => ({ ...one, id: index + 1 })).filter((one) => (one.protocol === 0 || (one.protocol === protocol && port >= one.first && port <= one.last)) && (!one.ofPeer || peer === PEER));
  for (const admin of [true, false]) {
    const tier = covering.filter((one) => one.admin === admin);
    const top = tier.filter(({ precedence }) => precedence === Math.max(...tier.map((one) => one.precedence)));
    const denying = top.filter(({ verdict }) => verdict === "deny");
    const deciders = denying.length > 0 ? denying : top;
    if (deciders.length > 0 && (!admin || deciders.some(({ verdict }) => verdict !== "pass"))) return deciders.filter(({ verdict }) => verdict !== "pass").map(({ id }) => id);
  }
  return [];
}

test("at every edge of every range the strongest covering rule decides", () => {
  let nested = 0;
  fc.assert(
    fc.property(fc.array(range, { minLength: 2, maxLength: 6 }), (ranges) => {
      // What the compiler never makes: in a tier with places of its own two rules of one precedence that say different things.
      fc.pre(ranges.every((one, i) => !one.admin || ranges.every((other, j) => i === j || !other.admin || one.precedence !== other.precedence)));
      const rules = expandRuleSet(ruleSetOf(ranges), new Map([["s", new Set([PEER])]]));
      const edges = new Set(ranges.flatMap(({ first, last }) => [first - 1, first, last, last + 1]).filter((port) => port > 0 && port <= LAST_PORT));
      for (const port of edges) {
        for (const protocol of MESSAGES) {
          for (const peer of [PEER, PEER + 1]) {
            const asked = question(peer, protocol, port);
            const deciders = strongest(ranges, asked);
            const { verdict, rule, by } = judge(rules, asked);
            const where = JSON.stringify({ ranges, peer, protocol, port, deciders, rule });
            if (deciders.length === 0) assert.deepEqual([verdict, rule, by], ["deny", DEFAULT, "default-deny"], where);
            else assert.ok(deciders.includes(rule) && ranges[rule - 1]?.verdict === verdict, where);
            if (deciders.length > 0 && ranges.some((one, index) => !deciders.includes(index + 1) && one.first <= port && one.last >= port)) nested++;
          }
        }
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(nested > 1000, `ranges lie inside of others: ${nested} times`);
});

/** The packets of `inner` are packets of `outer`. */
function covers(outer: Entry["key"], inner: Entry["key"]): boolean {
  const isPort = outer.portPrefix <= inner.portPrefix && inner.port >> (16 - outer.portPrefix) === outer.port >> (16 - outer.portPrefix);
  return (outer.peer === 0 || outer.peer === inner.peer) && (outer.protocol === 0 || (outer.protocol === inner.protocol && isPort));
}

const isWeaker = (decided: PolicyEntry, covering: PolicyEntry): boolean => decided.precedence < covering.precedence || (decided.precedence === covering.precedence && covering.verdict === Verdict.DENY && decided.verdict !== Verdict.DENY);

test("the packets of every narrower entry get the strongest decision that covers it", () => {
  let narrower = 0;
  fc.assert(
    fc.property(fc.array(range.map((one): Range => ({ ...one, admin: false, verdict: one.verdict === "pass" ? "deny" : one.verdict })), { minLength: 2, maxLength: 6 }), (ranges) => {
      const rules = expandRuleSet(ruleSetOf(ranges), new Map([["s", new Set([PEER])]]));
      const entries = [...rules.entries.values()];
      const valueOf = new Map(entries.map(({ value }) => [value.rule, value]));
      for (const { key } of entries) {
        const around = entries.filter((other) => other.key.tier === Tier.POLICIES && covers(other.key, key));
        if (around.length > 1) narrower++;
        for (const port of [key.port, key.port + 2 ** (16 - key.portPrefix) - 1]) {
          const { rule } = judge(rules, question(key.peer === 0 ? PEER + 1 : key.peer, key.protocol === 0 ? TCP : key.protocol, port));
          const decided = valueOf.get(rule) ?? assert.fail(`decided by ${rule}`);
          for (const { value } of around) assert.ok(!isWeaker(decided, value), JSON.stringify({ ranges, key, port, decided, value }));
        }
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(narrower > 500, `entries lie inside of others: ${narrower}`);
});
