import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Delta } from "../../../src/reconcile/delta.ts";
import { MapReconciler } from "../../../src/reconcile/reconciler.ts";
import type { Failure, Target } from "../../../src/reconcile/target.ts";

const equal = (a: number, b: number): boolean => a === b;
const content = fc.dictionary(fc.constantFrom("a", "b", "c", "d", "e"), fc.integer({ min: 0, max: 2 })).map((o) => new Map(Object.entries(o)));

describe("Delta", () => {
  it("makes actual equal to desired, writes nothing that is equal, and is then empty", () => {
    fc.assert(
      fc.property(content, content, content, (actual, first, second) => {
        const delta = new Delta<string, number>(equal);
        delta.observe(actual);
        const kernel = new Map(actual);
        for (const desired of [first, second]) {
          delta.desire(desired);
          for (const [key, value] of delta.puts()) {
            assert.notEqual(kernel.get(key), value, "an equal entry is not written");
            kernel.set(key, value);
          }
          for (const key of delta.removes()) assert.ok(kernel.delete(key), "only what is there is removed");
          delta.applied(new Map(delta.puts()), [...delta.removes()]);
          assert.deepEqual(new Map([...kernel].sort()), new Map([...desired].sort()));
          assert.equal(delta.puts().size + delta.removes().length, 0);
        }
      }),
    );
  });

  it("keeps what was not applied", () => {
    const delta = new Delta<string, number>(equal);
    delta.desire(new Map([["a", 1], ["b", 2]]));
    delta.applied(new Map([["a", 1]]), []);
    assert.deepEqual([...delta.puts()], [["b", 2]]);
  });
});

class Kernel implements Target<string, number> {
  readonly name = "kernel";
  capacity = 100;
  readonly content: Map<string, number>;
  readonly refused = new Set<string>();
  writes = 0;

  constructor(content: Iterable<readonly [string, number]> = []) {
    this.content = new Map(content);
  }
  list(): ReadonlyMap<string, number> {
    return this.content;
  }
  put(entries: ReadonlyMap<string, number>): Failure<string>[] {
    return this.#each(entries.keys(), (key) => this.content.set(key, entries.get(key) as number));
  }
  remove(keys: readonly string[]): Failure<string>[] {
    return this.#each(keys, (key) => this.content.delete(key));
  }
  #each(keys: Iterable<string>, act: (key: string) => unknown): Failure<string>[] {
    const failures: Failure<string>[] = [];
    for (const key of keys) {
      this.writes++;
      if (this.refused.has(key)) failures.push({ key, error: new Error(`no ${key}`) });
      else act(key);
    }
    return failures;
  }
}

describe("MapReconciler", () => {
  it("never removes on put, removes on prune, and does nothing the second time", () => {
    const kernel = new Kernel([["old", 1], ["same", 1]]);
    const reconciler = new MapReconciler(kernel, { equal, nowMs: () => 0 });
    const desired = new Map([["same", 1], ["new", 2]]);
    assert.equal(reconciler.put(desired).done, 1);
    assert.deepEqual([...kernel.content.keys()].sort(), ["new", "old", "same"]);
    assert.equal(reconciler.prune(desired).done, 1);
    assert.deepEqual([...kernel.content.keys()].sort(), ["new", "same"]);
    reconciler.put(desired);
    reconciler.prune(desired);
    assert.equal(kernel.writes, 2);
  });

  it("tries a refused entry again after a delay, lets the others pass, and reports it until it succeeds", () => {
    let now = 0;
    const kernel = new Kernel();
    const reconciler = new MapReconciler(kernel, { equal, nowMs: () => now });
    const desired = new Map([["a", 1], ["bad", 1]]);
    kernel.refused.add("bad");
    assert.deepEqual(reconciler.put(desired).failures.map((f) => f.key), ["bad"]);
    assert.equal(kernel.content.get("a"), 1);
    assert.equal(reconciler.health().level, "degraded");
    const writes = kernel.writes;
    assert.equal(reconciler.put(desired).failures.length, 1, "still reported while it waits");
    assert.equal(kernel.writes, writes, "and not tried before its time");
    now = 120_000;
    kernel.refused.clear();
    assert.equal(reconciler.put(desired).failures.length, 0);
    assert.equal(kernel.content.get("bad"), 1);
    assert.equal(reconciler.health().level, "ok");
  });

  it("leaves out what there is no room for, says the numbers, and writes it as soon as there is room", () => {
    const kernel = new Kernel([["old", 1], ["stale", 1]]);
    kernel.capacity = 3;
    const reconciler = new MapReconciler(kernel, { equal, nowMs: () => 0 });
    const desired = new Map([["a", 1], ["old", 2], ["b", 1], ["c", 1]]);
    const { done, failures } = reconciler.put(desired);
    assert.deepEqual([done, kernel.writes, [...kernel.content]], [2, 2, [["old", 2], ["stale", 1], ["a", 1]]], "a change of what is there needs no room, and nothing is tried in vain");
    assert.deepEqual(failures.map(({ key, error }) => [key, error.message]), ["b", "c"].map((key) => [key, "map kernel needs 5 entries and has room for 3"]));
    reconciler.prune(desired);
    assert.deepEqual(reconciler.put(desired).failures.map(({ key }) => key), ["c"]);
    const fewer = new Map([["a", 1], ["b", 1], ["c", 1]]);
    reconciler.prune(fewer);
    assert.deepEqual(reconciler.put(fewer).failures, [], "at once, without a delay");
    assert.deepEqual([...kernel.content.keys()], ["a", "b", "c"]);
  });

  it("forgets a refused entry that is wanted no more", () => {
    const kernel = new Kernel();
    const reconciler = new MapReconciler(kernel, { equal, nowMs: () => 0 });
    kernel.refused.add("bad");
    reconciler.put(new Map([["bad", 1]]));
    assert.equal(reconciler.put(new Map()).failures.length, 0);
    assert.equal(reconciler.health().level, "ok");
  });

  it("reads the kernel again after invalidate", () => {
    const kernel = new Kernel();
    const reconciler = new MapReconciler(kernel, { equal, nowMs: () => 0 });
    const desired = new Map([["a", 1]]);
    reconciler.put(desired);
    kernel.content.clear();
    reconciler.put(desired);
    assert.equal(kernel.content.size, 0, "what it believes to be there is not read each time");
    reconciler.invalidate();
    reconciler.put(desired);
    assert.equal(kernel.content.get("a"), 1);
  });
});
