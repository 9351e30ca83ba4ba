/**
 * What policies name by other objects (groups of blocks, nodes, services), put in the place where they name it: the rest
 * of the compiler knows blocks, addresses and labels alone. What does not exist means nobody. Pure.
 */
import { clusterPolicyRules } from "../api/cluster-network-policy.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { SectionItem, ServiceReference } from "../api/meaning.ts";
import type { Problem } from "../api/problem.ts";
import type { CiliumPolicyRow, ClusterPolicyRow, PolicyRow, Referents } from "../model/snapshot.ts";
import { blocksOfGroups, namesGroups, withBlocks } from "./cidr-groups.ts";
import type { CidrGroups } from "./cidr-groups.ts";
import { isEveryNode, nodeAddresses } from "./node-peers.ts";
import type { NodePeers } from "./node-peers.ts";
import { backends } from "./service-peers.ts";
import type { ServicePeers } from "./service-peers.ts";

/** The objects that policies may name. */
export interface Directory {
  readonly groups: CidrGroups;
  readonly nodes: NodePeers;
  readonly services: ServicePeers;
}

/** What a policy names. */
export interface Naming {
  readonly groups: boolean;
  readonly nodes: boolean;
  readonly services: readonly ServiceReference[];
}

export interface ResolvedPolicy {
  /** The policy itself when it names nothing. */
  readonly row: PolicyRow;
  readonly names: Naming;
  /** By path in the policy, what a name does not mean; undefined: it names nothing. */
  readonly unresolved: readonly Problem[] | undefined;
  /** How many blocks, with exceptions, stand for the names. */
  readonly blocks: number;
}

const NOTHING: Naming = { groups: false, nodes: false, services: [] };

/** Of more blocks than `most` nothing is made: the names stay, and mean nobody. */
export function resolveReferences(row: PolicyRow, directory: Directory, most = Number.POSITIVE_INFINITY): ResolvedPolicy {
  if (row.kind === "NetworkPolicy") return { row, names: NOTHING, unresolved: undefined, blocks: 0 };
  const unresolved: Problem[] = [];
  const referents = row.kind === "ClusterNetworkPolicy" ? referentsOfTier(row, directory, unresolved) : referentsOf(row, directory, unresolved);
  const names = row.kind === "ClusterNetworkPolicy" ? { ...NOTHING, nodes: referents.size > 0 } : namesOf(row);
  if (!names.groups && !names.nodes && names.services.length === 0) return { row, names, unresolved: undefined, blocks: 0 };
  const addresses = [...referents.values()].reduce((sum, each) => sum + each.nodes.length + each.endpoints.length, 0);
  const blocks = addresses + (row.kind === "ClusterNetworkPolicy" ? 0 : blocksOfGroups(row, directory.groups));
  if (blocks > most) return { row, names, unresolved: [], blocks };
  const whole = row.kind === "ClusterNetworkPolicy" ? row : withBlocks(row, directory.groups, unresolved);
  return { row: referents.size === 0 ? whole : { ...whole, referents: Object.fromEntries(referents) }, names, unresolved, blocks };
}

function namesOf(row: CiliumPolicyRow): Naming {
  const items = itemsOf(row).map(({ item }) => item);
  return { groups: namesGroups(row), nodes: items.some((item) => item.nodes !== undefined), services: items.flatMap((item) => item.services ?? []) };
}

function referentsOf(row: CiliumPolicyRow, { nodes, services }: Directory, unresolved: Problem[]): ReadonlyMap<string, Referents> {
  const referents = new Map<string, Referents>();
  for (const { path, field, item } of itemsOf(row)) {
    if (item.nodes === undefined && item.services === undefined) continue;
    const addresses = (item.nodes ?? []).flatMap((selector, at) => nodeAddresses(selector, `${path}.${field}Nodes[${at}]`, nodes, unresolved));
    referents.set(path, { nodes: [...new Set(addresses)].sort(), ...backends(item.services ?? [], `${path}.toServices`, row.namespace, services, unresolved) });
  }
  return referents;
}

function referentsOfTier({ spec }: ClusterPolicyRow, { nodes }: Directory, unresolved: Problem[]): ReadonlyMap<string, Referents> {
  const referents = new Map<string, Referents>();
  for (const { peers, peersPath } of clusterPolicyRules(spec)) {
    for (const [at, { nodes: selector }] of peers.entries()) {
      if (selector === undefined || isEveryNode(selector)) continue;
      const path = `${peersPath}[${at}]`;
      referents.set(path, { nodes: [...nodeAddresses(selector, `${path}.nodes`, nodes, unresolved)].sort(), pods: [], endpoints: [] });
    }
  }
  return referents;
}

interface PlacedItem {
  readonly path: string;
  /** What the names of its peers' fields begin with. */
  readonly field: "from" | "to";
  readonly item: SectionItem;
}

function itemsOf({ spec, specs = [] }: CiliumPolicyRow): readonly PlacedItem[] {
  return specsOf({ ...(spec === undefined ? {} : { spec }), specs: [...specs] }).flatMap(({ path, spec: one }) =>
    sectionsOf(one).flatMap(({ name, direction, items }) => items.map((item, index) => ({ path: `${path}.${name}[${index}]`, field: direction === "ingress" ? ("from" as const) : ("to" as const), item }))),
  );
}
