/**
 * A new version whose maps have another layout or size takes over what the maps in force hold, without a packet
 * judged by less:
 *
 *   copy() ─▶ the new maps hold what the old ones do, converted by field names
 *   lend() ─▶ what is not in the new flows, but in the old ones, is left to the old programs (lent.ts)
 *   flip      (datapath.ts) the new programs judge
 *   finish() ─▶ flows that the old programs wrote meanwhile follow, nothing is lent any more; the old pins go
 *
 * A start that dies in between leaves pins that no program uses; the next start removes them (pins.ts).
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

/** Programs that are called from slots are put there again; what is in hand for a packet is worth nothing later. */
const NOT_COPIED: readonly number[] = [MapType.PROG_ARRAY, MapType.PERCPU_ARRAY];

/** Codes of a map without room. */
const FULL: readonly string[] = ["E2BIG", "ENOSPC", "ENOMEM"];

/** The programs write it, and later packets depend on it. Of two values the one that has seen more is the newer. */
export const LIVE = { map: "flows", counter: "packets" };

export class TakeOver {
  readonly #pins: PinFolder;
  readonly #all: ReadonlyMap<string, LibbpfMap>;
  #lent: Lent | undefined;
  readonly #pairs: readonly { readonly now: TakingMap; readonly old: PinnedMap }[];

  /** @param maps those that are pinned; all: also others. */
  constructor(pins: PinFolder, maps: Iterable<TakingMap>, all: ReadonlyMap<string, LibbpfMap>) {
    this.#pins = pins;
    this.#all = all;
    this.#pairs = [...maps].flatMap((now) => pins.all(now.map.name).filter((path) => path !== now.path).map((path) => ({ now, old: pins.open(path) })));
  }

  copy(): void {
    for (const { now, old } of this.#pairs) if (!NOT_COPIED.includes(now.map.type) && now.map.type === old.map.type) transfer(old, now, !now.map.isRestored);
  }

  /** Program arrays of another hash: stubs on devices call into them until the devices have the new stubs. */
  get formerArrays(): readonly LibbpfMap[] {
    return this.#pairs.filter(({ old }) => old.map.type === MapType.PROG_ARRAY).map(({ old }) => old.map);
  }

  /** @param hooks the array that the stubs of this version call into; it has the programs in force when it is not new. */
  lend(hooks: LibbpfMap): void {
    const flows = this.#pairs.find(({ now }) => now.map.name === LIVE.map);
    if (flows === undefined || flows.now.map.type !== flows.old.map.type || !hasSameKeys(flows.old.key, flows.now.key)) return;
    this.#lent = Lent.lend(this.#all, this.#pins, [hooks, ...this.formerArrays], flows.old.map);
  }

  /** After the flip. */
  finish(): void {
    this.#lent?.settle();
    for (const { now, old } of this.#pairs) if (now.map.name === LIVE.map) transfer(old, now, false);
    this.#lent?.takeBack();
    for (const { old } of this.#pairs) this.#pins.remove(old.path);
  }

  /** The kernel empties a program array that no process and no pin holds: those of `formerArrays` stay open with this process. */
  close(): void {
    for (const { old } of this.#pairs) if (old.map.type !== MapType.PROG_ARRAY) this.#pins.close(old);
  }
}

/**
 * Entries of `now` that `old` has not stay. Throws when an entry does not fit; of flows, which come and go meanwhile,
 * those that do not fit are left out: they are judged again as any unknown flow.
 */
function transfer(old: PinnedMap, now: TakingMap, isNew: boolean): void {
  const [keys, values] = [conversion(old.key, now.key), conversion(old.value, now.value)];
  const isLive = now.map.name === LIVE.map;
  const isOlder = isLive && !isNew ? olderThan(now) : () => false;
  for (const batch of old.map.batches()) {
    const packed = convert(batch, old, now, keys, values);
    let count = 0;
    for (let i = 0; i < packed.count; i++) {
      const [key, value] = [sliceOf(packed.keys, now.map.keySize, i), sliceOf(packed.values, now.map.valueSize, i)];
      if (isOlder(key, value)) continue;
      packed.keys.set(key, count * now.map.keySize);
      packed.values.set(value, count * now.map.valueSize);
      count++;
    }
    const { error } = now.map.updateBatch({ ...packed, count });
    if (error !== undefined && !(isLive && FULL.includes(codeOf(error)))) throw error;
  }
}

const sliceOf = (bytes: Uint8Array, size: number, index: number): Uint8Array => bytes.slice(index * size, (index + 1) * size);

/** Is what `now` has under the key newer than this value? */
function olderThan({ map, value: layout }: TakingMap): (key: Uint8Array, value: Uint8Array) => boolean {
  const at = memberOffset(layout, LIVE.counter);
  if (at === undefined) throw new Error(`${map.name} has no field ${LIVE.counter}`);
  const seen = (value: Uint8Array): bigint => new DataView(value.buffer, value.byteOffset).getBigUint64(at, true);
  return (key, value) => {
    const present = map.lookup(key);
    return present !== undefined && seen(present) > seen(value);
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
