/** CiliumCIDRGroups put in the place where a policy names them. A group that does not exist means nobody. Pure. */
import type { PolicySpec, SectionItem } from "../api/meaning.ts";
import { specsOf } from "../api/meaning.ts";
import type { Problem } from "../api/problem.ts";
import type { CiliumPolicyRow } from "../model/snapshot.ts";
import { selectsObject } from "./object-selector.ts";

export interface CidrGroup {
  readonly labels: Readonly<Record<string, string>>;
  /** Well-formed. */
  readonly cidrs: readonly string[];
  /** Of the group's other blocks, by path in the group. */
  readonly problems: readonly Problem[];
}

export type CidrGroups = ReadonlyMap<string, CidrGroup>;

type CidrSet = NonNullable<SectionItem["cidrSets"]>[number];
type Item = { readonly [field in "fromCIDRSet" | "toCIDRSet"]?: readonly CidrSet[] };

const FIELDS = { ingress: "fromCIDRSet", ingressDeny: "fromCIDRSet", egress: "toCIDRSet", egressDeny: "toCIDRSet" } as const;

/** The policy with blocks in the place of its groups' names. */
export function withBlocks(row: CiliumPolicyRow, groups: CidrGroups, unresolved: Problem[]): CiliumPolicyRow {
  if (!namesGroups(row)) return row;
  const resolve = (spec: PolicySpec, path: string): PolicySpec => ({ ...spec, ...resolvedSections(spec, path, groups, unresolved) });
  const spec = row.spec === undefined ? {} : { spec: resolve(row.spec, "spec") };
  const specs = row.specs === undefined ? {} : { specs: row.specs.map((each, index) => resolve(each, `specs[${index}]`)) };
  return { ...row, ...spec, ...specs };
}

function setsOfGroups({ spec, specs = [] }: CiliumPolicyRow): readonly CidrSet[] {
  const all = specsOf({ ...(spec === undefined ? {} : { spec }), specs: [...specs] });
  return all.flatMap(({ spec: one }) => sections(one).flatMap(([, field, items]) => items.flatMap((item) => (item[field] ?? []).filter(isGroup))));
}

export function namesGroups(row: CiliumPolicyRow): boolean {
  return setsOfGroups(row).length > 0;
}

export function blocksOfGroups(row: CiliumPolicyRow, groups: CidrGroups): number {
  const sizes = setsOfGroups(row).map((set) => named(set, groups).reduce((sum, [, { cidrs }]) => sum + cidrs.length, 0) * (1 + (set.except?.length ?? 0)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function named({ cidrGroupRef, cidrGroupSelector }: CidrSet, groups: CidrGroups): readonly (readonly [name: string, group: CidrGroup])[] {
  return [...groups].filter(([name, { labels }]) => name === cidrGroupRef || (cidrGroupSelector !== undefined && selectsObject(cidrGroupSelector, labels)));
}

function isGroup({ cidrGroupRef, cidrGroupSelector }: CidrSet): boolean {
  return cidrGroupRef !== undefined || cidrGroupSelector !== undefined;
}

function sections(spec: PolicySpec): readonly (readonly [name: keyof typeof FIELDS, field: keyof Item, items: readonly Item[]])[] {
  return (Object.keys(FIELDS) as (keyof typeof FIELDS)[]).flatMap((name) => {
    const items = spec[name] as readonly Item[] | undefined;
    return items === undefined ? [] : [[name, FIELDS[name], items] as const];
  });
}

function resolvedSections(spec: PolicySpec, path: string, groups: CidrGroups, unresolved: Problem[]): Partial<PolicySpec> {
  const resolved = sections(spec).map(([name, field, items]) => {
    const inItem = (item: Item, index: number): Item => {
      const sets = item[field];
      if (sets === undefined) return item;
      return { ...item, [field]: sets.flatMap((set, at) => (isGroup(set) ? blocksOf(set, `${path}.${name}[${index}].${field}[${at}]`, groups, unresolved) : [set])) };
    };
    return [name, items.map(inItem)] as const;
  });
  return Object.fromEntries(resolved);
}

function blocksOf(set: CidrSet, path: string, groups: CidrGroups, unresolved: Problem[]): readonly CidrSet[] {
  const { cidrGroupRef, except } = set;
  const found = named(set, groups);
  const field = cidrGroupRef === undefined ? "cidrGroupSelector" : "cidrGroupRef";
  if (found.length === 0) {
    const missing = cidrGroupRef === undefined ? "no CiliumCIDRGroup has these labels" : `there is no CiliumCIDRGroup ${cidrGroupRef}`;
    unresolved.push({ path: `${path}.${field}`, message: `${missing}: it means nobody` });
  }
  for (const [name, { problems }] of found) for (const problem of problems) unresolved.push({ path: `${path}.${field}`, message: `CiliumCIDRGroup ${name}: ${problem.path}: ${problem.message}: it means nobody` });
  const cidrs = found.flatMap(([, group]) => group.cidrs);
  return cidrs.map((cidr) => ({ cidr, ...(except === undefined ? {} : { except }) }));
}
