/** One namespace's rules never take the whole of a node's maps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CapacityExceeded } from "../../../src/reconcile/target.ts";
import type { Expanded } from "../../../src/targets/expand.ts";
import { withinShares } from "../../../src/targets/shares.ts";

const content = (entries: number, blocks = 0): Expanded => ({ entries: new Map(Array.from({ length: entries }, (_, at) => [`e${at}`, {}])), blocks: new Map(Array.from({ length: blocks }, (_, at) => [`b${at}`, {}])) }) as unknown as Expanded;
const ROOM = { policy: 100, blocks: 20 };

test("of a namespace that would take more than half of a map the largest rule sets are refused, with the numbers; the others and other namespaces go on", () => {
  const ruleSets = new Map([["a", content(30)], ["b", content(25)], ["c", content(10)], ["d", content(40)], ["e", content(2, 11)], ["f", content(2, 3)]]);
  const judged = withinShares([["red", "a"], ["red", "b"], ["red", "c"], ["blue", "d"], ["green", "e"], ["green", "f"]], ruleSets, ROOM);
  assert.deepEqual([...judged].filter(([, each]) => each instanceof Error).map(([id]) => id), ["a", "e"]);
  const refusal = judged.get("a");
  assert.ok(refusal instanceof CapacityExceeded);
  assert.equal(refusal.message, "map policy, by the rules of namespace red alone, needs 65 entries and has room for 50");
  assert.equal(judged.get("d"), ruleSets.get("d"));
});

test("what several namespaces obey, what is the node's and what fits is nobody's to lose", () => {
  const ruleSets = new Map([["shared", content(90)], ["node", content(90)], ["own", content(50)]]);
  assert.equal(withinShares([["red", "shared"], ["blue", "shared"], ["", "node"], ["red", "own"]], ruleSets, ROOM), ruleSets);
});

test("a rule set that several pods of one namespace obey counts once; one that is not known is not counted", () => {
  const ruleSets = new Map<string, Expanded | Error>([["a", content(50)], ["b", new Error("unknown")]]);
  assert.equal(withinShares([["red", "a"], ["red", "a"], ["red", "b"]], ruleSets, ROOM), ruleSets);
});
