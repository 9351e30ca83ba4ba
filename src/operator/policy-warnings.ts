/** What policies say validly and probably do not mean: found once for each version, as long as nodes give pods the same addresses. */
import { policyWarnings } from "../explain/warnings.ts";
import type { Warning } from "../explain/warnings.ts";
import { CidrSet } from "../lib/cidr-set.ts";
import { parseCidr } from "../lib/ip.ts";
import type { PolicyRow } from "../model/index.ts";
import type { NodeRow } from "./rows.ts";

export class PolicyWarnings {
  readonly #found = new WeakMap<PolicyRow, { readonly pods: CidrSet; readonly warnings: readonly Warning[] }>();
  readonly #ofNodes = new Map<string, readonly string[]>();
  #pods: CidrSet | undefined;

  nodeChanged(node: string, value: NodeRow | undefined): void {
    const before = this.#ofNodes.get(node) ?? [];
    const now = value?.podCidrs ?? [];
    if (before.join() === now.join()) return;
    if (value === undefined) this.#ofNodes.delete(node);
    else this.#ofNodes.set(node, now);
    this.#pods = undefined;
  }

  of(policy: PolicyRow | undefined): readonly Warning[] {
    if (policy === undefined) return [];
    this.#pods ??= new CidrSet([...this.#ofNodes.values()].flat().map((text) => parseCidr(text, { maskHostBits: true })));
    const known = this.#found.get(policy);
    if (known !== undefined && known.pods === this.#pods) return known.warnings;
    const warnings = policyWarnings(policy, { pods: this.#pods });
    this.#found.set(policy, { pods: this.#pods, warnings });
    return warnings;
  }
}
