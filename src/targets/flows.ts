/** Conntrack: deletes flows whose time is over. The programs only write them and ignore what has expired. */
import { flowStateCodec } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/port.ts";
import { viewOf } from "./map-target.ts";

export interface FlowsReport {
  readonly seen: number;
  readonly deleted: number;
  readonly maxEntries: number;
  /** First refusal of the kernel; the rest of the walk was done. */
  readonly error: Error | undefined;
}

/** @param now seconds of CLOCK_MONOTONIC, as in `expires`. A flow that is used meanwhile gets a new entry with its next packet. */
export function collectFlows(map: BatchMap, now: number): FlowsReport {
  let seen = 0;
  let deleted = 0;
  let failure: Error | undefined;
  for (const { keys, values, count } of map.batches()) {
    seen += count;
    const expired = packExpired(map, keys, values, count, now);
    const { done, error } = map.deleteBatch(expired, expired.length / map.keySize);
    deleted += done;
    failure ??= error;
  }
  return { seen, deleted, maxEntries: map.maxEntries, error: failure };
}

function packExpired(map: BatchMap, keys: Uint8Array, values: Uint8Array, count: number, now: number): Uint8Array {
  const view = viewOf(values);
  const expired: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const { expires } = flowStateCodec.decode(view, i * map.valueSize);
    if (expires < now) expired.push(keys.subarray(i * map.keySize, (i + 1) * map.keySize));
  }
  return Buffer.concat(expired);
}
