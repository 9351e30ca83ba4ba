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

  /** What is believed to be in the kernel; read from it when nothing is known. */
  actual(): ReadonlyMap<K, V> {
    this.#observe();
    return this.#delta.actual();
  }

  /**
   * Writes what is absent or different. What there is no room for is left out, the last first, and is written by the
   * first call that finds room. Throws only when the target cannot be listed.
   */
  put(desired: ReadonlyMap<K, V>): StepResult<K> {
    this.#observe();
    this.#delta.desire(desired);
    const excess = this.#excess();
    const left = new Set(excess.map(({ key }) => key));
    const entries = new Map([...this.#delta.puts()].filter(([key]) => !left.has(key) && this.#isDue(key)));
    const failures = entries.size === 0 ? [] : this.#target.put(entries);
    for (const { key } of failures) entries.delete(key);
    this.#delta.applied(entries, []);
    this.#settle(entries.keys(), failures);
    return { done: entries.size, failures: [...this.#outstanding((key) => this.#delta.puts().has(key) && !left.has(key)), ...excess] };
  }

  /** New entries beyond the target's room, all with one error. */
  #excess(): Failure<K>[] {
    const actual = this.#delta.actual();
    const added = [...this.#delta.puts().keys()].filter((key) => !actual.has(key));
    const room = Math.max(0, this.#target.capacity - actual.size);
    if (added.length <= room) return [];
    const error = new CapacityExceeded(this.#target.name, actual.size + added.length, this.#target.capacity);
    return added.slice(room).map((key) => ({ key, error }));
  }

  /** Removes what is not in `desired`, at once or never: call it only when the desired side is complete. */
  prune(desired: ReadonlyMap<K, V>): StepResult<K> {
    this.#observe();
    this.#delta.desire(desired);
    return this.#remove([...this.#delta.removes()]);
  }

  /** Removes these, whatever is desired: what must be gone before something else is written. */
  withdraw(keys: Iterable<K>): StepResult<K> {
    this.#observe();
    return this.#remove([...keys].filter((key) => this.#delta.actual().has(key)));
  }

  #remove(keys: readonly K[]): StepResult<K> {
    const due = keys.filter((key) => this.#isDue(key));
    const failures = due.length === 0 ? [] : this.#target.remove(due);
    const failed = new Set(failures.map(({ key }) => key));
    const done = due.filter((key) => !failed.has(key));
    this.#delta.applied(new Map(), done);
    this.#settle(done, failures);
    return { done: done.length, failures: this.#outstanding((key) => this.#delta.actual().has(key) && !this.#delta.puts().has(key)) };
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
      else if (!this.#delta.puts().has(key) && !this.#delta.actual().has(key)) this.#refused.delete(key);
    }
    return found;
  }
}
