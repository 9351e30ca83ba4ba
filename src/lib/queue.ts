/**
 * A level-triggered work queue: it holds keys, never events. A key that is added many times while it waits is
 * handled once; a key that is added while it is being handled is handled once more; one key is never handled
 * twice at a time. A failed key comes back after its own backoff, so that one bad object does not hold the others.
 */
import { Backoff } from "./backoff.ts";
import type { BackoffOptions } from "./backoff.ts";
import { TerminalError, asError } from "./errors.ts";
import type { Logger } from "./log.ts";

export interface ReconcileResult {
  /** Handle the key again after this time, even if nothing changes. */
  readonly requeueAfterMs?: number;
}

/**
 * Brings the world of one key to its desired state. It must be idempotent and read the current state by itself:
 * the key says neither what happened nor whether the object still exists. A thrown error retries with backoff,
 * except TerminalError, which waits for the next change.
 */
export interface Reconciler {
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult>;
}

export interface QueueObserver {
  handled(queue: string, outcome: "ok" | "error" | "terminal", seconds: number): void;
  depth(queue: string, keys: number): void;
}

export interface WorkQueueOptions {
  readonly name: string;
  readonly logger: Logger;
  readonly concurrency?: number;
  readonly backoff?: BackoffOptions;
  /** At least this long between two starts of the same key; bursts in between become one. */
  readonly minIntervalMs?: number;
  readonly observer?: QueueObserver;
}

const DEFAULT_BACKOFF: BackoffOptions = { firstMs: 50, maxMs: 60_000 };

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly dueMs: number }>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #startedMs = new Map<string, number>();
  #idle: (() => void)[] = [];
  #reconciler: Reconciler | undefined;
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Keys that wait or are being handled, without those that wait for a timer. */
  get depth(): number {
    return this.#ready.size + this.#running.size;
  }

  /** The key changed: handle it as soon as its turn and its minimum interval allow. */
  add(key: string): void {
    if (this.#signal?.aborted === true) return;
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    const wait = this.#intervalLeft(key);
    if (wait > 0) {
      this.addAfter(key, wait);
      return;
    }
    this.#cancelTimer(key);
    this.#ready.add(key);
    this.#pump();
  }

  /** As `add`, not before `delayMs` from now. The earliest wish for a key wins. */
  addAfter(key: string, delayMs: number): void {
    if (this.#signal?.aborted === true || this.#ready.has(key)) return;
    const dueMs = performance.now() + delayMs;
    const waiting = this.#timers.get(key);
    if (waiting !== undefined && waiting.dueMs <= dueMs) return;
    this.#cancelTimer(key);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, delayMs);
    this.#timers.set(key, { timer, dueMs });
  }

  /** Starts handling; returns at once. When the signal fires no new key starts and timers are dropped. */
  run(reconciler: Reconciler, signal: AbortSignal): void {
    if (this.#reconciler !== undefined) throw new Error(`queue ${this.#options.name} runs already`);
    this.#reconciler = reconciler;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#stop(), { once: true });
    this.#pump();
  }

  /** Resolves when nothing waits or runs; keys that wait for a timer do not count. */
  async idle(): Promise<void> {
    if (this.depth === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    await promise;
  }

  #pump(): void {
    const { concurrency = 1, name, observer } = this.#options;
    const reconciler = this.#reconciler;
    const signal = this.#signal;
    observer?.depth(name, this.depth);
    if (reconciler === undefined || signal === undefined || signal.aborted) return;
    for (const key of this.#ready) {
      if (this.#running.size >= concurrency) break;
      this.#ready.delete(key);
      this.#running.add(key);
      void this.#handle(key, reconciler, signal);
    }
  }

  async #handle(key: string, reconciler: Reconciler, signal: AbortSignal): Promise<void> {
    const { name, observer, logger, minIntervalMs = 0 } = this.#options;
    const startMs = performance.now();
    if (minIntervalMs > 0) this.#startedMs.set(key, startMs);
    let outcome: "ok" | "error" | "terminal" = "ok";
    let retryMs: number | undefined;
    try {
      const result = await reconciler.reconcile(key, signal);
      this.#backoffs.delete(key);
      retryMs = result.requeueAfterMs;
    } catch (thrown) {
      if (!signal.aborted) {
        outcome = thrown instanceof TerminalError ? "terminal" : "error";
        retryMs = outcome === "error" ? this.#backoff(key).next() : undefined;
        logger.warn("reconcile failed", { queue: name, key, outcome, retryMs, error: asError(thrown) });
      }
    }
    observer?.handled(name, outcome, (performance.now() - startMs) / 1000);
    this.#running.delete(key);
    if (this.#again.delete(key)) this.add(key);
    else if (retryMs !== undefined) this.addAfter(key, retryMs);
    this.#pump();
    this.#wakeIdle();
  }

  #backoff(key: string): Backoff {
    let backoff = this.#backoffs.get(key);
    if (backoff === undefined) {
      backoff = new Backoff(this.#options.backoff ?? DEFAULT_BACKOFF);
      this.#backoffs.set(key, backoff);
    }
    return backoff;
  }

  #intervalLeft(key: string): number {
    const { minIntervalMs = 0 } = this.#options;
    const started = this.#startedMs.get(key);
    if (started === undefined) return 0;
    const left = started + minIntervalMs - performance.now();
    if (left <= 0) this.#startedMs.delete(key);
    return left;
  }

  #cancelTimer(key: string): void {
    const waiting = this.#timers.get(key);
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    this.#timers.delete(key);
  }

  #stop(): void {
    for (const key of [...this.#timers.keys()]) this.#cancelTimer(key);
    this.#ready.clear();
    this.#again.clear();
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    if (this.depth > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const wake of waiting) wake();
  }
}
