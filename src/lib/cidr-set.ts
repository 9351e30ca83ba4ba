/** Blocks of addresses, asked whether one of them holds another block: as many lookups as there are different lengths. */
import { formatCidr, maskAddress } from "./ip.ts";
import type { Cidr } from "./ip.ts";

export class CidrSet {
  readonly #texts: ReadonlySet<string>;
  readonly #prefixes: readonly number[];

  /** Host bits of `cidrs` are zero. */
  constructor(cidrs: readonly Cidr[]) {
    this.#texts = new Set(cidrs.map(formatCidr));
    this.#prefixes = [...new Set(cidrs.map(({ prefix }) => prefix))];
  }

  /** Whether all addresses of the block are in one of the set's. */
  holds({ address, prefix }: Cidr): boolean {
    return this.#prefixes.some((length) => length <= prefix && this.#texts.has(formatCidr({ address: maskAddress(address, length), prefix: length })));
  }
}
