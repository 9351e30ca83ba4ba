/**
 * How much the policies of one namespace may ask of the nodes, those of the whole cluster being one more: beyond it the
 * largest are left out, so that neither the others there nor any other namespace feel it. Which ones follows from the
 * policies alone, never from the order in which they came.
 */
import type { PolicySize } from "../compile/index.ts";

/** More than a rule set can have in the maps of a node as they are by default. */
export const NAMESPACE_QUOTA: PolicySize = { rules: 65_536, blocks: 65_536 };

interface Usage {
  readonly sizes: Map<string, PolicySize>;
  rules: number;
  blocks: number;
  /** Policy -> why it is left out. */
  refused: ReadonlyMap<string, string>;
}

const NOBODY: ReadonlyMap<string, string> = new Map();

export class PolicyQuota {
  readonly #most: PolicySize;
  readonly #usages = new Map<string, Usage>();

  constructor(most = NAMESPACE_QUOTA) {
    this.#most = most;
  }

  /** Why the policy is left out; undefined: it is not. */
  refusal(namespace: string, key: string): string | undefined {
    return this.#usages.get(namespace)?.refused.get(key);
  }

  /** The policy has this size now; undefined: it is gone. Returns all policies that are left out, or not, otherwise than before. */
  changed(namespace: string, key: string, size: PolicySize | undefined): readonly string[] {
    const usage = this.#usages.get(namespace) ?? { sizes: new Map<string, PolicySize>(), rules: 0, blocks: 0, refused: NOBODY };
    const previous = usage.sizes.get(key);
    usage.rules += (size?.rules ?? 0) - (previous?.rules ?? 0);
    usage.blocks += (size?.blocks ?? 0) - (previous?.blocks ?? 0);
    if (size === undefined) usage.sizes.delete(key);
    else usage.sizes.set(key, size);
    if (usage.sizes.size === 0) this.#usages.delete(namespace);
    else this.#usages.set(namespace, usage);
    const before = usage.refused;
    usage.refused = this.#refused(namespace, usage);
    return [...new Set([...before.keys(), ...usage.refused.keys()])].filter((one) => before.get(one) !== usage.refused.get(one));
  }

  #refused(namespace: string, usage: Usage): ReadonlyMap<string, string> {
    if (usage.rules <= this.#most.rules && usage.blocks <= this.#most.blocks) return NOBODY;
    const whose = namespace === "" ? "the policies of the whole cluster" : `the policies of namespace ${namespace}`;
    const why = ({ rules, blocks }: PolicySize): string =>
      `it asks for ${rules} rules and ${blocks} blocks of addresses; ${whose} ask for ${usage.rules} and ${usage.blocks}, and may have ${this.#most.rules} and ${this.#most.blocks}: the largest are left out`;
    const bySize = [...usage.sizes].sort(([a, one], [b, other]) => Math.max(one.rules, one.blocks) - Math.max(other.rules, other.blocks) || (a < b ? -1 : 1));
    const refused = new Map<string, string>();
    let [rules, blocks] = [0, 0];
    for (const [key, size] of bySize) {
      const fits = rules + size.rules <= this.#most.rules && blocks + size.blocks <= this.#most.blocks;
      if (!fits) refused.set(key, why(size));
      else [rules, blocks] = [rules + size.rules, blocks + size.blocks];
    }
    return refused;
  }
}
