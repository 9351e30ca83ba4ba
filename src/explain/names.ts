/** Names of DNS whose addresses nobody would learn. Pure. */
import { applicationRulesOf } from "../api/application-rules.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicyRow } from "../model/index.ts";

export interface UnlearnedName {
  readonly path: string;
  readonly message: string;
}

/** What a name means is heard where its pods ask for it: by a rule on DNS, which may be another policy's too. */
export function unlearnedNames(row: PolicyRow): readonly UnlearnedName[] {
  if (row.kind !== "CiliumNetworkPolicy" && row.kind !== "CiliumClusterwideNetworkPolicy") return [];
  const { spec, specs = [] } = row;
  const all = specsOf({ ...(spec === undefined ? {} : { spec }), specs: [...specs] });
  const items = all.flatMap(({ path, spec: one }) => sectionsOf(one).flatMap(({ name, items: own }) => own.map((item, index) => ({ item, path: `${path}.${name}[${index}]` }))));
  if (items.some(({ item }) => item.toPorts?.some((ports) => applicationRulesOf(ports)?.dns !== undefined) === true)) return [];
  const message = "the policy has no rule on DNS (toPorts with rules.dns), by which the addresses of these names are learned; without one in another policy of these pods they mean nobody";
  return items.flatMap(({ item, path }) => (item.names === undefined ? [] : [{ path: `${path}.toFQDNs`, message }]));
}
