/** Something changed: wakes everyone who waits for it. Carries no data, so that nobody acts on a stale message. */
export class Change {
  #next = Promise.withResolvers<void>();

  notify(): void {
    const waiting = this.#next;
    this.#next = Promise.withResolvers<void>();
    waiting.resolve();
  }

  /** Resolves with the next change, after `ms`, or when the signal fires: the caller looks again by itself. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([this.#next.promise, promise]);
    clearTimeout(timer);
    resolve();
  }
}
