/** What every BatchMap must do, and every Target on top of it: called for the fake and for the real kernel. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BatchMap, Packed } from "../../src/kernel/port.ts";
import { MapTarget, u32Key } from "../../src/targets/map-target.ts";

export interface SuiteOptions {
  /** A fresh hash map with keys and values of 4 bytes and room for 8 entries. */
  readonly make: () => BatchMap;
}

const u32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};

function packed(...entries: readonly (readonly [number, number])[]): Packed {
  return { keys: Buffer.concat(entries.map(([key]) => u32(key))), values: Buffer.concat(entries.map(([, value]) => u32(value))), count: entries.length };
}

function content(map: BatchMap): Record<number, number> {
  const read = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return Object.fromEntries([...map.entries()].map(([key, value]) => [read(key), read(value)]));
}

export function mapSuite(name: string, { make }: SuiteOptions): void {
  describe(`map and target: ${name}`, () => {
    it("looks up, creates, replaces and deletes; absence is a value", () => {
      const map = make();
      assert.equal(map.lookup(u32(1)), undefined);
      map.update(u32(1), u32(10));
      map.update(u32(1), u32(11));
      assert.deepEqual(map.lookup(u32(1)), u32(11));
      assert.equal(map.delete(u32(1)), true);
      assert.equal(map.delete(u32(1)), false);
    });

    it("refuses keys and values of a wrong length before the kernel reads beyond them", () => {
      const map = make();
      assert.throws(() => map.lookup(new Uint8Array(3)), RangeError);
      assert.throws(() => map.update(u32(1), new Uint8Array(5)), RangeError);
      assert.throws(() => map.delete(new Uint8Array(8)), RangeError);
    });

    it("writes a batch, and lists it in batches smaller than the map", () => {
      const map = make();
      const all = [1, 2, 3, 4, 5, 6, 7].map((n) => [n, n * 10] as const);
      assert.deepEqual(map.updateBatch(packed(...all)), { done: 7, error: undefined });
      assert.deepEqual(content(map), Object.fromEntries(all));
      let seen = 0;
      for (const batch of map.batches(2)) seen += batch.count;
      assert.equal(seen, 7);
    });

    it("tells how much of a batch fitted", () => {
      const map = make();
      const { done, error } = map.updateBatch(packed(...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => [n, n] as const)));
      assert.equal(done, 8);
      assert.equal((error as { code?: string }).code, "E2BIG");
      assert.equal(Object.keys(content(map)).length, 8);
    });

    it("deletes a batch in which keys are absent, wherever they stand", () => {
      const map = make();
      map.updateBatch(packed([1, 1], [2, 2], [3, 3]));
      const keys = Buffer.concat([9, 1, 8, 7, 3, 6].map(u32));
      assert.deepEqual(map.deleteBatch(keys, 6), { done: 6, error: undefined });
      assert.deepEqual(content(map), { 2: 2 });
    });

    it("as a target: one refused entry does not stop the others, and names itself", () => {
      const target = new MapTarget(make(), u32Key, u32Key);
      const nine = new Map(Array.from({ length: 9 }, (_, i) => [i, i]));
      const failures = target.put(nine);
      assert.equal(failures.length, 1);
      assert.equal([...target.list()].length, 8);
      assert.deepEqual(target.put(new Map([[100, 1], [0, 5]])).map((f) => f.key), [100], "a full map still takes changes of what it has");
      assert.equal(new Map(target.list()).get(0), 5);
      assert.deepEqual(target.remove([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), []);
      assert.equal([...target.list()].length, 0);
      assert.deepEqual(target.remove([0]), [], "removing the absent succeeds");
    });
  });
}
