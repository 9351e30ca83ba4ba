import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { HOST_TRACKED, hostCodec } from "../../../src/kernel/gen/types.ts";
import type { Host } from "../../../src/kernel/gen/types.ts";
import { HostTarget, LEARNING_MS } from "../../../src/targets/host.ts";
import { viewOf } from "../../../src/targets/map-target.ts";

function make(): { readonly map: FakeMap; readonly seen: () => Host; readonly target: () => HostTarget; now: number; remembered: number; refuses: boolean } {
  const map = new FakeMap({ name: "host", keySize: 4, valueSize: hostCodec.size });
  const lab = {
    map, now: 1000, remembered: 0, refuses: false,
    seen: () => { const value = map.lookup(new Uint8Array(4)); return value === undefined ? { subject: 0, flags: 0 } : hostCodec.decode(viewOf(value)); },
    target: () => new HostTarget(map, () => {
      lab.remembered += 1;
      if (lab.refuses) throw new Error("what is open cannot be told");
    }, () => lab.now),
  };
  return lab;
}

test("the first rules of a node judge when its flows are known, and not before", () => {
  const lab = make();
  const target = lab.target();
  assert.equal(target.put(7).againMs, LEARNING_MS);
  assert.deepEqual(lab.seen(), { subject: 0, flags: HOST_TRACKED });
  assert.equal(lab.remembered, 1, "what is open already");
  lab.now += LEARNING_MS - 1;
  assert.equal(target.put(7).againMs, 1);
  assert.equal(lab.seen().subject, 0);
  lab.now += 1;
  assert.deepEqual(target.put(7), { done: 1, error: undefined, againMs: undefined });
  assert.deepEqual(lab.seen(), { subject: 7, flags: HOST_TRACKED });
  assert.deepEqual(target.put(8).againMs, undefined, "later rules judge at once");
  assert.equal(lab.remembered, 1, "and take nothing for open that is no more than known to a socket");
  assert.equal(lab.seen().subject, 8);
});

test("the next agent goes on where the last one was, and what is not judged any more is not remembered", () => {
  const lab = make();
  const first = lab.target();
  first.put(7);
  lab.now += LEARNING_MS;
  first.put(7);
  assert.deepEqual(lab.target().put(7), { done: 0, error: undefined, againMs: undefined }, "judging goes on without a break");
  const last = lab.target();
  last.put(undefined);
  assert.deepEqual(lab.seen(), { subject: 0, flags: 0 });
  assert.equal(last.put(7).againMs, LEARNING_MS, "and learns anew when rules come again");
  lab.now += 5;
  assert.equal(lab.target().put(7).againMs, LEARNING_MS, "an agent that starts meanwhile waits its own time");
});

test("where what is open cannot be remembered, that is told once, and the rules come into force all the same", () => {
  const lab = make();
  lab.refuses = true;
  const target = lab.target();
  assert.match(String(target.put(7).error), /cannot be told/);
  assert.deepEqual(lab.seen(), { subject: 0, flags: HOST_TRACKED });
  assert.deepEqual(target.put(7), { done: 0, error: undefined, againMs: LEARNING_MS });
  lab.now += LEARNING_MS;
  assert.deepEqual(target.put(7), { done: 1, error: undefined, againMs: undefined });
  assert.deepEqual([lab.seen().subject, lab.remembered], [7, 1]);
});
