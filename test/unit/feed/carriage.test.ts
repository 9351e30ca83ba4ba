/** Which parts the manifest carries itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CARRIED_BYTES, place, placeApart } from "../../../src/feed/carriage.ts";
import type { Placement } from "../../../src/feed/carriage.ts";
import type { Part } from "../../../src/feed/document.ts";

const KIB = 1024;
const part = (hash: string, kib = 1): Part => ({ hash, data: "x".repeat(kib * KIB) });
const NOWHERE: Placement = new Map();
const carried = (placement: Placement): string[] => [...placement].filter(([, isCarried]) => isCarried).map(([hash]) => hash);

test("what is new is carried, what is an object stays one", () => {
  const first = place([part("a"), part("b")], NOWHERE);
  assert.deepEqual(carried(first), ["a", "b"]);
  assert.deepEqual(carried(place([part("a"), part("c")], new Map([["a", false], ["b", false]]))), ["c"]);
});

test("when room is short the new goes before what was carried, and what fits stays", () => {
  const before = place([part("old", 60), part("small", 8)], NOWHERE);
  assert.deepEqual(carried(place([part("old", 60), part("small", 8), part("new", 60)], before)), ["small", "new"]);
});

test("a part larger than the room is an object", () => {
  assert.deepEqual(carried(place([part("huge", 97)], NOWHERE)), []);
});

test("for an agent of an older format every part is an object", () => {
  assert.deepEqual(carried(placeApart([part("a")])), []);
});

test("every part has one place, the room is kept, and what does not change moves only once, into an object", () => {
  const step = fc.uniqueArray(fc.record({ name: fc.integer({ min: 0, max: 9 }), kib: fc.integer({ min: 1, max: 64 }) }), { selector: ({ name, kib }) => `${name}/${kib}`, maxLength: 8 });
  fc.assert(fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
    let before: Placement = NOWHERE;
    for (const parts of steps.map((each) => each.map(({ name, kib }) => part(`${name}/${kib}`, kib)))) {
      const placement = place(parts, before);
      assert.deepEqual([...placement.keys()].sort(), parts.map(({ hash }) => hash).sort());
      assert.ok(parts.filter(({ hash }) => placement.get(hash)).reduce((sum, { data }) => sum + data.length, 0) <= CARRIED_BYTES);
      for (const [hash, isCarried] of placement) if (isCarried) assert.notEqual(before.get(hash), false, `${hash} came back out of its object`);
      assert.deepEqual(place(parts, placement), placement, "placing again moves nothing");
      before = placement;
    }
  }), { numRuns: 300 });
});
