/** Who goes on while whom: in memory, in this process. */

/** One task at a time per key, in the order of arrival. */
export class KeyedTurns {
  readonly #last = new Map<string, Promise<unknown>>();

  isBusy(key: string): boolean {
    return this.#last.has(key);
  }

  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(task, task);
    const settled = mine.catch(() => undefined);
    this.#last.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}

/**
 * Tasks that go on beside each other, and tasks that go on alone. In the order of arrival: neither kind waits for ever
 * for the other.
 */
export class SharedTurns {
  /** The last task that goes on alone. */
  #alone: Promise<unknown> = Promise.resolve();
  /** Those that arrived after it. */
  #beside: Promise<unknown>[] = [];

  async beside<T>(task: () => Promise<T>): Promise<T> {
    const mine = this.#alone.then(task);
    const settled = mine.catch(() => undefined);
    this.#beside.push(settled);
    try {
      return await mine;
    } finally {
      this.#beside = this.#beside.filter((other) => other !== settled);
    }
  }

  async alone<T>(task: () => Promise<T>): Promise<T> {
    const mine = Promise.all([this.#alone, ...this.#beside]).then(task);
    this.#alone = mine.catch(() => undefined);
    this.#beside = [];
    return await mine;
  }
}
