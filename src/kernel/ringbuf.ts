/**
 * Reader of a BPF ring buffer by shared memory (kernel: Documentation/bpf/ringbuf.rst): one page that we
 * write (how far we have read), then one that the kernel writes (how far it has written), then the data,
 * mapped twice in a row so that a record never wraps.
 *
 * Records are read in batches at an interval, without a callback or a system call per record.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { KernelError } from "./errors.ts";
import { lastErrno, viewMemory } from "./ffi.ts";
import type { LibbpfPort } from "./bpf.ts";

const PAGE = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffffffffffffffffn;
const HEADER = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;

export interface RingOptions {
  /** Pause between two looks at an empty ring. */
  readonly intervalMs?: number;
  /** Most records in one batch, so that a full ring cannot hold the event loop. */
  readonly batchSize?: number;
}

export class RingBufferReader<T> {
  readonly #port: LibbpfPort;
  readonly #decode: (record: DataView) => T;
  readonly #consumerAt: bigint;
  readonly #dataAt: bigint;
  readonly #dataLength: number;
  readonly #consumer: BigUint64Array;
  readonly #producer: BigUint64Array;
  readonly #headers: Uint32Array;
  readonly #data: ArrayBuffer;
  readonly #mask: bigint;
  #closed = false;

  /** @param decode must copy what it keeps: the memory is the kernel's again after the batch. */
  constructor(port: LibbpfPort, mapName: string, decode: (record: DataView) => T) {
    const map = port.map(mapName);
    if (map === undefined) throw new Error(`no ring buffer ${mapName}`);
    this.#port = port;
    this.#decode = decode;
    const size = map.maxEntries;
    this.#mask = BigInt(size - 1);
    this.#dataLength = PAGE + 2 * size;
    this.#consumerAt = this.#mmap(PAGE, PROT_READ | PROT_WRITE, map.fd, 0);
    this.#dataAt = this.#mmap(this.#dataLength, PROT_READ, map.fd, PAGE);
    this.#consumer = new BigUint64Array(viewMemory(this.#consumerAt, PAGE), 0, 1);
    this.#data = viewMemory(this.#dataAt, this.#dataLength);
    this.#producer = new BigUint64Array(this.#data, 0, 1);
    this.#headers = new Uint32Array(this.#data, PAGE);
  }

  #mmap(length: number, protection: number, fd: number, offset: number): bigint {
    const address = this.#port.libc.mmap(null, length, protection, MAP_SHARED, fd, offset);
    if (BigInt.asUintN(64, address) === MAP_FAILED) throw new KernelError("map ring buffer", lastErrno());
    return address;
  }

  /** What is there now, at most `limit` records; empty when nothing is. */
  take(limit: number): T[] {
    if (this.#closed) return [];
    const records: T[] = [];
    let at = Atomics.load(this.#consumer, 0);
    const end = Atomics.load(this.#producer, 0);
    while (at < end && records.length < limit) {
      const offset = Number(at & this.#mask);
      // Atomic: the writer clears BUSY after it has written the record.
      const header = Atomics.load(this.#headers, offset / 4);
      if ((header & BUSY) !== 0) break;
      const length = header & ~(BUSY | DISCARD);
      if ((header & DISCARD) === 0) records.push(this.#decode(new DataView(this.#data, PAGE + offset + HEADER, length)));
      at += BigInt((length + HEADER + 7) & ~7);
    }
    Atomics.store(this.#consumer, 0, at);
    return records;
  }

  /** Batches, none of them empty, until `signal` aborts. */
  async *read(signal: AbortSignal, { intervalMs = 20, batchSize = 1024 }: RingOptions = {}): AsyncIterable<readonly T[]> {
    while (!signal.aborted) {
      const batch = this.take(batchSize);
      if (batch.length > 0) yield batch;
      // A full batch means more is waiting: give way to other work, no longer.
      if (!(await sleep(batch.length === batchSize ? 0 : intervalMs, true, { signal }).catch(() => false))) return;
    }
  }

  /** Unmaps the ring. No record is lost: the kernel keeps what was not read. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#port.libc.munmap(this.#consumerAt, PAGE);
    this.#port.libc.munmap(this.#dataAt, this.#dataLength);
  }
}
