/**
 * How much a policy asks of the nodes, reckoned without taking it apart, so that one that is too large costs nothing; and
 * what is left of a policy for which there is no room. Pure.
 */
import type { NetworkPolicyPeer, NetworkPolicyPort } from "../api/network-policy.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicySpec, SectionItem } from "../api/meaning.ts";
import type { CiliumPolicyRow, KubernetesPolicyRow, PolicyRow } from "../model/snapshot.ts";

export interface PolicySize {
  /** Peers times ports, over all items. */
  readonly rules: number;
  /** Blocks of addresses with their exceptions, those of groups in their place. */
  readonly blocks: number;
}

/** A range of ports is at most so many prefixes. */
const RANGE = 16;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export function policySize(row: PolicyRow): PolicySize {
  const sizes = row.kind === "NetworkPolicy" ? networkPolicySizes(row) : ciliumPolicySizes(row);
  return { rules: sum(sizes.map(({ rules }) => rules)), blocks: sum(sizes.map(({ blocks }) => blocks)) };
}

function specsOfRow({ spec, specs = [] }: CiliumPolicyRow): readonly PolicySpec[] {
  return specsOf({ ...(spec === undefined ? {} : { spec }), specs: [...specs] }).map((one) => one.spec);
}

function ciliumPolicySizes(row: CiliumPolicyRow): readonly PolicySize[] {
  return specsOfRow(row).flatMap((spec) => sectionsOf(spec).flatMap(({ items }) => items.map(itemSize)));
}

function itemSize({ endpoints, entities, cidrs, cidrSets, toPorts, icmps }: SectionItem): PolicySize {
  const blocks = (cidrs?.length ?? 0) + sum((cidrSets ?? []).map(({ except }) => 1 + (except?.length ?? 0)));
  const ports = toPorts === undefined ? sum((icmps ?? [{ fields: [undefined] }]).map(({ fields }) => fields.length)) : sum(toPorts.map(({ ports: all }) => sum(all.map(({ endPort = 0 }) => (endPort === 0 ? 1 : RANGE)))));
  return { rules: (endpoints ?? entities ?? [undefined]).length * ports, blocks };
}

function networkPolicySizes({ spec: { ingress = [], egress = [] } }: KubernetesPolicyRow): readonly PolicySize[] {
  const sizeOf = (peers: readonly NetworkPolicyPeer[] = [], ports: readonly NetworkPolicyPort[] = []): PolicySize => ({
    rules: Math.max(1, peers.length) * Math.max(1, sum(ports.map(({ endPort }) => (endPort === undefined ? 1 : RANGE)))),
    blocks: sum(peers.map(({ ipBlock }) => (ipBlock === undefined ? 0 : 1 + (ipBlock.except?.length ?? 0)))),
  });
  return [...ingress.map(({ from, ports }) => sizeOf(from, ports)), ...egress.map(({ to, ports }) => sizeOf(to, ports))];
}

/** The policy without its rules: it closes the directions that it closed, and allows and denies nothing. */
export function withoutRules(row: PolicyRow): PolicyRow {
  if (row.kind === "NetworkPolicy") {
    const { policyTypes = [], egress = [] } = row.spec;
    const closed = policyTypes.length > 0 ? policyTypes : egress.length > 0 ? (["Ingress", "Egress"] as const) : (["Ingress"] as const);
    return { ...row, spec: { ...row.spec, policyTypes: [...closed], ingress: [], egress: [] } };
  }
  const emptied = (spec: PolicySpec): PolicySpec => ({ ...spec, ...Object.fromEntries(sectionsOf(spec).map(({ name }) => [name, []])) });
  return { ...row, ...(row.spec === undefined ? {} : { spec: emptied(row.spec) }), ...(row.specs === undefined ? {} : { specs: row.specs.map(emptied) }) };
}
