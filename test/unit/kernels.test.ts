/** What counts as growth of a program for the verifiers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compare } from "../kernels/instructions.ts";

test("growth above 10 % fails, a shrink and a new program ask for a new record, all else passes", () => {
  assert.deepEqual(compare({ a: 100, b: 100 }, { a: 110, b: 80 }), []);
  assert.match(compare({ a: 100 }, { a: 111 }).join(), /a grew from 100 to 111, more than 10 %/);
  assert.match(compare({ a: 100 }, { a: 74 }).join(), /a shrank from 100 to 74/);
  assert.match(compare({ a: 800_000 }, { a: 800_000 }).join(), /a has 800000, more than 700000/);
  assert.match(compare({}, { a: 5 }).join(), /a \(5\) is not recorded/);
  assert.match(compare({ a: 5 }, {}).join(), /was not counted now/);
  assert.match(compare({ a: 5 }, { a: Number.NaN }).join(), /was not counted now/);
});
