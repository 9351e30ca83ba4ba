/**
 * What policies say validly and probably do not mean: of each version found once, as long as nodes give pods the same
 * addresses and the same policies deny. A change of those that deny is told, so that the status of all whom it may concern
 * is looked at again.
 */
import type { PolicyOptions } from "../compile/index.ts";
import { denialsOf, distinct, policyWarnings, shadowWarnings, stagedNames, stagingWarnings } from "../explain/warnings.ts";
import type { ClusterAddresses, Warning } from "../explain/warnings.ts";
import type { Denials } from "../explain/shadows.ts";
import { CidrSet } from "../lib/cidr-set.ts";
import { parseBlock } from "../api/meaning.ts";
import type { PolicyRow } from "../model/index.ts";
import type { NodeRow } from "./rows.ts";

export interface PolicyWarningsOptions {
  readonly policyOptions: PolicyOptions;
  /** Namespace -> policies in force; a change makes a new array. */
  readonly policies: () => ReadonlyMap<string, readonly PolicyRow[]>;
  /** What the policies of the namespace deny has changed; of "" those of the whole cluster. */
  readonly onDenials: (namespace: string) => void;
}

/** Those of one namespace that deny, and those that stage others or are staged: what depends on which of them there are. */
interface Denying {
  readonly all: readonly PolicyRow[];
  readonly rows: readonly PolicyRow[];
  readonly denials: Denials;
}

interface Found {
  readonly addresses: ClusterAddresses;
  readonly denials: readonly Denials[];
  readonly warnings: readonly Warning[];
}

/** How often rules of one namespace are held against denials of others there, all policies together: some seconds' work, in pieces. */
const COMPARISONS = 1_000_000;
const MOST_FOR_ONE = 20_000;
const NONE: readonly PolicyRow[] = [];

export class PolicyWarnings {
  readonly #options: PolicyWarningsOptions;
  readonly #found = new WeakMap<PolicyRow, Found>();
  readonly #nodes = new Map<string, Pick<NodeRow, "podCidrs" | "addresses">>();
  readonly #denying = new Map<string, Denying>();
  #addresses: ClusterAddresses | undefined;

  constructor(options: PolicyWarningsOptions) {
    this.#options = options;
  }

  nodeChanged(node: string, value: NodeRow | undefined): void {
    const said = ({ podCidrs = [], addresses = [] }: Pick<NodeRow, "podCidrs" | "addresses"> = {}): string => `${podCidrs.join()} ${addresses.join()}`;
    if (said(this.#nodes.get(node)) === said(value)) return;
    if (value === undefined) this.#nodes.delete(node);
    else this.#nodes.set(node, value);
    this.#addresses = undefined;
  }

  of(policy: PolicyRow | undefined): readonly Warning[] {
    if (policy === undefined) return [];
    this.#addresses ??= addressesOf([...this.#nodes.values()]);
    const denials = [...new Set([policy.namespace, ""])].map((namespace) => this.denialsIn(namespace));
    const known = this.#found.get(policy);
    if (known !== undefined && known.addresses === this.#addresses && known.denials.every((one, index) => one === denials[index])) return known.warnings;
    const { policyOptions, policies } = this.#options;
    const limit = Math.min(MOST_FOR_ONE, Math.ceil(COMPARISONS / (policies().get(policy.namespace)?.length ?? 1)));
    const warnings = distinct([...policyWarnings(policy, this.#addresses, policyOptions), ...shadowWarnings(policy, denials, policyOptions, limit), ...stagingWarnings(policy, policies().get(policy.namespace) ?? NONE, policyOptions)]);
    this.#found.set(policy, { addresses: this.#addresses, denials, warnings });
    return warnings;
  }

  /** The same object as long as the same versions deny. To be asked for as well when a policy is gone. */
  denialsIn(namespace: string): Denials {
    const all = this.#options.policies().get(namespace) ?? NONE;
    const known = this.#denying.get(namespace);
    if (known?.all === all) return known.denials;
    const staged = new Set(all.flatMap(stagedNames));
    const rows = all.filter((row) => denies(row) || staged.has(row.name) || stagedNames(row).length > 0);
    const isSame = known !== undefined && known.rows.length === rows.length && known.rows.every((row, index) => row === rows[index]);
    const denials = isSame ? known.denials : denialsOf(rows, this.#options.policyOptions);
    this.#denying.set(namespace, { all, rows, denials });
    if (known !== undefined && !isSame) this.#options.onDenials(namespace);
    return denials;
  }
}

function addressesOf(nodes: readonly Pick<NodeRow, "podCidrs" | "addresses">[]): ClusterAddresses {
  const set = (texts: readonly string[]): CidrSet => new CidrSet(texts.map(parseBlock));
  return { pods: set(nodes.flatMap(({ podCidrs = [] }) => podCidrs)), nodes: set(nodes.flatMap(({ addresses = [] }) => addresses)) };
}

/** Cheaper than to take all policies of a namespace apart whenever one of them changes. */
function denies(row: PolicyRow): boolean {
  if (row.kind === "NetworkPolicy" || row.kind === "ClusterNetworkPolicy") return false;
  return [row.spec, ...(row.specs ?? [])].some((spec) => (spec?.ingressDeny?.length ?? 0) + (spec?.egressDeny?.length ?? 0) > 0);
}
