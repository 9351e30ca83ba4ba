/** One tenant that asks for far more than its share: it is told so, and nobody else feels it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PolicySize } from "../../../src/compile/index.ts";
import { PolicyQuota } from "../../../src/operator/policy-quota.ts";
import { greedyLabels, greedyPolicies } from "../../support/greedy-tenant.ts";

/** The smallest that fit together, in one order, and nothing after the first that does not. */
function keptNaively(sizes: ReadonlyMap<string, PolicySize>, most: PolicySize): readonly string[] {
  const largest = (key: string): number => Math.max(sizes.get(key)?.rules ?? 0, sizes.get(key)?.blocks ?? 0);
  const keys = [...sizes.keys()].sort((a, b) => largest(a) - largest(b) || (a < b ? -1 : 1));
  const sum = (upTo: number, field: keyof PolicySize): number => keys.slice(0, upTo).reduce((total, key) => total + (sizes.get(key)?.[field] ?? 0), 0);
  return keys.filter((_, at) => sum(at + 1, "rules") <= most.rules && sum(at + 1, "blocks") <= most.blocks);
}

test("who is left out follows from the sizes alone, whatever came first; all whose words change are named (property)", () => {
  const size = fc.option(fc.record({ rules: fc.nat(6), blocks: fc.nat(6) }), { nil: undefined });
  const changes = fc.array(fc.record({ key: fc.constantFrom("a", "b", "c", "d", "e", "f"), size }), { maxLength: 40 });
  fc.assert(fc.property(changes, (all) => {
    const most = { rules: 10, blocks: 8 };
    const quota = new PolicyQuota(most);
    const sizes = new Map<string, PolicySize>();
    const said = new Map<string, string | undefined>();
    for (const { key, size: now } of all) {
      if (now === undefined) sizes.delete(key);
      else sizes.set(key, now);
      for (const told of [key, ...quota.changed("ns", key, now)]) said.set(told, quota.refusal("ns", told));
      const kept = new Set(keptNaively(sizes, most));
      assert.deepEqual(["a", "b", "c", "d", "e", "f"].filter((each) => quota.refusal("ns", each) !== undefined), [...sizes.keys()].filter((each) => !kept.has(each)).sort());
      for (const each of sizes.keys()) assert.equal(quota.refusal("ns", each), said.get(each), "nobody's words change untold");
    }
  }), { numRuns: 500 });
});

test("label sets of one namespace beyond what it may have: it has its identities, is told so, and another namespace gets its own", async () => {
  await greedyLabels(1000, 160);
});

test("rules in very many policies, and blocks in one, beyond what a namespace may have: left out with the numbers, while all others stay in force", () => {
  greedyPolicies(1000, { rules: 655, blocks: 655 });
});
