/** Whole policies, judged by the compiled programs (judge.ts). Not in the emulated machines of `make test-kernels`: they have no time for it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { World } from "../lib/world.ts";
import { STAGE, judgeWithPrograms } from "./judge.ts";

const world = new World(STAGE);
after(() => world.close());

test("random policies of every kind and tier: programs, engine and languages give one verdict by one rule", () => {
  const { packets, allowed, denied, audited } = judgeWithPrograms(world, 2500);
  assert.ok(packets > 6000 && allowed > 1500 && denied > 1500 && audited > 150, `all verdicts occur: ${packets} packets, ${allowed} allowed, ${denied} dropped, ${audited} told`);
});
