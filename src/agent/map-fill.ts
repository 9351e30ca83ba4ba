/** How full the kernel maps are, and what is said about it before one is full. */

export interface MapFill {
  readonly map: string;
  readonly entries: number;
  readonly capacity: number;
}

export interface MapWarning {
  readonly part: string;
  readonly message: string;
}

/** From this share on a map is warned of. */
export const WARN_AT = 0.85;
/** Below it the warning ends: a map that moves around one bound must not write the object again and again. */
const QUIET_AT = 0.8;

/** Which chart value makes the map greater; a map without one has a size that no cluster within the limits fills. */
const VALUES: ReadonlyMap<string, string> = new Map([
  ["policy", "bpf.policyMapMax"], ["ipcache", "bpf.ipcacheMax"], ["flows", "bpf.ctMax"], ["interfaces", "bpf.endpointsMax"], ["endpoints", "bpf.endpointsMax"],
]);

/** An LRU map lets go of its oldest entry: full is how it is after a while, and nothing is refused. */
const NEVER_REFUSES: ReadonlySet<string> = new Set(["fragments"]);

export class MapPressure {
  readonly #warned = new Set<string>();

  /** What is to be said now; the words change only when a warning begins or ends, or a size does. */
  warnings(fills: readonly MapFill[]): readonly MapWarning[] {
    return fills.filter((fill) => this.#isPressed(fill)).map(({ map, capacity }) => {
      const remedy = VALUES.get(map);
      return { part: `map ${map}`, message: `more than ${WARN_AT * 100} % of its ${capacity} entries are taken${remedy === undefined ? "" : `; ${remedy} makes it greater`}` };
    });
  }

  #isPressed({ map, entries, capacity }: MapFill): boolean {
    const isPressed = !NEVER_REFUSES.has(map) && entries >= capacity * (this.#warned.has(map) ? QUIET_AT : WARN_AT);
    if (isPressed) this.#warned.add(map);
    else this.#warned.delete(map);
    return isPressed;
  }
}
