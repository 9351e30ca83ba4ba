/**
 * Classes of named ports: a number for each pair of an identity and what its pods call their ports. Two pods of one
 * identity may give one name to different numbers; then their addresses carry different classes, and the rules that
 * name ports have entries for each.
 */
import { CLASS_PORTS } from "../kernel/gen/types.ts";
import { hash32 } from "../lib/hash.ts";
import type { NamedPortNumber, NamedPorts } from "./desired.ts";

export interface PortClass {
  readonly number: number;
  readonly identity: number;
  readonly ports: NamedPorts;
}

const SPACE = 0x1_0000_0000 - CLASS_PORTS;

export class PortClasses {
  readonly #byKey = new Map<string, PortClass>();
  readonly #numbers = new Set<number>();
  readonly #texts = new WeakMap<NamedPorts, string>();
  #byIdentity: ReadonlyMap<number, readonly PortClass[]> | undefined;

  /** All of them, by identity; the same object while none came or went. */
  get byIdentity(): ReadonlyMap<number, readonly PortClass[]> {
    this.#byIdentity ??= Map.groupBy(this.#byKey.values(), ({ identity }) => identity);
    return this.#byIdentity;
  }

  /** Its class's number; 0 for a pod that names none. The same after a restart, unless two share a hash. */
  numberOf(identity: number, ports: NamedPorts | undefined): number {
    if (ports === undefined || ports.length === 0) return 0;
    const key = `${identity} ${this.#textOf(ports)}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.number;
    let number = CLASS_PORTS + (hash32(key) % SPACE);
    while (this.#numbers.has(number)) number = number === 0xffff_ffff ? CLASS_PORTS : number + 1;
    this.#byKey.set(key, { number, identity, ports });
    this.#numbers.add(number);
    this.#byIdentity = undefined;
    return number;
  }

  /** undefined: no pod has it. */
  of(number: number): PortClass | undefined {
    return [...this.#byKey.values()].find((one) => one.number === number);
  }

  /** Whether a pod of the identity has this class. */
  has(identity: number, number: number): boolean {
    return this.byIdentity.get(identity)?.some((one) => one.number === number) === true;
  }

  /** Forgets the others, which no address in the kernel may carry any more. Returns how many went. */
  retain(inUse: ReadonlySet<number>): number {
    const before = this.#byKey.size;
    for (const [key, { number }] of this.#byKey) {
      if (inUse.has(number)) continue;
      this.#byKey.delete(key);
      this.#numbers.delete(number);
    }
    const gone = before - this.#byKey.size;
    if (gone > 0) this.#byIdentity = undefined;
    return gone;
  }

  #textOf(ports: NamedPorts): string {
    const known = this.#texts.get(ports);
    if (known !== undefined) return known;
    const text = ports.map(({ name, port, protocol }) => `${name}=${protocol}/${port}`).sort().join(",");
    this.#texts.set(ports, text);
    return text;
  }
}

/** A row as the maps have it: the number of its class instead of the names; absent when it names none. */
export type Numbered<R extends Named> = Omit<R, "namedPorts"> & { readonly ports?: number };

interface Named {
  readonly identity: number;
  readonly namedPorts?: NamedPorts;
}

/** The same object when it names no port. */
export function numbered<R extends Named>(given: R, classes: PortClasses): Numbered<R> {
  if (given.namedPorts === undefined) return given;
  const { namedPorts, ...row } = given;
  const ports = classes.numberOf(row.identity, namedPorts);
  return ports === 0 ? row : { ...row, ports };
}

/** The same map when no row names a port. */
export function numberRows<R extends Named>(rows: ReadonlyMap<string, R>, classes: PortClasses): ReadonlyMap<string, Numbered<R>> {
  if ([...rows.values()].every(({ namedPorts }) => namedPorts === undefined)) return rows;
  return new Map([...rows].map(([key, row]) => [key, numbered(row, classes)]));
}

/** The numbers that a pod gives to the name. Protocol 0: of whatever protocol. */
export function numbersOf(ports: NamedPorts, wanted: { readonly name: string; readonly protocol: number }): readonly NamedPortNumber[] {
  return ports.filter(({ name, protocol }) => name === wanted.name && (wanted.protocol === 0 || wanted.protocol === protocol));
}
