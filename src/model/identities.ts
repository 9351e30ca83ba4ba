/**
 * Numbers for sets of labels. A number is never given a second meaning while it may be in use anywhere: allocation
 * goes upward, and a number is free again only after the object was unused for a quiet period.
 */
import { labelsKey } from "./labels.ts";
import type { Labels } from "./labels.ts";

export const FIRST_IDENTITY = 256;
/** Identities are 24 bits wide, as they travel in the VNI. */
export const LAST_IDENTITY = (1 << 24) - 1;

/** The number that a CiliumIdentity's name says; undefined for a name that is none. */
export function identityNumber(name: string): number | undefined {
  if (!/^[1-9][0-9]{2,7}$/.test(name)) return undefined;
  const number = Number(name);
  return number >= FIRST_IDENTITY && number <= LAST_IDENTITY ? number : undefined;
}

/**
 * Known identities, both ways. Where two numbers have the same labels the lower one is used; the other stays known,
 * as packets that carry it may be under way.
 */
export class IdentityTable {
  readonly #labels = new Map<number, Labels>();
  readonly #numbers = new Map<string, readonly number[]>();
  #last = FIRST_IDENTITY - 1;

  get labels(): ReadonlyMap<number, Labels> {
    return this.#labels;
  }

  set(number: number, labels: Labels): void {
    this.remove(number);
    const key = labelsKey(labels);
    this.#labels.set(number, labels);
    this.#numbers.set(key, [...(this.#numbers.get(key) ?? []), number].sort((a, b) => a - b));
    this.#last = Math.max(this.#last, number);
  }

  remove(number: number): void {
    const labels = this.#labels.get(number);
    if (labels === undefined) return;
    this.#labels.delete(number);
    const key = labelsKey(labels);
    const rest = (this.#numbers.get(key) ?? []).filter((other) => other !== number);
    if (rest.length === 0) this.#numbers.delete(key);
    else this.#numbers.set(key, rest);
  }

  /** The number of these labels (`labelsKey`), the lowest of several. */
  numberOf(key: string): number | undefined {
    return this.#numbers.get(key)?.[0];
  }

  /** The next number to try; undefined when all are taken. Upward from the greatest ever seen, then from the start. */
  nextFree(): number | undefined {
    const span = LAST_IDENTITY - FIRST_IDENTITY + 1;
    for (let step = 1; step <= span; step++) {
      const number = FIRST_IDENTITY + ((this.#last - FIRST_IDENTITY + step) % span);
      if (this.#labels.has(number)) continue;
      this.#last = number;
      return number;
    }
    return undefined;
  }
}
