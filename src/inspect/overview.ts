/** `maps`: every map of the node's programs, and how full it is. */
import { setImmediate as giveWay } from "node:timers/promises";
import { MapType } from "../kernel/map.ts";
import type { BatchMap } from "../kernel/port.ts";
import { erased } from "./table.ts";
import type { Table } from "./table.ts";
import { NONE } from "./text.ts";

interface OverviewRow {
  readonly map: string;
  /** Under which its content is asked for; absent: it is no table. */
  readonly table: string | undefined;
  readonly type: string;
  /** Absent: of a ring, which is read and not kept, and of an array, which has all of its slots always. */
  readonly entries: number | undefined;
  /** Entries; of a ring, bytes. */
  readonly limit: number;
  readonly percent: number | undefined;
}

const UNCOUNTED: readonly number[] = [MapType.RINGBUF, MapType.ARRAY, MapType.PERCPU_ARRAY];
const TYPES: ReadonlyMap<number, string> = new Map(Object.entries(MapType).map(([name, type]) => [type, name.toLowerCase().replaceAll("_", "-")]));

/** @param tables the others: those that show a map. */
export function overviewOf(tables: readonly Table[]): Table {
  return erased<OverviewRow>({
    name: "maps",
    map: undefined,
    about: "every map, its entries, and how many it can hold",
    columns: [
      { head: "MAP", cell: ({ map }) => map },
      { head: "TYPE", cell: ({ type }) => type },
      { head: "ENTRIES", cell: ({ entries }) => String(entries ?? NONE) },
      { head: "LIMIT", cell: ({ limit, type }) => (type === "ringbuf" ? `${limit} bytes` : String(limit)) },
      { head: "FILL", cell: ({ percent }) => (percent === undefined ? NONE : `${percent}%`) },
      { head: "COMMAND", cell: ({ table }) => (commandOf(table)) },
    ],
    rows: async function* ({ maps }) {
      for (const [name, map] of [...maps].sort(([a], [b]) => a.localeCompare(b))) {
        const entries = UNCOUNTED.includes(map.type) ? undefined : await count(map);
        const percent = entries === undefined ? undefined : Math.round((entries / map.maxEntries) * 1000) / 10;
        yield [{ map: name, table: tables.find((table) => table.map === name)?.name, type: TYPES.get(map.type) ?? `type ${map.type}`, entries, limit: map.maxEntries, percent }];
      }
    },
  });
}

function commandOf(table: string | undefined): string {
  if (table === undefined) return NONE;
  return table.startsWith("policy-") ? `cilium ${table.replace("-", " ")}` : `cilium bpf ${table} list`;
}

async function count(map: BatchMap): Promise<number> {
  let entries = 0;
  for (const batch of map.batches()) {
    entries += batch.count;
    await giveWay();
  }
  return entries;
}
