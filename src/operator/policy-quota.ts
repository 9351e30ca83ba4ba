/**
 * How much the policies of one namespace may ask of the nodes, those of the whole cluster being one more: beyond it the
 * largest are left out, so that neither the others there nor any other namespace feel it. Which ones follows from the
 * policies alone, never from the order in which they came. A change costs what it moves, not what there is: one namespace
 * may have a hundred thousand policies.
 */
import type { PolicySize } from "../compile/index.ts";

/** More than a rule set can have in the maps of a node as they are by default. */
export const NAMESPACE_QUOTA: PolicySize = { rules: 65_536, blocks: 65_536 };

interface Sized extends PolicySize {
  readonly key: string;
}

interface Usage {
  readonly sizes: Map<string, Sized>;
  /** The smallest, together within the quota, and all others; each in order. */
  kept: Sized[];
  refused: Sized[];
  /** Of `kept`, and of all. */
  rules: number;
  blocks: number;
  allRules: number;
  allBlocks: number;
}

export class PolicyQuota {
  readonly #most: PolicySize;
  readonly #usages = new Map<string, Usage>();

  constructor(most = NAMESPACE_QUOTA) {
    this.#most = most;
  }

  /** Why the policy is left out; undefined: it is not. */
  refusal(namespace: string, key: string): string | undefined {
    const usage = this.#usages.get(namespace);
    const size = usage?.sizes.get(key);
    if (usage === undefined || size === undefined || !isRefused(usage, size)) return undefined;
    const whose = namespace === "" ? "the policies of the whole cluster" : `the policies of namespace ${namespace}`;
    return `it asks for ${size.rules} rules and ${size.blocks} blocks of addresses; ${whose} ask for ${this.#all(usage)}, and may have ${this.#most.rules} and ${this.#most.blocks}: the largest are left out`;
  }

  /** The policy has this size now; undefined: it is gone. Returns all policies that are left out, or not, otherwise than before. */
  changed(namespace: string, key: string, size: PolicySize | undefined): readonly string[] {
    const usage = this.#usages.get(namespace) ?? { sizes: new Map<string, Sized>(), kept: [], refused: [], rules: 0, blocks: 0, allRules: 0, allBlocks: 0 };
    const told = this.#all(usage);
    const moved = new Set<string>([...this.#remove(usage, key), ...(size === undefined ? [] : this.#add(usage, { key, ...size }))]);
    for (const other of this.#settle(usage)) moved.add(other);
    if (usage.sizes.size === 0) this.#usages.delete(namespace);
    else this.#usages.set(namespace, usage);
    if (told !== this.#all(usage)) for (const other of usage.refused) moved.add(other.key);
    return [...moved];
  }

  #remove(usage: Usage, key: string): readonly string[] {
    const known = usage.sizes.get(key);
    if (known === undefined) return [];
    const wasRefused = isRefused(usage, known);
    usage.sizes.delete(key);
    account(usage, known, -1, !wasRefused);
    const list = wasRefused ? usage.refused : usage.kept;
    list.splice(placeOf(list, known), 1);
    return wasRefused ? [key] : [];
  }

  #add(usage: Usage, size: Sized): readonly string[] {
    const [smallest] = usage.refused;
    const isKept = smallest === undefined || order(size, smallest) < 0;
    usage.sizes.set(size.key, size);
    account(usage, size, 1, isKept);
    const list = isKept ? usage.kept : usage.refused;
    list.splice(placeOf(list, size), 0, size);
    return isKept ? [] : [size.key];
  }

  /** The boundary moves to where it belongs. Returns those who are on its other side now. */
  #settle(usage: Usage): readonly string[] {
    const moved: string[] = [];
    const evicted: Sized[] = [];
    while (usage.rules > this.#most.rules || usage.blocks > this.#most.blocks) {
      const largest = usage.kept.pop();
      if (largest === undefined) break;
      evicted.push(largest);
      count(usage, largest, -1);
    }
    if (evicted.length > 0) usage.refused = [...evicted.reverse(), ...usage.refused];
    let admitted = 0;
    for (const one of evicted.length > 0 ? [] : usage.refused) {
      if (usage.rules + one.rules > this.#most.rules || usage.blocks + one.blocks > this.#most.blocks) break;
      count(usage, one, 1);
      admitted++;
    }
    const back = usage.refused.splice(0, admitted);
    if (admitted > 0) usage.kept = [...usage.kept, ...back];
    for (const { key } of [...evicted, ...back]) moved.push(key);
    return moved;
  }

  /** Beyond the quota in powers of two: else each change would change what all that are left out say. */
  #all({ allRules, allBlocks }: Usage): string {
    const beyond = (all: number, most: number, what: string): readonly string[] => (all <= most ? [] : [`more than ${most * 2 ** Math.floor(Math.log2((all - 1) / most))} ${what}`]);
    return [...beyond(allRules, this.#most.rules, "rules"), ...beyond(allBlocks, this.#most.blocks, "blocks")].join(" and ");
  }
}

function order(a: Sized, b: Sized): number {
  return Math.max(a.rules, a.blocks) - Math.max(b.rules, b.blocks) || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** All that are left out come after all that are not. */
function isRefused({ refused: [smallest] }: Usage, size: Sized): boolean {
  return smallest !== undefined && order(size, smallest) >= 0;
}

/** Where it is, or would stand. */
function placeOf(list: readonly Sized[], size: Sized): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order(list[middle] as Sized, size) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function account(usage: Usage, size: Sized, sign: 1 | -1, isKept: boolean): void {
  usage.allRules += sign * size.rules;
  usage.allBlocks += sign * size.blocks;
  if (isKept) count(usage, size, sign);
}

function count(usage: Usage, { rules, blocks }: Sized, sign: 1 | -1): void {
  usage.rules += sign * rules;
  usage.blocks += sign * blocks;
}
