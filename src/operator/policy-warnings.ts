/** What policies say validly and probably do not mean: found once for each version, as long as nodes give pods the same addresses. */
import { policyWarnings } from "../explain/warnings.ts";
import type { Warning } from "../explain/warnings.ts";
import { parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import type { PolicyRow } from "../model/index.ts";
import type { NodeRow } from "./rows.ts";

export class PolicyWarnings {
  readonly #found = new WeakMap<PolicyRow, { readonly podCidrs: readonly Cidr[]; readonly warnings: readonly Warning[] }>();
  readonly #ofNodes = new Map<string, readonly string[]>();
  #podCidrs: readonly Cidr[] | undefined;

  nodeChanged(node: string, value: NodeRow | undefined): void {
    const before = this.#ofNodes.get(node) ?? [];
    const now = value?.podCidrs ?? [];
    if (before.join() === now.join()) return;
    if (value === undefined) this.#ofNodes.delete(node);
    else this.#ofNodes.set(node, now);
    this.#podCidrs = undefined;
  }

  of(policy: PolicyRow | undefined): readonly Warning[] {
    if (policy === undefined) return [];
    this.#podCidrs ??= [...this.#ofNodes.values()].flat().map((text) => parseCidr(text, { maskHostBits: true }));
    const known = this.#found.get(policy);
    if (known !== undefined && known.podCidrs === this.#podCidrs) return known.warnings;
    const warnings = policyWarnings(policy, { podCidrs: this.#podCidrs });
    this.#found.set(policy, { podCidrs: this.#podCidrs, warnings });
    return warnings;
  }
}
