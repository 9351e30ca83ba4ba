/** Exponential delays with jitter, and sleeping that an AbortSignal ends. */

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Growth per failure; 2 when absent. */
  readonly factor?: number;
  /** Share of the delay that is random, 0..1; 0.5 when absent, so that many clients do not retry together. */
  readonly jitter?: number;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The delay before the next try, in milliseconds. Each call counts one failure. */
  next(): number {
    const { firstMs, maxMs, factor = 2, jitter = 0.5, random = Math.random } = this.#options;
    const full = Math.min(maxMs, firstMs * factor ** Math.min(this.#failures, 64));
    this.#failures++;
    return full * (1 - jitter) + full * jitter * random();
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** Resolves after `ms`, or at once when the signal fires: the caller looks at `signal.aborted`. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", done);
    resolve();
  };
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", done, { once: true });
  return promise;
}
