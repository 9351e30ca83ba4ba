/** The maps that programs fill, conntrack apart: counted now and then, and kept from filling up with what is gone. */
import type { NodeState } from "../compile/state.ts";
import { quotaCodec } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/index.ts";
import { pruneRuleHits } from "../targets/index.ts";

/** Small enough to be walked in milliseconds. */
const COUNTED = ["fragments", "metrics", "underlays"];

export class ProgramMaps {
  readonly #map: (name: string) => BatchMap | undefined;
  #counts: ReadonlyMap<string, number> = new Map();

  constructor(map: (name: string) => BatchMap | undefined) {
    this.#map = map;
  }

  /** As the last look found them; empty before the first. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /**
   * @param state undefined: what is gone is not known yet, and no counter is deleted.
   * @param nowNs CLOCK_MONOTONIC.
   */
  look(state: NodeState | undefined, nowNs: bigint): void {
    const counts = new Map<string, number>();
    const counted = (name: string, count: (map: BatchMap) => number): void => {
      const map = this.#map(name);
      if (map !== undefined) counts.set(name, count(map));
    };
    for (const name of COUNTED) counted(name, entriesOf);
    counted("rule_hits", (map) => (state === undefined ? entriesOf(map) : pruneRuleHits(map, state).left));
    for (const name of ["quotas", "event_budgets"]) counted(name, (map) => owing(map, nowNs));
    this.#counts = counts;
  }
}

function entriesOf(map: BatchMap): number {
  let entries = 0;
  for (const { count } of map.batches()) entries += count;
  return entries;
}

/** An array has all of its slots always: those count that owe something. */
function owing(map: BatchMap, nowNs: bigint): number {
  let slots = 0;
  for (const { values, count } of map.batches()) {
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    for (let i = 0; i < count; i++) if (quotaCodec.decode(view, i * map.valueSize).paidNs > nowNs) slots++;
  }
  return slots;
}
