/**
 * A new version whose maps have another layout or size takes over what the maps in force hold, without a packet
 * judged by less:
 *
 *   copy() ─▶ the new maps hold what the old ones do, converted by field names
 *   lend() ─▶ what is not in the new flows, but in the old ones, is left to the old programs (lent.ts)
 *   flip      (datapath.ts) the new programs judge
 *   finish() ─▶ flows that the old programs wrote meanwhile follow, nothing is lent any more; the old pins go
 *   forgetArrays() ─▶ when every device has the new stubs: the pins of the arrays that the old ones call into go too
 *
 * Of a start that dies before the flip, the next one removes the pins (pins.ts); of one that dies after it, the next one
 * finds the old pins, and takes over what is still to follow. Until then a flow that the old programs opened after copy()
 * is judged as one that nobody knows: what was lent ends with the process.
 */
import { codeOf } from "../lib/errors.ts";
import { conversion, memberOffset } from "./convert.ts";
import type { ByteRange, Layout } from "./convert.ts";
import { hasSameKeys, Lent } from "./lent.ts";
import { MapType } from "./map.ts";
import type { LibbpfMap } from "./map.ts";
import type { PinFolder, PinnedMap } from "./pins.ts";
import type { Packed } from "./port.ts";

/** A map of this process. */
export interface TakingMap {
  readonly map: LibbpfMap;
  readonly path: string;
  readonly key: Layout;
  readonly value: Layout;
}

interface Pair {
  readonly now: TakingMap;
  readonly old: PinnedMap;
  /** Programs judge by `now` already: an earlier start of this version died after its flip. */
  readonly isInForce: boolean;
}

/** Programs that are called from slots are put there again; what is in hand for a packet is worth nothing later. */
const NOT_COPIED: readonly number[] = [MapType.PROG_ARRAY, MapType.PERCPU_ARRAY];

/** Codes of a map without room. */
const FULL: readonly string[] = ["E2BIG", "ENOSPC", "ENOMEM"];

/**
 * The programs write it, and later packets depend on it. What is copied says how many packets it had counted then: as
 * long as it has as many, no new program has seen one, and the map that it was copied from is the one to ask.
 */
export const LIVE = { map: "flows", counter: "packets", mark: "moved" };

export class TakeOver {
  readonly #pins: PinFolder;
  readonly #all: ReadonlyMap<string, LibbpfMap>;
  #lent: Lent | undefined;
  /** Of one map the oldest first. */
  readonly #pairs: readonly Pair[];

  /** @param maps those that are pinned; all: also others. */
  constructor(pins: PinFolder, maps: Iterable<TakingMap>, all: ReadonlyMap<string, LibbpfMap>) {
    this.#pins = pins;
    this.#all = all;
    const inForce = pins.mapsInForce();
    this.#pairs = [...maps].flatMap((now) => {
      const isInForce = now.map.isRestored && inForce.has(pins.idOf(now.map));
      return pins.othersOf(now.map.name, now.path).map((old) => ({ now, old, isInForce }));
    });
  }

  copy(): void {
    for (const { now, old, isInForce } of this.#pairs) {
      if (NOT_COPIED.includes(now.map.type) || now.map.type !== old.map.type) continue;
      if (!isInForce) transfer(old, now);
      else if (now.map.name === LIVE.map) follow(old, now);
    }
  }

  /** Program arrays of another hash: stubs on devices call into them until the devices have the new stubs. */
  get formerArrays(): readonly LibbpfMap[] {
    return this.#pairs.filter(({ old }) => old.map.type === MapType.PROG_ARRAY).map(({ old }) => old.map);
  }

  /** @param hooks the array that the stubs of this version call into; it has the programs in force when it is not new. */
  lend(hooks: LibbpfMap): void {
    const flows = this.#pairs.findLast(({ now }) => now.map.name === LIVE.map);
    if (flows === undefined || flows.now.map.type !== flows.old.map.type || !hasSameKeys(flows.old.key, flows.now.key)) return;
    this.#lent = Lent.lend(this.#all, this.#pins, [hooks, ...this.formerArrays], flows.old.map);
  }

  /** After the flip. */
  finish(): void {
    this.#lent?.settle();
    // The newest first: what an older one has of the same flow is older.
    for (const { now, old } of this.#pairs.toReversed()) if (now.map.name === LIVE.map && now.map.type === old.map.type) follow(old, now);
    this.#lent?.takeBack();
    for (const { old } of this.#pairs) if (old.map.type !== MapType.PROG_ARRAY) this.#pins.remove(old.path);
  }

  /**
   * Once no device has a stub that calls into them. The kernel empties a program array that no process and no pin holds, and
   * empty ones drop: killed before this, the process leaves pods that go on, and the next start finds the pins.
   */
  forgetArrays(): void {
    for (const { old } of this.#pairs) if (old.map.type === MapType.PROG_ARRAY) this.#pins.remove(old.path);
  }

  close(): void {
    for (const { old } of this.#pairs) if (old.map.type !== MapType.PROG_ARRAY) this.#pins.close(old);
  }
}

/** Before programs judge by `now`. Throws when an entry does not fit. */
function transfer(old: PinnedMap, now: TakingMap): void {
  if (now.map.name !== LIVE.map) return write(old, now, () => true);
  const [there, here] = [countsOf(old.value), countsOf(now.value)];
  write(old, now, (key, value, former) => {
    here.mark(value);
    return !there.isMarked(former) || now.map.lookup(key) === undefined;
  });
}

/** Flows that the old programs wrote since they were copied; none that a new program has seen a packet of since. */
function follow(old: PinnedMap, now: TakingMap): void {
  const [there, here] = [countsOf(old.value), countsOf(now.value)];
  write(old, now, (key, value, former) => {
    const present = now.map.lookup(key);
    here.clear(value);
    return present === undefined || (here.isMarked(present) && !there.isMarked(former));
  });
}

/**
 * Entries of `now` that `old` has not stay. Of flows, which come and go meanwhile, those that do not fit are left out:
 * they are judged again as any unknown flow.
 * @param take false: not this one; it may change the value. `former` is the value as it was.
 */
function write(old: PinnedMap, now: TakingMap, take: (key: Uint8Array, value: Uint8Array, former: Uint8Array) => boolean): void {
  const [keys, values] = [conversion(old.key, now.key), conversion(old.value, now.value)];
  for (const batch of old.map.batches()) {
    const packed = convert(batch, old, now, keys, values);
    let count = 0;
    for (let i = 0; i < packed.count; i++) {
      const [key, value] = [sliceOf(packed.keys, now.map.keySize, i), sliceOf(packed.values, now.map.valueSize, i)];
      if (!take(key, value, sliceOf(batch.values, old.map.valueSize, i))) continue;
      packed.keys.set(key, count * now.map.keySize);
      packed.values.set(value, count * now.map.valueSize);
      count++;
    }
    const { error } = now.map.updateBatch({ ...packed, count });
    if (error !== undefined && !(now.map.name === LIVE.map && FULL.includes(codeOf(error)))) throw error;
  }
}

const sliceOf = (bytes: Uint8Array, size: number, index: number): Uint8Array => bytes.slice(index * size, (index + 1) * size);

interface Counts {
  mark(value: Uint8Array): void;
  clear(value: Uint8Array): void;
  /** No packet since it was copied from an older map. Of a version that marked nothing: never. */
  isMarked(value: Uint8Array): boolean;
}

function countsOf(layout: Layout): Counts {
  const [counter, mark] = [memberOffset(layout, LIVE.counter), memberOffset(layout, LIVE.mark)];
  const view = (value: Uint8Array): DataView => new DataView(value.buffer, value.byteOffset);
  const put = (value: Uint8Array, count: number): void => {
    if (mark !== undefined) view(value).setUint32(mark, count, true);
  };
  return {
    mark: (value) => put(value, counter === undefined ? 0 : view(value).getUint32(counter, true)),
    clear: (value) => put(value, 0),
    isMarked: (value) => counter !== undefined && mark !== undefined && view(value).getUint32(mark, true) !== 0 && view(value).getUint32(mark, true) === view(value).getUint32(counter, true),
  };
}

function convert(batch: Packed, old: PinnedMap, now: TakingMap, keys: readonly ByteRange[], values: readonly ByteRange[]): Packed {
  const result = { keys: new Uint8Array(batch.count * now.map.keySize), values: new Uint8Array(batch.count * now.map.valueSize), count: batch.count };
  // A per-CPU value is one value for each CPU, each rounded up to 8 bytes.
  const [strideOld, strideNow] = [old.map.cpuStride, now.map.cpuStride];
  const copies = old.map.valueSize / strideOld;
  for (let i = 0; i < batch.count; i++) {
    move(batch.keys, i * old.map.keySize, result.keys, i * now.map.keySize, keys);
    for (let cpu = 0; cpu < copies; cpu++) move(batch.values, i * old.map.valueSize + cpu * strideOld, result.values, i * now.map.valueSize + cpu * strideNow, values);
  }
  return result;
}

function move(from: Uint8Array, fromAt: number, into: Uint8Array, intoAt: number, ranges: readonly ByteRange[]): void {
  for (const range of ranges) into.set(from.subarray(fromAt + range.from, fromAt + range.from + range.length), intoAt + range.to);
}
