/** The statistics of the benchmarks. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { median, medianInterval, percentile, ratioInterval } from "../../bench/statistics.ts";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test("median: the middle, or the mean of the two in the middle; the order of the values does not matter", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.throws(() => median([]));
});

test("percentile: nearest rank, never between two values", () => {
  assert.equal(percentile(upTo(100), 0.5), 50);
  assert.equal(percentile(upTo(100), 0.99), 99);
  assert.equal(percentile(upTo(100), 1), 100);
  assert.equal(percentile(upTo(30), 0.99), 30);
  assert.equal(percentile([5], 0), 5);
  assert.throws(() => percentile([], 0.5));
  assert.throws(() => percentile([1], 1.5));
});

test("the interval of a median is the pair of order statistics that the binomial table names", () => {
  // n = 10: the 2nd and the 9th enclose the median with 1 - 2 * 11/1024.
  const ten = medianInterval(upTo(10).toReversed());
  assert.deepEqual([ten.median, ten.low, ten.high, ten.count], [5.5, 2, 9, 10]);
  assert.ok(Math.abs(ten.coverage - (1 - 22 / 1024)) < 1e-12);
  // n = 30: the 10th and the 21st, 95.7 %.
  const thirty = medianInterval(upTo(30));
  assert.deepEqual([thirty.low, thirty.high], [10, 21]);
  assert.ok(thirty.coverage > 0.957 && thirty.coverage < 0.9575);
});

test("few values: the whole range with the coverage that it has", () => {
  const three = medianInterval([2, 1, 3]);
  assert.deepEqual([three.median, three.low, three.high, three.coverage], [2, 1, 3, 0.75]);
  const one = medianInterval([4]);
  assert.deepEqual([one.low, one.high, one.coverage], [4, 4, 0]);
});

test("a ratio is taken within each round", () => {
  const { median: middle, low, high } = ratioInterval([10, 40, 90], [10, 20, 30]);
  assert.deepEqual([middle, low, high], [2, 1, 3]);
  assert.throws(() => ratioInterval([1], [1, 2]));
});
