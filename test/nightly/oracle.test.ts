/** The judges of `make test-unit` and `make test-bpf`, with so many random policies that what is rare comes too. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { World } from "../bpf/lib/world.ts";
import { judgeWithPrograms, STAGE } from "../bpf/whole/judge.ts";
import { compareWithLanguages } from "../unit/compile/oracle/compare.ts";
import { recorded } from "./record.ts";

const POLICY_SETS = 100_000;
const IN_THE_KERNEL = 20_000;

test(`the compiled state of ${POLICY_SETS} random policy sets judges as the languages say, and by the same rules`, { timeout: 3_500_000 }, async (context) => {
  await recorded("Oracle: random policy sets, the compiler against a naive reading", async () => {
    const { cases, packets, allowed, denied, told, byTier } = compareWithLanguages(POLICY_SETS);
    assert.ok(cases >= POLICY_SETS);
    const result = `${cases} policy sets, ${packets} packets: ${allowed} allowed, ${denied} denied; ${told} told by what only watches, ${byTier} decided by a tier; no difference`;
    context.diagnostic(result);
    return result;
  });
});

test(`the programs judge by ${IN_THE_KERNEL} random policy sets in real maps as the languages say, and by the same rules`, { timeout: 3_500_000 }, async (context) => {
  const world = new World(STAGE);
  after(() => world.close());
  await recorded("Oracle: random policy sets, the programs against compiler and naive reading", async () => {
    const { cases, packets, allowed, denied, audited } = judgeWithPrograms(world, IN_THE_KERNEL);
    assert.ok(cases >= IN_THE_KERNEL);
    const result = `${cases} policy sets, ${packets} packets: ${allowed} allowed, ${denied} dropped, ${audited} told by what only watches; no difference`;
    context.diagnostic(result);
    return result;
  });
});
