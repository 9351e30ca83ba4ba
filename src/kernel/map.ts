/** Kernel maps through libbpf: single entries, batches, walks. Buffers of batches are reused. */
import { KernelError } from "./errors.ts";
import type { Libbpf } from "./ffi.ts";
import type { BatchMap, BatchResult, Packed } from "./port.ts";

/** enum bpf_map_type of linux/bpf.h: those that we tell apart. */
export const MapType = { HASH: 1, ARRAY: 2, PROG_ARRAY: 3, PERCPU_HASH: 5, PERCPU_ARRAY: 6, LRU_HASH: 9, LRU_PERCPU_HASH: 10, LPM_TRIE: 11, ARRAY_OF_MAPS: 12, RINGBUF: 27 } as const;
const PER_CPU: readonly number[] = [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH];

const ENOENT = 2;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTSUPP = 524;
const DEFAULT_BATCH = 4096;

export interface MapShape {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  /** As declared, for one CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** What the object, or the caller in its place, asks for; more than that when an earlier one's entries need it. */
  readonly wantedEntries: number;
  /** It was found pinned, with what an earlier process left in it. */
  readonly isRestored: boolean;
}

/** A key or value of 32 bits. */
export function u32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return new Uint8Array(view.buffer);
}

export class LibbpfMap implements BatchMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** From the value of one CPU to that of the next; the whole value where there is one for all. */
  readonly cpuStride: number;
  readonly maxEntries: number;
  readonly wantedEntries: number;
  readonly isRestored: boolean;
  readonly fd: number;
  readonly #libbpf: Libbpf;

  constructor(libbpf: Libbpf, fd: number, shape: MapShape) {
    this.#libbpf = libbpf;
    this.fd = fd;
    this.name = shape.name;
    this.type = shape.type;
    this.keySize = shape.keySize;
    this.maxEntries = shape.maxEntries;
    this.wantedEntries = shape.wantedEntries;
    this.isRestored = shape.isRestored;
    const isPerCpu = PER_CPU.includes(shape.type);
    this.cpuStride = isPerCpu ? Math.ceil(shape.valueSize / 8) * 8 : shape.valueSize;
    this.valueSize = this.cpuStride * (isPerCpu ? libbpf.possibleCpus() : 1);
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    this.#checkKey(key);
    const value = new Uint8Array(this.valueSize);
    const result = this.#libbpf.mapLookup(this.fd, key, value);
    if (result === -ENOENT) return undefined;
    if (result < 0) throw new KernelError(`lookup in ${this.name}`, -result);
    return value;
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.#checkKey(key);
    if (value.length !== this.valueSize) throw new RangeError(`${this.name}: value of ${value.length} bytes, not ${this.valueSize}`);
    const result = this.#libbpf.mapUpdate(this.fd, key, value, 0n);
    if (result < 0) throw new KernelError(`update of ${this.name}`, -result);
  }

  delete(key: Uint8Array): boolean {
    this.#checkKey(key);
    const result = this.#libbpf.mapDelete(this.fd, key);
    if (result === -ENOENT) return false;
    if (result < 0) throw new KernelError(`delete from ${this.name}`, -result);
    return true;
  }

  /** Walks the map without keeping anything of it. */
  count(): number {
    let entries = 0;
    for (const { count } of this.batches()) entries += count;
    return entries;
  }

  *entries(): Iterable<readonly [Uint8Array, Uint8Array]> {
    for (const { keys, values, count } of this.batches()) {
      for (let i = 0; i < count; i++) {
        yield [keys.slice(i * this.keySize, (i + 1) * this.keySize), values.slice(i * this.valueSize, (i + 1) * this.valueSize)];
      }
    }
  }

  updateBatch({ keys, values, count }: Packed): BatchResult {
    if (count === 0) return { done: 0, error: undefined };
    const counter = new Uint32Array([count]);
    const result = this.#libbpf.mapUpdateBatch(this.fd, keys, values, new Uint8Array(counter.buffer), null);
    if (result === 0) return { done: count, error: undefined };
    if (result === -ENOTSUPP || result === -EINVAL) return this.#updateEach(keys, values, count);
    // Before the first entry the kernel may leave the counter as it was (EFAULT, ENOMEM).
    const done = counter[0] === count ? 0 : (counter[0] ?? 0);
    return { done, error: new KernelError(`batch update of ${this.name}`, -result) };
  }

  /** Where the map type knows no batches. */
  #updateEach(keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
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
    let done = 0;
    while (done < count) {
      const counter = new Uint32Array([count - done]);
      const rest = keys.subarray(done * this.keySize);
      const result = this.#libbpf.mapDeleteBatch(this.fd, rest, new Uint8Array(counter.buffer), null);
      if (result === 0) return { done: count, error: undefined };
      const before = done;
      if (result === -ENOENT && counter[0] !== count - done) done += (counter[0] ?? 0) + 1;
      if (done > before) continue;
      // No batches for this type, or the very first key is absent: one by one makes progress in both cases.
      const error = this.#deleteOne(rest.slice(0, this.keySize));
      if (error !== undefined) return { done, error };
      done++;
    }
    return { done, error: undefined };
  }

  #deleteOne(key: Uint8Array): Error | undefined {
    try {
      this.delete(key);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  *batches(size = DEFAULT_BATCH): Iterable<Packed> {
    let capacity = Math.max(1, Math.min(size, this.maxEntries));
    let keys = new Uint8Array(capacity * this.keySize);
    let values = new Uint8Array(capacity * this.valueSize);
    // The kernel's cursor is a bucket number or a key, whichever the map type uses.
    let cursor = new Uint8Array(Math.max(this.keySize, 8));
    let next = new Uint8Array(cursor.length);
    const counter = new Uint32Array(1);
    let started = false;
    for (;;) {
      counter[0] = capacity;
      const result = this.#libbpf.mapLookupBatch(this.fd, started ? cursor : null, next, keys, values, new Uint8Array(counter.buffer), null);
      if (result === -ENOTSUPP || (result === -EINVAL && !started)) return yield* this.#walk();
      if (result === -ENOSPC) {
        // One hash bucket holds more than the buffer. The cursor did not move.
        capacity *= 2;
        keys = new Uint8Array(capacity * this.keySize);
        values = new Uint8Array(capacity * this.valueSize);
        continue;
      }
      if (result < 0 && result !== -ENOENT) throw new KernelError(`batch lookup in ${this.name}`, -result);
      const count = counter[0] ?? 0;
      if (count > 0) yield { keys, values, count };
      if (result === -ENOENT) return;
      [cursor, next] = [next, cursor];
      started = true;
    }
  }

  /** Key by key, for map types without batches (program arrays). */
  *#walk(): Iterable<Packed> {
    let key: Uint8Array | null = null;
    for (let steps = 0; steps <= this.maxEntries; steps++) {
      const next = new Uint8Array(this.keySize);
      const result = this.#libbpf.mapNextKey(this.fd, key, next);
      if (result === -ENOENT) return;
      if (result < 0) throw new KernelError(`walk of ${this.name}`, -result);
      const value = this.lookup(next);
      if (value !== undefined) yield { keys: next, values: value, count: 1 };
      key = next;
    }
  }

  #checkKey(key: Uint8Array): void {
    if (key.length !== this.keySize) throw new RangeError(`${this.name}: key of ${key.length} bytes, not ${this.keySize}`);
  }
}

/** The values of all CPUs, one after the other, as `decode` reads one of them. */
export function perCpu<T>(value: Uint8Array, size: number, decode: (view: DataView, at: number) => T): T[] {
  const stride = Math.ceil(size / 8) * 8;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: value.byteLength / stride }, (_, cpu) => decode(view, cpu * stride));
}
