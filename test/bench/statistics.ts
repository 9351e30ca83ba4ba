/** Medians and percentiles that assume nothing about the distribution: rounds on a shared machine are not normal. */

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** Probability that the interval holds the true median; below 0.95 when there are fewer than 6 values. */
  readonly coverage: number;
  readonly count: number;
}

const CONFIDENCE = 0.95;

/** The smallest value that at least `fraction` of the values do not exceed (nearest rank). */
export function percentile(values: readonly number[], fraction: number): number {
  if (values.length === 0) throw new Error("percentile of nothing");
  if (!(fraction >= 0 && fraction <= 1)) throw new Error(`no fraction: ${fraction}`);
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("median of nothing");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/**
 * Median with the interval between two order statistics. Each value is below the true median with probability 1/2, so
 * the k-th smallest and the k-th greatest enclose it with 1 - 2 P(Binomial(n, 1/2) < k); k is the greatest that still
 * gives 95 %. Too few values for that: the smallest and the greatest, with the coverage that they have.
 */
export function medianInterval(values: readonly number[]): Interval {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  let rank = 1;
  while (rank + 1 <= count / 2 && coverageOf(count, rank + 1) >= CONFIDENCE) rank++;
  return {
    median: median(sorted),
    low: sorted[rank - 1] ?? Number.NaN,
    high: sorted[count - rank] ?? Number.NaN,
    coverage: coverageOf(count, rank),
    count,
  };
}

/** The interval of a/b, taken within each round: what slows the machine for a round slows both. */
export function ratioInterval(ours: readonly number[], theirs: readonly number[]): Interval {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} rounds against ${theirs.length}`);
  return medianInterval(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
}

function coverageOf(count: number, rank: number): number {
  let term = 0.5 ** count;
  let below = 0;
  for (let k = 0; k < rank; k++) {
    below += term;
    term *= (count - k) / (k + 1);
  }
  return Math.max(0, 1 - 2 * below);
}
