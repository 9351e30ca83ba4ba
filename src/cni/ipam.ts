/**
 * The addresses of one CIDR, one owner each. Pure: time comes in, nothing goes out.
 *
 * Order of giving: the owner's former address, then addresses that were never given, then the address that rests
 * longest. An address rests after its release, so that peers which still know its last owner (connections,
 * conntrack, DNS answers) have forgotten it. An address that somebody else uses (a pod that is older than this pool)
 * is passed over, and rests.
 */
import { addToAddress, cidrContains, cidrSize, formatAddress, formatCidr, parseAddress, toBigInt } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { ConfigError } from "../lib/errors.ts";

export interface AddressPoolOptions {
  readonly cidr: Cidr;
  readonly restMs: number;
  /** Wall clock: rests survive a restart of the process and of the node. */
  readonly nowMs: () => number;
  /** The owner of an address that is in use without having been given here. */
  readonly foreignOwner?: (address: string) => string | undefined;
}

export interface FreedAddress {
  readonly address: string;
  readonly owner: string;
  readonly freedMs: number;
}

/** What must survive a restart beside the claims. */
export interface PoolMemory {
  /** Offset of the first address that was never given. */
  readonly fresh: number;
  readonly freed: readonly FreedAddress[];
}

/** An endpoint id has 16 bits, so a node never has more pods; keeps an IPv6 /64 from being a list without end. */
const MAX_ADDRESSES = 65_536n;
const FIRST_POD_OFFSET = 2; // 0 names the network (IPv6: the subnet's routers), 1 is the node's router address

export class AddressPool {
  readonly cidr: Cidr;
  readonly router: Uint8Array;
  readonly #options: AddressPoolOptions;
  readonly #end: number;
  readonly #ownerByAddress = new Map<string, string>();
  /** In order of release. */
  readonly #freed = new Map<string, FreedAddress>();
  readonly #formerByOwner = new Map<string, string>();
  #fresh = FIRST_POD_OFFSET;

  constructor(options: AddressPoolOptions) {
    const size = cidrSize(options.cidr);
    const router = addToAddress(options.cidr.address, 1n);
    // The last address is never given: in IPv4 it is the broadcast address.
    if (size < 4n || router === undefined) throw new ConfigError("podCIDR", `${formatCidr(options.cidr)} has no room for pods`);
    this.#options = options;
    this.cidr = options.cidr;
    this.router = router;
    this.#end = Number(size - 1n < MAX_ADDRESSES ? size - 1n : MAX_ADDRESSES);
  }

  get capacity(): number {
    return this.#end - FIRST_POD_OFFSET;
  }

  get used(): number {
    return this.#ownerByAddress.size;
  }

  ownerOf(address: string): string | undefined {
    return this.#ownerByAddress.get(address);
  }

  /** An address for this owner; undefined when none is free or all free ones still rest. */
  allocate(owner: string): string | undefined {
    const former = this.#formerByOwner.get(owner);
    const mayHave = (address: string): boolean => (this.#foreignOwner(address) ?? owner) === owner;
    const address = former !== undefined && mayHave(former) ? former : (this.#nextFresh(owner) ?? this.#rested(mayHave));
    if (address !== undefined) this.#give(address, owner);
    return address;
  }

  /** Takes this very address, as after a restart. False: it is given already, or is not for pods. */
  claim(address: Uint8Array, owner: string): boolean {
    const name = formatAddress(address);
    if (this.#ownerByAddress.has(name)) return false;
    if (this.#offsetOf(address) === undefined) return false;
    this.#give(name, owner);
    return true;
  }

  /** The address starts to rest. Releasing what is not given changes nothing. */
  release(address: string): void {
    const owner = this.#ownerByAddress.get(address);
    if (owner === undefined) return;
    this.#ownerByAddress.delete(address);
    this.#remember({ address, owner, freedMs: this.#options.nowMs() });
  }

  /** When the next resting address may be given; undefined when none rests. */
  nextRestedMs(): number | undefined {
    const [first] = this.#freed.values();
    return first === undefined ? undefined : first.freedMs + this.#options.restMs;
  }

  memory(): PoolMemory {
    return { fresh: this.#fresh, freed: [...this.#freed.values()] };
  }

  /** Before any allocation. Addresses of another CIDR, which the node had before, are forgotten. */
  restore(memory: PoolMemory): void {
    this.#fresh = Math.min(Math.max(memory.fresh, FIRST_POD_OFFSET), this.#end);
    const now = this.#options.nowMs();
    for (const freed of memory.freed) {
      // A clock that was set back must not make an address rest for years.
      const ours = this.#offsetOf(parseAddress(freed.address)) !== undefined && !this.#ownerByAddress.has(freed.address);
      if (ours) this.#remember({ ...freed, freedMs: Math.min(freed.freedMs, now) });
    }
  }

  #offsetOf(address: Uint8Array): number | undefined {
    if (!cidrContains(this.cidr, address)) return undefined;
    const offset = toBigInt(address) - toBigInt(this.cidr.address);
    return offset >= BigInt(FIRST_POD_OFFSET) && offset < BigInt(this.#end) ? Number(offset) : undefined;
  }

  #foreignOwner(address: string): string | undefined {
    return this.#options.foreignOwner?.(address);
  }

  #at(offset: number): string | undefined {
    const address = addToAddress(this.cidr.address, BigInt(offset));
    return address === undefined ? undefined : formatAddress(address);
  }

  #give(address: string, owner: string): void {
    const freed = this.#freed.get(address);
    if (freed !== undefined) {
      this.#freed.delete(address);
      if (this.#formerByOwner.get(freed.owner) === address) this.#formerByOwner.delete(freed.owner);
    }
    this.#ownerByAddress.set(address, owner);
  }

  #remember(freed: FreedAddress): void {
    this.#freed.delete(freed.address);
    this.#freed.set(freed.address, freed);
    this.#formerByOwner.set(freed.owner, freed.address);
  }

  #nextFresh(owner: string): string | undefined {
    while (this.#fresh < this.#end) {
      const address = this.#at(this.#fresh++);
      if (address === undefined || this.#ownerByAddress.has(address) || this.#freed.has(address)) continue;
      const holder = this.#foreignOwner(address) ?? owner;
      if (holder === owner) return address;
      this.#remember({ address, owner: holder, freedMs: this.#options.nowMs() });
    }
    return undefined;
  }

  #rested(mayHave: (address: string) => boolean): string | undefined {
    const now = this.#options.nowMs();
    for (const { address, freedMs } of this.#freed.values()) {
      if (now - freedMs < this.#options.restMs) return undefined;
      if (mayHave(address)) return address;
    }
    return undefined;
  }
}
