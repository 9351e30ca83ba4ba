/** The node's pools, one per family, and their memory on disk. */
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { familyOf, formatAddress, formatCidr, parseAddress } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { removeLeftovers, writeAtomic } from "../lib/files.ts";
import { AddressPool } from "./ipam.ts";
import type { PoolMemory } from "./ipam.ts";
import { CniError, CniErrorCode } from "./errors.ts";

export interface AddressPair {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
}

export interface AddressesOptions {
  /** At most one per family, as in Node.spec.podCIDRs. */
  readonly cidrs: readonly Cidr[];
  /** File of the memory. */
  readonly file: string;
  readonly restMs: number;
  readonly nowMs: () => number;
  /**
   * Owner by address of what is in use on this node, whoever gave it: pods that an earlier network attached keep
   * their addresses of the same pod CIDR.
   */
  readonly inUse: () => ReadonlyMap<string, string>;
}

interface Memory {
  readonly ipv4?: PoolMemory;
  readonly ipv6?: PoolMemory;
}

export class Addresses {
  readonly ipv4: AddressPool | undefined;
  readonly ipv6: AddressPool | undefined;
  readonly #file: string;
  readonly #nowMs: () => number;
  readonly #inUse: () => ReadonlyMap<string, string>;
  /** As of the allocation that is going on. */
  #used: ReadonlyMap<string, string> = new Map();
  #saving: Promise<void> = Promise.resolve();

  constructor(options: AddressesOptions) {
    const foreignOwner = (address: string): string | undefined => this.#used.get(address);
    const pool = (family: 4 | 6): AddressPool | undefined => {
      const cidr = options.cidrs.find((candidate) => familyOf(candidate.address) === family);
      return cidr === undefined ? undefined : new AddressPool({ cidr, restMs: options.restMs, nowMs: options.nowMs, foreignOwner });
    };
    this.ipv4 = pool(4);
    this.ipv6 = pool(6);
    this.#file = options.file;
    this.#nowMs = options.nowMs;
    this.#inUse = options.inUse;
  }

  get routers(): AddressPair {
    return {
      ipv4: this.ipv4 === undefined ? undefined : formatAddress(this.ipv4.router),
      ipv6: this.ipv6 === undefined ? undefined : formatAddress(this.ipv6.router),
    };
  }

  /** Before the first allocation. A missing or broken file only costs the rests. */
  async load(): Promise<void> {
    await removeLeftovers(dirname(this.#file), basename(this.#file));
    const text = await readFile(this.#file, "utf8").catch(() => "{}");
    try {
      const memory = JSON.parse(text) as Memory;
      if (memory.ipv4 !== undefined) this.ipv4?.restore(memory.ipv4);
      if (memory.ipv6 !== undefined) this.ipv6?.restore(memory.ipv6);
    } catch {
      await this.#save();
    }
  }

  /** One address of each family, or none at all: throws CniError when a family is exhausted. */
  allocate(owner: string): AddressPair {
    this.#used = this.#inUse();
    const ipv4 = this.#take(this.ipv4, "IPv4", owner);
    try {
      return { ipv4, ipv6: this.#take(this.ipv6, "IPv6", owner) };
    } catch (thrown) {
      if (ipv4 !== undefined) this.ipv4?.release(ipv4);
      throw thrown;
    }
  }

  /** Takes the addresses of a restored attachment. False: one of them cannot be its. Of a family that is off, all can. */
  claim(pair: AddressPair, owner: string): boolean {
    const taken = (pool: AddressPool | undefined, address: string | undefined): boolean =>
      address === undefined || pool === undefined || pool.claim(parseAddress(address), owner);
    return taken(this.ipv4, pair.ipv4) && taken(this.ipv6, pair.ipv6);
  }

  /** The addresses rest from now on; resolves when that is on disk. */
  async release(pair: AddressPair): Promise<void> {
    if (pair.ipv4 !== undefined) this.ipv4?.release(pair.ipv4);
    if (pair.ipv6 !== undefined) this.ipv6?.release(pair.ipv6);
    await this.#save();
  }

  #take(pool: AddressPool | undefined, family: string, owner: string): string | undefined {
    const address = pool?.allocate(owner);
    if (pool === undefined || address !== undefined) return address;
    const restedMs = pool.nextRestedMs();
    const wait = restedMs === undefined ? "none was released" : `the next one is free in ${Math.max(1, Math.ceil((restedMs - this.#nowMs()) / 1000))} s`;
    throw new CniError(CniErrorCode.tryAgainLater, `no free ${family} address on this node`, `${pool.used} of ${pool.capacity} addresses of ${formatCidr(pool.cidr)} are in use; ${wait}`);
  }

  /** Writes are in order; many releases at once cost as few writes as the disk allows. */
  #save(): Promise<void> {
    this.#saving = this.#saving.catch(() => undefined).then(() => {
      const memory = { ipv4: this.ipv4?.memory(), ipv6: this.ipv6?.memory() };
      return writeAtomic(this.#file, JSON.stringify(memory), { mode: 0o600, durable: false });
    });
    return this.#saving;
  }
}
