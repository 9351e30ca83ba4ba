/**
 * Keeps one target equal to a desired map. Writing and removing are two calls, because the order between
 * targets matters (targets/apply.ts). What the kernel refused is tried again, each key after its own growing
 * delay, and stays in the report until it succeeds.
 */
import { Backoff } from "../lib/backoff.ts";
import type { Health } from "../lib/lifecycle.ts";
import { Delta } from "./delta.ts";
import { CapacityExceeded } from "./target.ts";
import type { Failure, Target } from "./target.ts";
import type { Rows } from "./tracked.ts";

export interface ReconcilerOptions<V> {
  readonly equal: (a: V, b: V) => boolean;
  readonly nowMs: () => number;
}

interface Refused {
  readonly error: Error;
  readonly backoff: Backoff;
  readonly notBeforeMs: number;
}

export interface StepResult<K> {
  readonly done: number;
  readonly failures: readonly Failure<K>[];
}

export class MapReconciler<K, V> {
  readonly #target: Target<K, V>;
  readonly #delta: Delta<K, V>;
  readonly #nowMs: () => number;
  readonly #refused = new Map<K, Refused>();
  #observed = false;

  constructor(target: Target<K, V>, options: ReconcilerOptions<V>) {
    this.#target = target;
    this.#delta = new Delta(options.equal);
    this.#nowMs = options.nowMs;
  }

  /** How many entries are believed to be in the kernel; it is read when nothing is known. */
  get size(): number {
    this.#observe();
    return this.#delta.size;
  }

  /** Entries in the kernel that are not, or not so, in what was last put or pruned. */
  stale(): Iterable<readonly [K, V]> {
    this.#observe();
    return this.#delta.stale();
  }

  /**
   * Writes what is absent or different. What there is no room for is left out, the last first, and is written by the
   * first call that finds room. Throws only when the target cannot be listed.
   */
  put(desired: Rows<K, V>): StepResult<K> {
    this.#delta.desire(desired);
    this.#observe();
    const entries = this.#delta.puts();
    const excess = this.#excess(entries);
    const left = new Set(excess.map(({ key }) => key));
    for (const key of [...entries.keys()]) if (left.has(key) || !this.#isDue(key)) entries.delete(key);
    const failures = entries.size === 0 ? [] : this.#target.put(entries);
    for (const { key } of failures) entries.delete(key);
    this.#delta.applied(entries, []);
    this.#settle(entries.keys(), failures);
    return { done: entries.size, failures: [...this.#outstanding((key) => this.#delta.isPut(key) && !left.has(key)), ...excess] };
  }

  /** New entries beyond the target's room, all with one error. */
  #excess(puts: ReadonlyMap<K, V>): Failure<K>[] {
    const { size } = this.#delta;
    const room = Math.max(0, this.#target.capacity - size);
    if (puts.size <= room) return [];
    const added = [...puts.keys()].filter((key) => !this.#delta.isActual(key));
    if (added.length <= room) return [];
    const error = new CapacityExceeded(this.#target.name, size + added.length, this.#target.capacity);
    return added.slice(room).map((key) => ({ key, error }));
  }

  /** Removes what is not in `desired`, at once or never: call it only when the desired side is complete. */
  prune(desired: Rows<K, V>): StepResult<K> {
    this.#delta.desire(desired);
    this.#observe();
    return this.#remove(this.#delta.removes());
  }

  /** Removes these, whatever is desired: what must be gone before something else is written. */
  withdraw(keys: Iterable<K>): StepResult<K> {
    this.#observe();
    return this.#remove([...keys].filter((key) => this.#delta.isActual(key)));
  }

  #remove(keys: readonly K[]): StepResult<K> {
    const due = keys.filter((key) => this.#isDue(key));
    const failures = due.length === 0 ? [] : this.#target.remove(due);
    const failed = new Set(failures.map(({ key }) => key));
    const done = due.filter((key) => !failed.has(key));
    this.#delta.applied(new Map(), done);
    this.#settle(done, failures);
    return { done: done.length, failures: this.#outstanding((key) => this.#delta.isActual(key) && !this.#delta.isPut(key)) };
  }

  /** The next call reads the kernel again, and tries everything at once. */
  invalidate(): void {
    this.#observed = false;
    this.#refused.clear();
  }

  health(): Health {
    const [first] = this.#refused;
    if (first === undefined) return { level: "ok", message: `${this.#target.name}: in step` };
    const message = `${this.#target.name}: ${this.#refused.size} entries refused, first ${String(first[0])}`;
    return { level: "degraded", message, error: first[1].error };
  }

  #observe(): void {
    if (this.#observed) return;
    this.#delta.observe(this.#target.list());
    this.#observed = true;
  }

  #isDue(key: K): boolean {
    const refused = this.#refused.get(key);
    return refused === undefined || refused.notBeforeMs <= this.#nowMs();
  }

  #settle(done: Iterable<K>, failures: readonly Failure<K>[]): void {
    for (const key of done) this.#refused.delete(key);
    for (const { key, error } of failures) {
      const backoff = this.#refused.get(key)?.backoff ?? new Backoff({ firstMs: 100, maxMs: 60_000 });
      this.#refused.set(key, { error, backoff, notBeforeMs: this.#nowMs() + backoff.next() });
    }
  }

  #outstanding(concerns: (key: K) => boolean): Failure<K>[] {
    const found: Failure<K>[] = [];
    for (const [key, { error }] of this.#refused) {
      if (concerns(key)) found.push({ key, error });
      else if (!this.#delta.isPut(key) && !this.#delta.isActual(key)) this.#refused.delete(key);
    }
    return found;
  }
}
