/** What a table is, and how a kernel map becomes one. */
import { setImmediate as giveWay } from "node:timers/promises";
import type { NodeState } from "../compile/state.ts";
import type { BatchMap } from "../kernel/port.ts";
import type { EncryptionFacts } from "./encryption.ts";
import type { Names } from "./names.ts";
import type { RoutingFacts } from "./routing.ts";

/** Plain JSON. Counters of the kernel are decimal text: they may be beyond 2^53. */
export type Row = Readonly<Record<string, unknown>>;

export interface Column<R> {
  readonly head: string;
  readonly cell: (row: R) => string;
}

export interface Table<R = Row> {
  /** As it is asked for. */
  readonly name: string;
  /** The kernel map that it shows; undefined: none. */
  readonly map: string | undefined;
  readonly about: string;
  readonly columns: readonly Column<R>[];
  /** In batches, so that a great map is nowhere whole. */
  rows(source: Source): AsyncIterable<readonly R[]>;
}

/** What the tables of one node are read from. */
export interface Source {
  readonly maps: ReadonlyMap<string, BatchMap & { readonly type: number }>;
  /** In force; undefined: the operator has written none yet. */
  readonly state: NodeState | undefined;
  /** Number -> labels of all identities of the cluster. */
  readonly identities: ReadonlyMap<number, readonly string[]>;
  readonly names: Names;
  /** Read when it is asked for; undefined: the node does not encrypt. */
  readonly encryption: () => Promise<EncryptionFacts | undefined>;
  /** undefined: not known yet. */
  readonly routing: () => RoutingFacts | undefined;
}

/** Rows that are read and named at once; others have their turn in between. */
const BATCH = 512;

export type ReadRow<R> = (key: DataView, value: Uint8Array) => R | undefined;

/** A map that no program has is a defect of the caller. Entries that are written or deleted meanwhile may be there or not. */
export async function* readMap<R>(source: Source, name: string, row: ReadRow<R>): AsyncIterable<readonly R[]> {
  const map = source.maps.get(name);
  if (map === undefined) throw new Error(`no program of this node has the map ${name}`);
  for (const { keys, values, count } of map.batches(BATCH)) {
    const rows: R[] = [];
    for (let i = 0; i < count; i++) {
      const key = new DataView(keys.buffer, keys.byteOffset + i * map.keySize, map.keySize);
      const read = row(key, values.subarray(i * map.valueSize, (i + 1) * map.valueSize));
      if (read !== undefined) rows.push(read);
    }
    yield rows;
    await giveWay();
  }
}

/** The table of one map; `row` is made once for each reading. */
export function mapTable<R>(spec: { readonly name: string; readonly map: string; readonly about: string; readonly columns: readonly Column<R>[]; readonly row: (names: Names) => ReadRow<R> }): Table {
  const { row, ...table } = spec;
  return erased<R>({ ...table, rows: (source) => readMap(source, spec.map, row(source.names)) });
}

/** Rows of all tables go the same ways: who reads a table's columns reads its own rows. */
export function erased<R>(table: Table<R>): Table {
  return table as unknown as Table;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
