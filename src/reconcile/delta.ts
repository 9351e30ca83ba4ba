/**
 * desired − actual, as a pure data structure: no input or output, no clock. It is the only place that decides
 * what to write.
 *
 *            desired          actual
 *        ┌───────────────┬──────────────┐
 *        │ puts: absent  │ removes      │
 *        │ or different  │              │
 *        └───────┬───────┴──────┬───────┘
 *                └─ equal: nothing to do, and nothing to remember
 *
 * What is actual is kept only where it is not what is desired: a second copy of the addresses of all pods of a large
 * cluster would cost as much memory as the first.
 */
import { isTracked } from "./tracked.ts";
import type { Rows } from "./tracked.ts";

export class Delta<K, V> {
  readonly #equal: (a: V, b: V) => boolean;
  #desired: Rows<K, V> = new Map();
  /** Where actual is not desired: what is actual; undefined: nothing is. */
  #differing = new Map<K, V | undefined>();
  #size = 0;

  constructor(equal: (a: V, b: V) => boolean) {
    this.#equal = equal;
  }

  /** How many entries are actual. */
  get size(): number {
    return this.#size;
  }

  /** A map that is not tracked must not change afterwards: the same object is taken as the same content. */
  desire(next: Rows<K, V>): void {
    this.#follow();
    if (next === this.#desired) return;
    const [former, differing] = [this.#desired, this.#differing];
    const actual = (key: K): V | undefined => (differing.has(key) ? differing.get(key) : former.get(key));
    this.#desired = next;
    this.#differing = new Map();
    // Whatever moved is seen here.
    if (isTracked(next)) next.take();
    for (const [key, wanted] of next) this.#compare(key, actual(key), wanted);
    for (const keys of [former.keys(), differing.keys()]) for (const key of keys) if (next.get(key) === undefined) this.#compare(key, actual(key), undefined);
  }

  observe(actual: Iterable<readonly [K, V]>): void {
    this.#follow();
    this.#differing = new Map();
    this.#size = 0;
    for (const key of this.#desired.keys()) this.#differing.set(key, undefined);
    for (const [key, value] of actual) {
      this.#size++;
      this.#compare(key, value, this.#desired.get(key));
    }
  }

  puts(): Map<K, V> {
    const puts = new Map<K, V>();
    for (const key of this.#differing.keys()) {
      const wanted = this.#desired.get(key);
      if (wanted !== undefined) puts.set(key, wanted);
    }
    return puts;
  }

  removes(): K[] {
    return [...this.#differing.keys()].filter((key) => this.#desired.get(key) === undefined);
  }

  isPut(key: K): boolean {
    return this.#differing.has(key) && this.#desired.get(key) !== undefined;
  }

  isActual(key: K): boolean {
    return this.actual(key) !== undefined;
  }

  /** What is believed to be in the kernel. */
  actual(key: K): V | undefined {
    return this.#differing.has(key) ? this.#differing.get(key) : this.#desired.get(key);
  }

  /** Entries that are actual and not, or not so, desired. */
  *stale(): Iterable<readonly [K, V]> {
    for (const [key, value] of this.#differing) if (value !== undefined) yield [key, value];
  }

  /** These were written and these removed, so they are actual now. */
  applied(puts: ReadonlyMap<K, V>, removes: Iterable<K>): void {
    for (const [key, value] of puts) {
      if (!this.isActual(key)) this.#size++;
      this.#compare(key, value, this.#desired.get(key));
    }
    for (const key of removes) {
      if (this.isActual(key)) this.#size--;
      this.#compare(key, undefined, this.#desired.get(key));
    }
  }

  /** What moved in place is still actual as it was. */
  #follow(): void {
    const desired = this.#desired;
    if (!isTracked(desired)) return;
    for (const [key, former] of desired.take()) {
      this.#compare(key, this.#differing.has(key) ? this.#differing.get(key) : former, desired.get(key));
    }
  }

  #compare(key: K, actual: V | undefined, wanted: V | undefined): void {
    const isSame = actual === undefined || wanted === undefined ? actual === wanted : this.#equal(actual, wanted);
    if (isSame) this.#differing.delete(key);
    else this.#differing.set(key, actual);
  }
}
