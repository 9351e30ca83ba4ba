/** The actual side of one kernel resource. Dumb: it writes what it is told; only a Delta decides what to write. */
import { CodedError } from "../lib/errors.ts";

/** Foreseen: nothing of it was written. */
export class CapacityExceeded extends CodedError {
  /** `need` is undefined where the count stopped at the first entry that there is no room for. */
  constructor(map: string, need: number | undefined, size: number) {
    const wants = need === undefined ? `more than ${size} entries, and has room for so many` : `${need} entries and has room for ${size}`;
    super("CAPACITY", `map ${map} needs ${wants}`, { fields: { map, ...(need === undefined ? {} : { need }), size } });
    this.name = "CapacityExceeded";
  }
}

export interface Failure<K> {
  readonly key: K;
  readonly error: Error;
}

export interface Target<K, V> {
  readonly name: string;
  /** How many entries it can hold. */
  readonly capacity: number;
  /** What is there now, as far as it is ours. */
  list(): Iterable<readonly [K, V]>;
  /** Creates or replaces; idempotent. One refused entry does not stop the others. */
  put(entries: ReadonlyMap<K, V>): readonly Failure<K>[];
  /** Removing the absent succeeds. */
  remove(keys: readonly K[]): readonly Failure<K>[];
}

/** For values that are flat records of primitives. */
export function sameFields<V extends object>(a: V, b: V): boolean {
  const keys = Object.keys(a) as (keyof V)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
