/** Hit counters of rules (`rule_hits`): the programs make them, only this file deletes. */
import { setImmediate as giveWay } from "node:timers/promises";
import type { NodeState } from "../compile/state.ts";
import type { BatchMap } from "../kernel/port.ts";
import { viewOf } from "./map-target.ts";

/** Others have their turn after so many reads, and deletions: of a per-CPU value each takes the kernel up to 0.1 ms. */
const READ = 512;
const DELETED = 64;

/**
 * Deletes the counters of rules that the node state does not name: their rules are gone, and a map full of them would
 * count no new one. A rule that is still in the kernel for a moment begins again at 0.
 * @param namesNow asked anew for each slice, as rules come while others have their turn; undefined: not known, delete nothing.
 * @returns how many were deleted, and how many are left.
 */
export async function pruneRuleHits(map: BatchMap, namesNow: () => NodeState["ruleNames"] | undefined): Promise<{ readonly deleted: number; readonly left: number }> {
  const gone: Uint8Array[] = [];
  let seen = 0;
  for (const { keys, count } of map.batches(READ)) {
    const view = viewOf(keys);
    const names = namesNow();
    seen += count;
    for (let i = 0; i < count; i++) {
      if (names?.has(view.getUint32(i * map.keySize, true)) === false) gone.push(keys.slice(i * map.keySize, (i + 1) * map.keySize));
    }
    await giveWay();
  }
  let deleted = 0;
  for (let at = 0; at < gone.length; at += DELETED) {
    const names = namesNow();
    const some = gone.slice(at, at + DELETED).filter((key) => names?.has(viewOf(key).getUint32(0, true)) === false);
    if (some.length === 0) continue;
    const { done, error } = map.deleteBatch(Buffer.concat(some), some.length);
    if (error !== undefined) throw error;
    deleted += done;
    await giveWay();
  }
  return { deleted, left: seen - deleted };
}
