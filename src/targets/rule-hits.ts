/** Hit counters of rules (`rule_hits`): the programs make them, only this file deletes. */
import type { NodeState } from "../compile/state.ts";
import type { BatchMap } from "../kernel/port.ts";
import { viewOf } from "./map-target.ts";

/**
 * Deletes the counters of rules that the node state does not name: their rules are gone, and a map full of them would
 * count no new one. A rule that is still in the kernel for a moment begins again at 0.
 * @returns how many were deleted, and how many are left.
 */
export function pruneRuleHits(map: BatchMap, { ruleNames }: NodeState): { readonly deleted: number; readonly left: number } {
  const gone: Uint8Array[] = [];
  let seen = 0;
  for (const { keys, count } of map.batches()) {
    const view = viewOf(keys);
    seen += count;
    for (let i = 0; i < count; i++) {
      if (!ruleNames.has(view.getUint32(i * map.keySize, true))) gone.push(keys.slice(i * map.keySize, (i + 1) * map.keySize));
    }
  }
  const { done, error } = map.deleteBatch(Buffer.concat(gone), gone.length);
  if (error !== undefined) throw error;
  return { deleted: done, left: seen - done };
}
