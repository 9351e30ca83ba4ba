/**
 * The address blocks of one rule set → what its part of the map `blocks` holds. Pure.
 *
 * The map gives an address its longest block, so each block stands for its addresses without those of the longer blocks
 * inside it: for all of these the same selectors hold. Each distinct set of selectors is a class, which stands in the keys
 * of `policy` as a peer does (bpf/README.md).
 */
import type { CidrPeers, PeerScope, SelectorId } from "../compile/state.ts";
import { CLASS_BLOCKS } from "../kernel/gen/types.ts";
import type { Block } from "../kernel/gen/types.ts";
import { CapacityExceeded } from "../reconcile/target.ts";
import { CodedError } from "../lib/errors.ts";
import { cidrContains, compareAddresses, formatCidr, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";

/** All IPv4 addresses, mapped: inside of `::/0` as the map sees it, and in none of its addresses as a rule means it. */
const IPV4 = parseCidr("0.0.0.0/0");

/**
 * Selectors that hold for a block, over all blocks. Each set of them is a text: with wide blocks of many selectors around
 * many small ones they would fill the memory long before the map.
 */
const MOST_OVERLAPS = 1 << 20;

export interface BlockEntry extends Cidr {
  readonly value: Block;
}

export interface ExpandedBlocks {
  /** By text of the CIDR. */
  readonly entries: ReadonlyMap<string, BlockEntry>;
  /** Selector -> classes whose addresses it means. */
  readonly classes: ReadonlyMap<SelectorId, readonly number[]>;
}

/** One block of one selector. */
interface Source {
  readonly selector: SelectorId;
  readonly scopes: readonly PeerScope[];
}

/** What begins and ends at a CIDR. */
interface Edge {
  readonly cidr: Cidr;
  readonly begins: Source[];
  readonly ends: Source[];
}

/**
 * Equal selectors give equal numbers: they follow from the selectors' ids alone.
 *
 * @throws CodedError CAPACITY: more than `room` blocks, or MOST_OVERLAPS.
 */
export function expandBlocks(selectors: ReadonlyMap<SelectorId, CidrPeers>, room: number): ExpandedBlocks {
  const regions = regionsOf(edgesOf(selectors, room));
  const sets = new Set(regions.flatMap(({ world, nodes, pods }) => [world, nodes, pods]));
  sets.delete("");
  const numbers = new Map([...sets].sort().map((set, index) => [set, CLASS_BLOCKS + index]));
  const classes = new Map<SelectorId, number[]>([...selectors.keys()].map((selector) => [selector, []]));
  for (const [set, number] of numbers) for (const selector of set.split(" ")) classes.get(selector)?.push(number);
  const number = (set: string): number => numbers.get(set) ?? 0;
  const entries = regions.map(({ cidr, world, nodes, pods }) => {
    const value = { world: number(world), node: number(nodes), pod: number(pods) };
    return [formatCidr(cidr), { ...cidr, value }] as const;
  });
  return { entries: new Map(entries), classes };
}

function edgesOf(selectors: ReadonlyMap<SelectorId, CidrPeers>, room: number): Edge[] {
  const edges = new Map<string, Edge>();
  const at = (cidr: Cidr): Edge => {
    const text = formatCidr(cidr);
    const known = edges.get(text) ?? { cidr, begins: [], ends: [] };
    edges.set(text, known);
    if (edges.size > room) throw new CapacityExceeded("blocks", undefined, room);
    return known;
  };
  for (const [selector, { blocks, scopes }] of selectors) {
    for (const block of blocks) {
      const cidr = parseCidr(block.cidr);
      const excepts = block.except.map((text) => parseCidr(text)).filter((except) => isIPv4(except) === isIPv4(cidr));
      if (excepts.some((except) => contains(except, cidr))) continue;
      const source: Source = { selector, scopes };
      at(cidr).begins.push(source);
      for (const except of excepts) if (contains(cidr, except)) at(except).ends.push(source);
      if (!isIPv4(cidr) && contains(cidr, IPV4)) at(IPV4).ends.push(source);
    }
  }
  return [...edges.values()].sort((a, b) => compareAddresses(a.cidr.address, b.cidr.address) || a.cidr.prefix - b.cidr.prefix);
}

interface Region extends Readonly<Record<PeerScope, string>> {
  readonly cidr: Cidr;
}

/** In this order whoever holds a CIDR comes before it, and the last of those that hold it is the smallest. */
function regionsOf(edges: readonly Edge[]): Region[] {
  const around: { readonly cidr: Cidr; readonly sources: ReadonlySet<Source> }[] = [];
  let overlaps = 0;
  return edges.map(({ cidr, begins, ends }) => {
    while (around.length > 0 && !contains((around.at(-1) as (typeof around)[number]).cidr, cidr)) around.pop();
    const sources = new Set([...(around.at(-1)?.sources ?? []), ...begins]);
    for (const source of ends) sources.delete(source);
    overlaps += sources.size;
    if (overlaps > MOST_OVERLAPS) throw new CodedError("CAPACITY", `the blocks of addresses of its rules lie inside of one another more than ${MOST_OVERLAPS} times; fewer wide blocks, each in rules of its own, have room`);
    around.push({ cidr, sources });
    return { cidr, world: setText(sources, "world"), nodes: setText(sources, "nodes"), pods: setText(sources, "pods") };
  });
}

function setText(sources: ReadonlySet<Source>, scope: PeerScope): string {
  const selectors = [...sources].filter(({ scopes }) => scopes.includes(scope)).map(({ selector }) => selector);
  return [...new Set(selectors)].sort().join(" ");
}

const isIPv4 = (cidr: Cidr): boolean => contains(IPV4, cidr);

function contains(outer: Cidr, inner: Cidr): boolean {
  return outer.prefix <= inner.prefix && cidrContains(outer, inner.address);
}
