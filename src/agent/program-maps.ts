/** The maps that programs fill, conntrack apart: counted now and then, and kept from filling up with what is gone. */
import { setImmediate as giveWay } from "node:timers/promises";
import type { NodeState } from "../compile/state.ts";
import { quotaCodec } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/index.ts";
import { pruneRuleHits } from "../targets/index.ts";

const COUNTED = ["fragments", "metrics", "underlays"];
const OWING = ["quotas", "event_budgets"];
/** Entries that are read at once; others have their turn in between. */
const READ = 1024;

export class ProgramMaps {
  readonly #map: (name: string) => BatchMap | undefined;
  #counts: ReadonlyMap<string, number> = new Map();
  #looking: Promise<void> | undefined;

  constructor(map: (name: string) => BatchMap | undefined) {
    this.#map = map;
  }

  /** As the last look found them; empty before the first. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /**
   * One at a time: who asks while one look is under way gets that one.
   * @param stateNow asked anew after others had their turn; undefined: what is gone is not known, and no counter is deleted.
   * @param nowNs CLOCK_MONOTONIC.
   */
  look(stateNow: () => NodeState | undefined, nowNs: bigint): Promise<void> {
    this.#looking ??= this.#count(stateNow, nowNs).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #count(stateNow: () => NodeState | undefined, nowNs: bigint): Promise<void> {
    const counts = new Map<string, number>();
    const counted = async (name: string, count: (map: BatchMap) => Promise<number>): Promise<void> => {
      const map = this.#map(name);
      if (map !== undefined) counts.set(name, await count(map));
    };
    for (const name of COUNTED) await counted(name, entriesOf);
    await counted("rule_hits", async (map) => (await pruneRuleHits(map, () => stateNow()?.ruleNames)).left);
    for (const name of OWING) await counted(name, (map) => owing(map, nowNs));
    this.#counts = counts;
  }
}

async function entriesOf(map: BatchMap): Promise<number> {
  let entries = 0;
  for (const { count } of map.batches(READ)) {
    entries += count;
    await giveWay();
  }
  return entries;
}

/** An array has all of its slots always: those count that owe something. */
async function owing(map: BatchMap, nowNs: bigint): Promise<number> {
  let slots = 0;
  for (const { values, count } of map.batches(READ)) {
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    for (let i = 0; i < count; i++) if (quotaCodec.decode(view, i * map.valueSize).paidNs > nowNs) slots++;
    await giveWay();
  }
  return slots;
}
