/** A hash map in memory, for unit tests only: the behaviour of the kernel's, batches and refusals included. */
import { KernelError } from "./errors.ts";
import type { BatchMap, BatchResult, Packed } from "./port.ts";

const E2BIG = 7;

export interface FakeMapOptions {
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries?: number;
  /** Called after each single change, as a packet could see it. */
  readonly onChange?: () => void;
  /** Refuses an update when it returns an errno. */
  readonly refuse?: (key: Uint8Array) => number | undefined;
}

export class FakeMap implements BatchMap {
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly #options: FakeMapOptions;
  readonly #entries = new Map<string, readonly [Uint8Array, Uint8Array]>();

  constructor(options: FakeMapOptions) {
    this.name = options.name;
    this.keySize = options.keySize;
    this.valueSize = options.valueSize;
    this.maxEntries = options.maxEntries ?? 1024;
    this.#options = options;
  }

  #text(key: Uint8Array): string {
    if (key.length !== this.keySize) throw new RangeError(`${this.name}: key of ${key.length} bytes, not ${this.keySize}`);
    return Buffer.from(key).toString("latin1");
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(this.#text(key))?.[1].slice();
  }

  update(key: Uint8Array, value: Uint8Array): void {
    if (value.length !== this.valueSize) throw new RangeError(`${this.name}: value of ${value.length} bytes, not ${this.valueSize}`);
    const text = this.#text(key);
    const errno = this.#options.refuse?.(key) ?? (this.#entries.size >= this.maxEntries && !this.#entries.has(text) ? E2BIG : undefined);
    if (errno !== undefined) throw new KernelError(`update of ${this.name}`, errno);
    this.#entries.set(text, [key.slice(), value.slice()]);
    this.#options.onChange?.();
  }

  delete(key: Uint8Array): boolean {
    const was = this.#entries.delete(this.#text(key));
    if (was) this.#options.onChange?.();
    return was;
  }

  *entries(): Iterable<readonly [Uint8Array, Uint8Array]> {
    for (const [key, value] of [...this.#entries.values()]) yield [key.slice(), value.slice()];
  }

  updateBatch({ keys, values, count }: Packed): BatchResult {
    for (let i = 0; i < count; i++) {
      try {
        this.update(keys.slice(i * this.keySize, (i + 1) * this.keySize), values.slice(i * this.valueSize, (i + 1) * this.valueSize));
      } catch (error) {
        return { done: i, error: error as Error };
      }
    }
    return { done: count, error: undefined };
  }

  deleteBatch(keys: Uint8Array, count: number): BatchResult {
    for (let i = 0; i < count; i++) this.delete(keys.slice(i * this.keySize, (i + 1) * this.keySize));
    return { done: count, error: undefined };
  }

  *batches(size = 4096): Iterable<Packed> {
    const all = [...this.entries()];
    for (let at = 0; at < all.length; at += size) {
      const part = all.slice(at, at + size);
      yield { keys: Buffer.concat(part.map(([key]) => key)), values: Buffer.concat(part.map(([, value]) => value)), count: part.length };
    }
  }
}
