/** The words for numbers and addresses in the maps of one node, as of when a table is read. */
import { CLASS_BLOCKS, CLASS_PORTS, blockCodec, blockKeyCodec, subjectCodec } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/port.ts";
import { describePeer, describeRule, labelsOf, protocolName } from "../hubble/index.ts";
import type { EnrichContext, EventPeer, EventRule } from "../hubble/index.ts";
import { formatCidr } from "../lib/ip.ts";
import { ownerOf } from "../targets/index.ts";
import type { NamedPorts } from "../targets/index.ts";
import { viewOf } from "./table.ts";

/** What the agent knows beside the maps. */
export interface Facts extends EnrichContext {
  /** CLOCK_MONOTONIC. */
  readonly nowNs: bigint;
  readonly device: (ifindex: number) => string | undefined;
  /** What the pods of a class of named ports call their ports. */
  readonly portClass: (number: number) => PortClassFacts | undefined;
}

export interface PortClassFacts {
  readonly identity: number;
  readonly ports: NamedPorts;
}

export interface IdentityWords {
  readonly identity: number;
  readonly labels: readonly string[];
}

/** Whom a key of `policy` means. */
export type PeerWords =
  | { readonly kind: "any" }
  | ({ readonly kind: "identity" } & IdentityWords)
  | { readonly kind: "addresses"; readonly class: number; readonly cidrs: readonly string[] }
  | ({ readonly kind: "named-ports"; readonly class: number; readonly ports: readonly string[] } & IdentityWords);

type Maps = ReadonlyMap<string, BatchMap>;

const RULE_SET_BITS = 32;

export class Names {
  readonly facts: Facts;
  readonly #maps: Maps;
  #owners: ReadonlyMap<number, readonly number[]> | undefined;
  #blocks: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(facts: Facts, maps: Maps) {
    this.facts = facts;
    this.#maps = maps;
  }

  identity(identity: number): IdentityWords {
    return { identity, labels: labelsOf(identity, this.facts) };
  }

  rule(id: number): EventRule | undefined {
    return describeRule(id, this.facts);
  }

  peer(address: Uint8Array, port: number, identity: number): EventPeer {
    return describePeer(address, port, identity, this.facts);
  }

  /** `namespace/name` of this node's pod with that endpoint id. */
  pod(endpoint: number): string | undefined {
    const name = this.facts.endpoint(endpoint);
    return name === undefined ? undefined : `${name.namespace}/${name.pod}`;
  }

  /** `namespace/name` of a pod, or the name of a node, that has the address. */
  holder(ip: string): string | undefined {
    const name = this.facts.address(ip);
    return name?.pod === undefined ? name?.node : `${name.namespace ?? ""}/${name.pod}`;
  }

  /** An identity, or where the pods' own port names count, their class. */
  owner(number: number): IdentityWords & { readonly ports?: readonly string[] } {
    const owner = ownerOf(number);
    const named = owner >= CLASS_PORTS ? this.facts.portClass(owner) : undefined;
    if (named === undefined) return this.identity(owner);
    return { ...this.identity(named.identity), ports: portWords(named.ports) };
  }

  /** What the pods of this class call their ports; empty: nothing. */
  ports(number: number): readonly string[] {
    return portWords(this.facts.portClass(number)?.ports ?? []);
  }

  /** Who obeys the rule set. */
  owners(ruleSet: number): readonly number[] {
    this.#owners ??= this.#readOwners();
    return this.#owners.get(ruleSet) ?? [];
  }

  /** Whom the peer of an entry under `ruleSet` means. */
  meant(ruleSet: number, peer: number): PeerWords {
    if (peer === 0) return { kind: "any" };
    if (peer >= CLASS_PORTS) {
      const named = this.facts.portClass(peer);
      return { kind: "named-ports", class: peer, ...this.identity(named?.identity ?? 0), ports: portWords(named?.ports ?? []) };
    }
    if (peer < CLASS_BLOCKS) return { kind: "identity", ...this.identity(peer) };
    this.#blocks ??= this.#readBlocks();
    return { kind: "addresses", class: peer, cidrs: this.#blocks.get(`${ruleSet}/${peer}`) ?? [] };
  }

  #readOwners(): ReadonlyMap<number, readonly number[]> {
    const owners = new Map<number, number[]>();
    for (const [, value] of this.#maps.get("subjects")?.entries() ?? []) {
      const { ruleSet, owner } = subjectCodec.decode(viewOf(value));
      if (ruleSet === 0) continue;
      const found = owners.get(ruleSet) ?? [];
      found.push(owner);
      owners.set(ruleSet, found);
    }
    return owners;
  }

  #readBlocks(): ReadonlyMap<string, readonly string[]> {
    const blocks = new Map<string, string[]>();
    for (const [key, value] of this.#maps.get("blocks")?.entries() ?? []) {
      const { ruleSet, prefix, address } = blockKeyCodec.decode(viewOf(key));
      const { world, node, pod } = blockCodec.decode(viewOf(value));
      for (const number of new Set([world, node, pod])) {
        if (number === 0) continue;
        const found = blocks.get(`${ruleSet}/${number}`) ?? [];
        found.push(formatCidr({ prefix: prefix - RULE_SET_BITS, address }));
        blocks.set(`${ruleSet}/${number}`, found);
      }
    }
    return blocks;
  }
}

function portWords(ports: NamedPorts): readonly string[] {
  return ports.map(({ name, port, protocol }) => `${name}=${port}/${protocolName(protocol)}`);
}
