/**
 * What the new programs may use while flows of another layout move: the former programs, and the former flows, in which
 * they look for a packet's flow but cannot read it. A flow that is there alone stays the former programs' until it has
 * moved, so none is a stranger in between. (bpf/lib/maps.h, leave_to_former in conntrack.h)
 */
import { layoutText } from "./btf.ts";
import type { Layout } from "./convert.ts";
import { type LibbpfMap, u32 } from "./map.ts";
import type { PinFolder } from "./pins.ts";

export const LENT = { programs: "former_hooks", flows: "former_flows" } as const;

export const isLent = (name: string): boolean => Object.values<string>(LENT).includes(name);

/** Can be looked for by the keys of the new programs. */
export function hasSameKeys(old: Layout, now: Layout): boolean {
  return old.id !== 0 && now.id !== 0 && layoutText(old.types, old.id) === layoutText(now.types, now.id);
}

export class Lent {
  readonly #programs: LibbpfMap;
  readonly #flows: LibbpfMap;
  readonly #former: LibbpfMap;

  private constructor(programs: LibbpfMap, flows: LibbpfMap, former: LibbpfMap) {
    this.#programs = programs;
    this.#flows = flows;
    this.#former = former;
  }

  /** Before the first new program runs. `slots` hold the programs in force; undefined: the new ones know no lending. */
  static lend(maps: ReadonlyMap<string, LibbpfMap>, pins: PinFolder, slots: readonly LibbpfMap[], former: LibbpfMap): Lent | undefined {
    const [programs, flows] = [maps.get(LENT.programs), maps.get(LENT.flows)];
    if (programs === undefined || flows === undefined) return undefined;
    for (const each of slots) pins.copyPrograms(each, programs);
    const lent = new Lent(programs, flows, former);
    lent.settle();
    return lent;
  }

  /**
   * Returns when no program runs that began before. A change of a map of maps waits for that; one of a program array
   * does not (kernel/bpf/syscall.c, maybe_wait_bpf_programs).
   */
  settle(): void {
    this.#flows.update(u32(0), u32(this.#former.fd));
  }

  takeBack(): void {
    this.#flows.delete(u32(0));
    for (let slot = 0; slot < this.#programs.maxEntries; slot++) this.#programs.delete(u32(slot));
  }
}
