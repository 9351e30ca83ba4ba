/**
 * What the rest of the product may ask of the kernel's BPF side: bytes and typed errors, no policy.
 *
 * `LibbpfPort` (bpf.ts) is the real one; `fake.ts` holds maps in memory for unit tests. Every call that the
 * kernel refuses throws `KernelError` with a stable code, unless its contract below says otherwise.
 */

/** Converts one struct of bpf/lib/types.h; generated from BTF (gen/types.ts). Padding is written as zero. */
export interface Codec<T> {
  readonly size: number;
  encode(value: T, into: DataView, at?: number): void;
  decode(from: DataView, at?: number): T;
}

/** One kernel map. Keys and values are copies: the caller may keep and change them. */
export interface BpfMap {
  readonly name: string;
  readonly keySize: number;
  /** Bytes of one value; of a per-CPU map the bytes for all CPUs (each rounded up to 8). */
  readonly valueSize: number;
  readonly maxEntries: number;
  lookup(key: Uint8Array): Uint8Array | undefined;
  /** Creates or replaces. Throws code E2BIG (hash) or ENOSPC when the map is full. */
  update(key: Uint8Array, value: Uint8Array): void;
  /** false: the key was absent, which is no error. */
  delete(key: Uint8Array): boolean;
  /** A walk that tolerates concurrent writers: an entry written or deleted meanwhile may be seen or not. */
  entries(): Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
}

/** Keys (and values) packed one after the other; `count` entries of them are valid. */
export interface Packed {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** Many entries with one system call. `done` < count tells how far the kernel got before `error`. */
export interface BatchMap extends BpfMap {
  updateBatch(entries: Packed): BatchResult;
  /** Absent keys stop a kernel batch; implementations go on behind them, so that `done` counts them too. */
  deleteBatch(keys: Uint8Array, count: number): BatchResult;
  /** All entries in batches; the buffers are reused, so they are valid until the next step only. */
  batches(size?: number): Iterable<Packed>;
}

export interface BatchResult {
  readonly done: number;
  readonly error: Error | undefined;
}

export interface BpfObjectSpec {
  readonly file: string;
  /** Values of `volatile const` variables by name; bytes for structs. An unknown name is refused. */
  readonly rodata?: Readonly<Record<string, number | bigint | Uint8Array>>;
  /** Sizes that replace those of the object. A pinned map keeps the size that it has. */
  readonly maxEntries?: Readonly<Record<string, number>>;
}

export interface BpfProgram {
  readonly name: string;
  readonly fd: number;
}

export interface BpfObject {
  readonly programs: ReadonlyMap<string, BpfProgram>;
  /** Maps of this object, without the compiler's own (.rodata, .bss). */
  readonly maps: ReadonlyMap<string, BatchMap>;
  /** Frees programs that nothing else holds (a program array, a tc filter, a pin). Maps stay with the port. */
  close(): void;
}

/** The fields of struct __sk_buff that a test run may set; the kernel returns them after the program. */
export interface SkbContext {
  readonly mark?: number;
  readonly priority?: number;
  readonly ifindex?: number;
  readonly ingressIfindex?: number;
  readonly cb?: readonly [number, number, number, number, number];
  readonly gsoSize?: number;
  readonly gsoSegs?: number;
}

export interface TestRunOptions {
  readonly context?: SkbContext;
  readonly repeat?: number;
}

export interface TestRunResult {
  readonly verdict: number;
  readonly packet: Uint8Array;
  readonly mark: number;
  readonly cb: readonly number[];
  /** Mean time of one run. */
  readonly durationNs: number;
}

export interface BpfPort {
  /**
   * Loads an object. Maps of one name are one map across all objects of this port, and across restarts when
   * the port has a pin folder: `<pinDir>/<name>_<layout hash>`. Nothing of the object stays when it fails.
   */
  load(spec: BpfObjectSpec): BpfObject;
  /** A map that some object of this port declared. */
  map(name: string): BatchMap | undefined;
  testRun(program: BpfProgram, packet: Uint8Array, options?: TestRunOptions): TestRunResult;
}

/** tc attachment of the permanent stubs. */
export type TcDirection = "ingress" | "egress";
