/**
 * Desired content of two kinds: a map that is replaced as a whole and never changed, or one that is changed in place and
 * tells what has moved. The second is for content so large that to build it, or only to look at all of it, for each
 * change costs more than the change.
 */
export interface Rows<K, V> extends Iterable<readonly [K, V]> {
  get(key: K): V | undefined;
  keys(): Iterable<K>;
}

export interface Tracked<K, V> extends Rows<K, V> {
  /** Keys that may have moved since the last call, and what each was then. For one reader. */
  take(): ReadonlyMap<K, V | undefined>;
}

export function isTracked<K, V>(rows: Rows<K, V>): rows is Tracked<K, V> {
  return "take" in rows;
}

/** The first former value of each key since the last call of `take`. */
export class Moves<K, V> {
  #former = new Map<K, V | undefined>();

  /** Before the key gets another value. */
  note(key: K, former: V | undefined): void {
    if (!this.#former.has(key)) this.#former.set(key, former);
  }

  take(): ReadonlyMap<K, V | undefined> {
    const taken = this.#former;
    if (taken.size > 0) this.#former = new Map();
    return taken;
  }
}
