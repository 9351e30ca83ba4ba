/**
 * Which node has which pod CIDR, where objects of several nodes claim the same addresses: this node its own, of others
 * the first by name, as on every node. The other one's claim is refused as a whole block: nothing is sent to it and nothing
 * of it is believed, as two nodes behind one address would get each other's packets. A node's own address in a block of
 * pods is told alone: were the block refused for it, whoever can say an address of one node could cut off another. Pure.
 */
import { cidrContains, compareAddresses, familyOf, formatCidr, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { Cidr, Family } from "../lib/ip.ts";

export interface Claimant {
  readonly name: string;
  readonly podCidrs: readonly string[];
  readonly internalIps?: readonly string[];
}

export interface PodBlocks {
  /** The blocks of a node by its name, without those that are another's. */
  readonly of: (name: string) => readonly string[];
  /** Whether some node's block, none that is refused, holds the address. */
  readonly holds: (ip: string) => boolean;
  /** Of each claim that was refused, a sentence. */
  readonly refused: readonly string[];
  /** Of each node's address that is a pod's too, a sentence. */
  readonly doubtful: readonly string[];
}

/** Of one address; of IPv4 too, as those are part of IPv6's. */
const WHOLE = 128;

interface Claim {
  readonly name: string;
  readonly cidr: Cidr;
}

export function podBlocks(local: Claimant, others: Iterable<Claimant>): PodBlocks {
  const claims = new Claims();
  const blocks = new Map<string, readonly string[]>();
  const refused: string[] = [];
  for (const text of validCidrs(local.podCidrs)) claims.take({ name: local.name, cidr: parseCidr(text) });
  const all = [...others].filter((other) => other.name !== local.name);
  for (const { name, podCidrs } of all.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    blocks.set(name, validCidrs(podCidrs).filter((text) => {
      const owner = claims.take({ name, cidr: parseCidr(text) });
      if (owner !== undefined) refused.push(`${name}: its pod CIDR ${text} is refused, as ${owner.name} has ${formatCidr(owner.cidr)}`);
      return owner === undefined;
    }));
  }
  return { of: (name) => blocks.get(name) ?? [], holds: (ip) => claims.holding(parseAddress(ip)) !== undefined, refused, doubtful: [local, ...all].flatMap((node) => nodeAddressesIn(claims, node)) };
}

function nodeAddressesIn(claims: Claims, { name, internalIps = [] }: Claimant): readonly string[] {
  return internalIps.filter(isAddress).flatMap((ip) => {
    const owner = claims.holding(parseAddress(ip));
    return owner === undefined ? [] : [`the address ${ip} of ${name} is in the pod CIDR ${formatCidr(owner.cidr)} of ${owner.name}: packets for the node go to a pod`];
  });
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

/** No two overlap, but of one node; then the wider one stands for both. So of a block's neighbours in order alone one can hold it. */
export class Claims {
  /** Of each family; in the order of their addresses, where IPv4 lies in the midst of IPv6. */
  readonly #taken: Readonly<Record<Family, Claim[]>> = { 4: [], 6: [] };

  /** The claim of another node that it overlaps with; undefined: it is taken now. */
  take(claim: Claim): Claim | undefined {
    const { name, cidr } = claim;
    const taken = this.#taken[familyOf(cidr.address)];
    const at = placeOf(cidr, taken);
    const before = taken[at - 1];
    if (before !== undefined && cidrContains(before.cidr, cidr.address)) return before.name === name ? undefined : before;
    let end = at;
    for (let inside = taken[end]; inside !== undefined && cidrContains(cidr, inside.cidr.address); inside = taken[++end]) if (inside.name !== name) return inside;
    taken.splice(at, end - at, claim);
    return undefined;
  }

  /** Whether one holds addresses of the block: all of them, or some. */
  meets(cidr: Cidr): boolean {
    const taken = this.#taken[familyOf(cidr.address)];
    const at = placeOf(cidr, taken);
    const [before, inside] = [taken[at - 1], taken[at]];
    return (before !== undefined && cidrContains(before.cidr, cidr.address)) || (inside !== undefined && cidrContains(cidr, inside.cidr.address));
  }

  /** Who has the address. */
  holding(address: Uint8Array): Claim | undefined {
    const taken = this.#taken[familyOf(address)];
    const before = taken[placeOf({ address, prefix: WHOLE }, taken) - 1];
    return before !== undefined && cidrContains(before.cidr, address) ? before : undefined;
  }
}

/** How many begin before it does, or where it does and hold it. */
function placeOf({ address, prefix }: Cidr, taken: readonly Claim[]): number {
  let [from, to] = [0, taken.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const { cidr } = taken[middle] as Claim;
    const order = compareAddresses(cidr.address, address) || cidr.prefix - prefix;
    if (order <= 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
