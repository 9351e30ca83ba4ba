/**
 * desired − actual, as a pure data structure: no input or output, no clock. It is the only place that decides
 * what to write.
 *
 *            desired          actual
 *        ┌───────────────┬──────────────┐
 *        │ puts: absent  │ removes      │
 *        │ or different  │              │
 *        └───────┬───────┴──────┬───────┘
 *                └─ equal: nothing to do
 */
export class Delta<K, V> {
  readonly #equal: (a: V, b: V) => boolean;
  #desired: ReadonlyMap<K, V> = new Map();
  #actual = new Map<K, V>();
  readonly #puts = new Map<K, V>();
  readonly #removes = new Set<K>();

  constructor(equal: (a: V, b: V) => boolean) {
    this.#equal = equal;
  }

  /** The map must not change afterwards: the same object is taken as the same content. */
  desire(next: ReadonlyMap<K, V>): void {
    if (next === this.#desired) return;
    this.#desired = next;
    this.#compare();
  }

  observe(actual: ReadonlyMap<K, V>): void {
    this.#actual = new Map(actual);
    this.#compare();
  }

  puts(): ReadonlyMap<K, V> {
    return this.#puts;
  }

  removes(): ReadonlySet<K> {
    return this.#removes;
  }

  /** What is believed to be in the kernel. */
  actual(): ReadonlyMap<K, V> {
    return this.#actual;
  }

  /** These were written and these removed, so they are actual now. */
  applied(puts: ReadonlyMap<K, V>, removes: Iterable<K>): void {
    for (const [key, value] of puts) {
      this.#actual.set(key, value);
      this.#compareKey(key);
    }
    for (const key of removes) {
      this.#actual.delete(key);
      this.#compareKey(key);
    }
  }

  #compare(): void {
    this.#puts.clear();
    this.#removes.clear();
    for (const key of this.#desired.keys()) this.#compareKey(key);
    for (const key of this.#actual.keys()) if (!this.#desired.has(key)) this.#removes.add(key);
  }

  #compareKey(key: K): void {
    const actual = this.#actual.get(key);
    const wanted = this.#desired.get(key);
    this.#puts.delete(key);
    this.#removes.delete(key);
    if (wanted === undefined) {
      if (actual !== undefined) this.#removes.add(key);
    } else if (actual === undefined || !this.#equal(actual, wanted)) {
      this.#puts.set(key, wanted);
    }
  }
}
