/**
 * Conntrack (`flows`): the programs write entries, and ignore those that have expired; only this file deletes. A walk
 * of the whole map gives way to other work between batches.
 */
import { setImmediate as giveWay } from "node:timers/promises";
import { flowStateCodec } from "../kernel/gen/types.ts";
import type { BatchMap, Packed } from "../kernel/port.ts";
import { parseAddress } from "../lib/ip.ts";
import { viewOf } from "./map-target.ts";

export interface FlowsReport {
  readonly seen: number;
  readonly deleted: number;
  readonly maxEntries: number;
  /** First refusal of the kernel; the rest of the walk was done. */
  readonly error: Error | undefined;
}

type IsWanted = (batch: Packed, index: number) => boolean;

/**
 * Deletes flows, with one walk of the map at a time: a map of half a million flows is walked once for the many pods
 * that go together, not once for each.
 */
export class FlowCollector {
  readonly #map: BatchMap;
  #walking: Promise<unknown> = Promise.resolve();
  /** The purge whose walk has not begun; it takes further addresses until then. */
  #next: { readonly gone: Set<string>; readonly done: Promise<FlowsReport> } | undefined;

  constructor(map: BatchMap) {
    this.#map = map;
  }

  /** Deletes flows whose time is over. @param now seconds of CLOCK_MONOTONIC, as in `expires`. */
  collect(now: number): Promise<FlowsReport> {
    return this.#walk(() => ({ values }, i) => flowStateCodec.decode(viewOf(values), i * this.#map.valueSize).expires < now);
  }

  /**
   * Deletes the flows of addresses that are gone, so that a later owner of one meets none of them. Resolves after a
   * walk that began after the call.
   */
  purge(addresses: readonly string[]): Promise<FlowsReport> {
    this.#next ??= this.#planPurge();
    for (const address of addresses) this.#next.gone.add(latin1(parseAddress(address)));
    return this.#next.done;
  }

  #planPurge(): { readonly gone: Set<string>; readonly done: Promise<FlowsReport> } {
    const gone = new Set<string>();
    const done = this.#walk(() => {
      this.#next = undefined;
      return ({ keys }, i) => flowEnds(keys, i * this.#map.keySize).some((end) => gone.has(latin1(end)));
    });
    return { gone, done };
  }

  /** @param begin called when it is this walk's turn. */
  #walk(begin: () => IsWanted): Promise<FlowsReport> {
    const walked = this.#walking.then(() => giveWay()).then(() => deleteWhere(this.#map, begin()));
    this.#walking = walked.catch(() => undefined);
    return walked;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** struct flow_key begins with both addresses: read in place, since this runs for each of many flows. */
function flowEnds(keys: Uint8Array, at: number): [low: Uint8Array, high: Uint8Array] {
  return [keys.subarray(at, at + 16), keys.subarray(at + 16, at + 32)];
}

/** A flow that is used meanwhile gets a new entry with its next packet, judged anew. */
async function deleteWhere(map: BatchMap, isWanted: IsWanted): Promise<FlowsReport> {
  let seen = 0;
  let deleted = 0;
  let failure: Error | undefined;
  for (const batch of map.batches()) {
    seen += batch.count;
    const found: Uint8Array[] = [];
    for (let i = 0; i < batch.count; i++) {
      if (isWanted(batch, i)) found.push(batch.keys.subarray(i * map.keySize, (i + 1) * map.keySize));
    }
    const { done, error } = map.deleteBatch(Buffer.concat(found), found.length);
    deleted += done;
    failure ??= error;
    await giveWay();
  }
  return { seen, deleted, maxEntries: map.maxEntries, error: failure };
}
