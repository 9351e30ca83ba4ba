/**
 * Which node has which pod CIDR, where objects of several nodes claim the same addresses: this node its own, of others
 * the first by name, as on every node. The other one's claim is refused as a whole block: nothing is sent to it and nothing
 * of it is believed, as two nodes behind one address would get each other's packets. Pure.
 */
import { compareAddresses, familyOf, formatCidr, maskAddress, parseCidr } from "../lib/ip.ts";
import type { Cidr, Family } from "../lib/ip.ts";

export interface Claimant {
  readonly name: string;
  readonly podCidrs: readonly string[];
}

export interface PodBlocks {
  /** The blocks of a node by its name, without those that are another's. */
  readonly of: (name: string) => readonly string[];
  /** Of each claim that was refused, a sentence. */
  readonly refused: readonly string[];
}

interface Claim {
  readonly name: string;
  readonly cidr: Cidr;
}

export function podBlocks(local: Claimant, others: Iterable<Claimant>): PodBlocks {
  const claims = new Claims();
  const blocks = new Map<string, readonly string[]>();
  const refused: string[] = [];
  for (const text of validCidrs(local.podCidrs)) claims.take({ name: local.name, cidr: parseCidr(text) });
  for (const { name, podCidrs } of [...others].filter((other) => other.name !== local.name).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    blocks.set(name, validCidrs(podCidrs).filter((text) => {
      const owner = claims.take({ name, cidr: parseCidr(text) });
      if (owner !== undefined) refused.push(`${name}: its pod CIDR ${text} is refused, as ${owner.name} has ${formatCidr(owner.cidr)}`);
      return owner === undefined;
    }));
  }
  return { of: (name) => blocks.get(name) ?? [], refused };
}

function validCidrs(texts: readonly string[]): string[] {
  return texts.filter((text) => {
    try {
      parseCidr(text);
      return true;
    } catch {
      return false;
    }
  });
}

class Claims {
  readonly #taken = new Map<string, Claim>();
  readonly #prefixes = new Map<Family, Set<number>>();

  /** The claim of another node that it overlaps with; undefined: it is taken now. */
  take(claim: Claim): Claim | undefined {
    const other = this.#overlap(claim);
    if (other !== undefined) return other;
    this.#taken.set(formatCidr(claim.cidr), claim);
    const family = familyOf(claim.cidr.address);
    this.#prefixes.set(family, (this.#prefixes.get(family) ?? new Set()).add(claim.cidr.prefix));
    return undefined;
  }

  /** Blocks overlap when one holds the other. Nodes' blocks are of one length mostly: then one lookup tells. */
  #overlap({ name, cidr: { address, prefix } }: Claim): Claim | undefined {
    const family = familyOf(address);
    for (const length of this.#prefixes.get(family) ?? []) {
      const found = length <= prefix
        ? this.#taken.get(formatCidr({ address: maskAddress(address, length), prefix: length }))
        : [...this.#taken.values()].find(({ cidr }) => cidr.prefix === length && familyOf(cidr.address) === family && compareAddresses(maskAddress(cidr.address, prefix), address) === 0);
      if (found !== undefined && found.name !== name) return found;
    }
    return undefined;
  }
}
