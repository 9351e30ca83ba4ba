/** The ports, and the addresses of the outside, that rules tell apart: within one region all are judged alike. */
import { Direction as DirectionNumber } from "../kernel/gen/types.ts";
import { cidrContains, cidrSize, formatAddress, fromBigInt, parseCidr, toBigInt } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import type { Direction } from "../compile/state.ts";
import { protocolName } from "../hubble/index.ts";
import type { Expanded } from "../targets/expand.ts";
import type { PortSpec } from "./parties.ts";

/** Numbers of one protocol, or (protocol 0) all that no rule names. */
export interface PortRegion {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

const ICMP: readonly number[] = [1, 58];
const PORTS = 0x1_0000;
const TYPES = 0x100;
/** A number that no protocol has (IANA: reserved): judged as all that rules do not name. */
const NO_PROTOCOL = 255;

/** @param rules each with the direction in which it is asked. */
export function portRegions(rules: readonly (readonly [Expanded, Direction])[]): readonly PortRegion[] {
  const cuts = new Map<number, Set<number>>();
  for (const [{ entries }, direction] of rules) {
    const wanted = direction === "ingress" ? DirectionNumber.INGRESS : DirectionNumber.EGRESS;
    for (const { key } of entries.values()) {
      if (key.direction !== wanted || key.protocol === 0) continue;
      const known = cuts.get(key.protocol) ?? new Set<number>();
      cuts.set(key.protocol, known.add(key.port).add(key.port + 2 ** (16 - key.portPrefix)));
    }
  }
  const named = [...cuts].sort(([a], [b]) => a - b).flatMap(([protocol, at]) => regionsOf(protocol, at));
  return [...named, { protocol: 0, first: 0, last: 0 }];
}

function regionsOf(protocol: number, cuts: ReadonlySet<number>): readonly PortRegion[] {
  const [least, end] = ICMP.includes(protocol) ? [0, TYPES] : [1, PORTS];
  const starts = [least, ...cuts].filter((cut) => cut >= least && cut < end);
  const sorted = [...new Set(starts)].sort((a, b) => a - b);
  return sorted.map((first, index) => ({ protocol, first, last: (sorted[index + 1] ?? end) - 1 }));
}

/** One that stands for the region. */
export function specOf({ protocol, first }: PortRegion): PortSpec {
  return protocol === 0 ? { protocol: NO_PROTOCOL, port: 0 } : { protocol, port: first };
}

/** `TCP 80`, `UDP 1-52`, `TCP`; neighbours are put together. */
export function regionTexts(regions: readonly PortRegion[], all: readonly PortRegion[]): readonly string[] {
  if (regions.length === all.length) return ["any"];
  const merged: PortRegion[] = [];
  for (const region of regions) {
    const before = merged.at(-1);
    if (before !== undefined && before.protocol === region.protocol && before.last + 1 === region.first) merged[merged.length - 1] = { ...before, last: region.last };
    else merged.push(region);
  }
  return merged.map(regionText);
}

function regionText({ protocol, first, last }: PortRegion): string {
  if (protocol === 0) return "other protocols";
  const name = protocolName(protocol);
  const isWhole = ICMP.includes(protocol) ? first === 0 && last === TYPES - 1 : first <= 1 && last === PORTS - 1;
  if (isWhole) return name;
  return `${name} ${ICMP.includes(protocol) ? "type " : ""}${first === last ? first : `${first}-${last}`}`;
}

/** For each block that the rules know, and for all that is in none: an address of it and of no narrower one. */
export function addressRegions(rules: readonly Expanded[]): readonly { readonly block: string; readonly address: string }[] {
  const blocks = new Map<string, Cidr>([["0.0.0.0/0", parseCidr("0.0.0.0/0")], ["::/0", parseCidr("::/0")]]);
  for (const { blocks: known } of rules) for (const [text, { address, prefix }] of known) blocks.set(text, { address, prefix });
  const all = [...blocks.values()];
  return [...blocks].flatMap(([block, cidr]) => {
    const inner = all.filter((other) => other.prefix > cidr.prefix && cidrContains(cidr, other.address));
    const address = outsideOf(cidr, inner);
    return address === undefined ? [] : [{ block, address: formatAddress(address) }];
  });
}

/** The first address of the block, or right behind a narrower one, that is in none of them. */
function outsideOf(cidr: Cidr, inner: readonly Cidr[]): Uint8Array | undefined {
  const ends = inner.map((other) => toBigInt(other.address) + cidrSize(other)).filter((value) => value < 1n << 128n);
  const candidates = [cidr.address, ...ends.map(fromBigInt)];
  return candidates.find((address) => cidrContains(cidr, address) && !inner.some((other) => cidrContains(other, address)));
}

/** How the rules see a peer: two that are seen alike are judged alike. */
export function usesPeer({ entries }: Expanded): ReadonlySet<number> {
  const used = new Set<number>();
  for (const { key } of entries.values()) if (key.peer !== 0) used.add(key.peer);
  return used;
}

