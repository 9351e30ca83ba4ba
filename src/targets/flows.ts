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

/** Deletes flows whose time is over. @param now seconds of CLOCK_MONOTONIC, as in `expires`. */
export function collectFlows(map: BatchMap, now: number): Promise<FlowsReport> {
  return deleteWhere(map, ({ values }, i) => flowStateCodec.decode(viewOf(values), i * map.valueSize).expires < now);
}

/** Deletes the flows of addresses that are gone, so that a later owner of one meets none of them. */
export function purgeFlows(map: BatchMap, addresses: readonly string[]): Promise<FlowsReport> {
  const gone = addresses.map((address) => Buffer.from(parseAddress(address)));
  return deleteWhere(map, ({ keys }, i) => {
    const [low, high] = flowEnds(keys, i * map.keySize);
    return gone.some((address) => address.equals(low) || address.equals(high));
  });
}

/** struct flow_key begins with both addresses: read in place, since this runs for each of many flows. */
function flowEnds(keys: Uint8Array, at: number): [low: Uint8Array, high: Uint8Array] {
  return [keys.subarray(at, at + 16), keys.subarray(at + 16, at + 32)];
}

/** A flow that is used meanwhile gets a new entry with its next packet, judged anew. */
async function deleteWhere(map: BatchMap, isWanted: (batch: Packed, index: number) => boolean): Promise<FlowsReport> {
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
