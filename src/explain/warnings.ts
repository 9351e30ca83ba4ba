/** What a policy says validly and probably does not mean. Pure. */
import { draftPolicy, selects } from "../compile/index.ts";
import type { CidrBlock, LabelPeers, PeerSelector, PolicyDraft, PortMatch, Requirement, RuleDraft } from "../compile/index.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicySpec } from "../api/meaning.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { CidrSet } from "../lib/cidr-set.ts";
import { cidrContains, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { NAMED_PREFIX } from "../model/index.ts";
import type { Labels, PolicyRow } from "../model/index.ts";

export interface Warning {
  /** One word for programs. */
  readonly reason: "SelectsNothing" | "UnreachableRule" | "ShadowedByDeny" | "AddressNotIdentity" | "NotCompared";
  /** In the policy. */
  readonly path: string;
  readonly message: string;
}

/** Addresses that the cluster gives to pods. */
export interface ClusterAddresses {
  readonly pods: CidrSet;
}

/**
 * How often one rule is held against another for one policy: each costs some microseconds, and rules that allow times
 * rules that deny may be hundreds of millions.
 */
class Comparisons {
  #left: number;

  constructor(limit: number) {
    this.#left = limit;
  }

  get isSpent(): boolean {
    return this.#left < 0;
  }

  spend(count: number): boolean {
    this.#left -= count;
    return !this.isSpent;
  }
}

/** About a tenth of a second: the operator has other policies to look at. */
const COMPARISONS = 20_000;

const NOT_COMPARED: Warning = { reason: "NotCompared", path: "spec", message: `it has so many rules that allow and that deny that not all were compared (${COMPARISONS} times): what its denials take back may not be told` };

/** Of the policy alone: no other policy, pod or identity is looked at. Its work is bounded, whatever the policy is. */
export function policyWarnings(row: PolicyRow, addresses: ClusterAddresses): readonly Warning[] {
  const drafts = draftPolicy(row);
  const comparisons = new Comparisons(COMPARISONS);
  const found = [...emptyPeers(row), ...drafts.flatMap((draft) => [...contradictions(draft), ...podAddresses(draft, addresses), ...shadows(draft, drafts, () => "", comparisons)])];
  return distinct(comparisons.isSpent ? [...found, NOT_COMPARED] : found);
}

/** Allows of the policy that a denial of another policy takes back for every pod that it selects. For one who waits for the answer. */
export function shadowWarnings(row: PolicyRow, others: readonly PolicyRow[]): readonly Warning[] {
  const denying = others.filter((other) => other !== row).flatMap((other) => draftPolicy(other)).filter(({ rules, tier }) => tier === undefined && rules.some(({ verdict }) => verdict === "deny"));
  const name = ({ ref }: PolicyDraft): string => ` of ${ref.kind} ${ref.namespace === "" ? "" : `${ref.namespace}/`}${ref.name}`;
  return distinct(draftPolicy(row).flatMap((draft) => shadows(draft, denying, name, new Comparisons(Infinity))));
}

/** Selections, of subjects and of peers, that mean none of these pods. */
export function nobodyWarnings(row: PolicyRow, pods: readonly Labels[]): readonly Warning[] {
  const isNobody = (selector: PeerSelector): boolean => selector.kind === "labels" && !namesReserved(selector) && !isOfUntold(selector) && !pods.some((labels) => selects(selector, labels));
  return distinct(draftPolicy(row).flatMap((draft): Warning[] => {
    if (isNobody(draft.subject)) return [{ reason: "SelectsNothing", path: subjectPath(draft), message: "it selects no pod that is known here" }];
    return draft.rules.flatMap(({ peer, path }) => {
      const selector = peer === undefined ? undefined : draft.selectors.get(peer);
      return selector !== undefined && isNobody(selector) ? [{ reason: "UnreachableRule", path, message: "a selector of its peers means no pod that is known here" }] : [];
    });
  }));
}

/** The compiler's own, beside a denial by labels that identities may not tell of: it normally means nobody. */
function isOfUntold({ requirements }: LabelPeers): boolean {
  return requirements.some(({ key }) => key.startsWith(NAMED_PREFIX));
}

function subjectPath({ ref, path }: PolicyDraft): string {
  const fields = { CiliumNetworkPolicy: "endpointSelector", CiliumClusterwideNetworkPolicy: "endpointSelector", NetworkPolicy: "podSelector", ClusterNetworkPolicy: "subject" } as const;
  return `${path}.${fields[ref.kind]}`;
}

function distinct(warnings: readonly Warning[]): readonly Warning[] {
  return [...new Map(warnings.map((warning) => [canonicalJson([warning.reason, warning.path]), warning])).values()];
}

/** Of Cilium's kinds an empty list of peers means nobody; of NetworkPolicy, everybody. */
function emptyPeers(row: PolicyRow): readonly Warning[] {
  if (row.kind !== "CiliumNetworkPolicy" && row.kind !== "CiliumClusterwideNetworkPolicy") return [];
  const { spec, specs = [] } = row;
  const all: readonly { readonly path: string; readonly spec: PolicySpec }[] = specsOf({ ...(spec === undefined ? {} : { spec }), specs: [...specs] });
  return all.flatMap(({ path, spec: one }) =>
    sectionsOf(one).flatMap(({ name, items }) =>
      items.flatMap((item, index): Warning[] => {
        const isEmpty = [item.endpoints, item.cidrs, item.cidrSets, item.entities].some((peers) => peers?.length === 0);
        return isEmpty ? [{ reason: "UnreachableRule", path: `${path}.${name}[${index}]`, message: "its list of peers is empty, which means nobody; leave the list out to mean everybody" }] : [];
      }),
    ),
  );
}

function contradictions(draft: PolicyDraft): readonly Warning[] {
  const subject = contradiction(draft.subject);
  if (subject !== undefined) return [{ reason: "SelectsNothing", path: subjectPath(draft), message: `no pod can meet it: ${subject}` }];
  return draft.rules.flatMap(({ peer, path }): Warning[] => {
    const selector = peer === undefined ? undefined : draft.selectors.get(peer);
    const why = selector?.kind === "labels" ? contradiction(selector) : undefined;
    return why === undefined ? [] : [{ reason: "UnreachableRule", path, message: `one of its peers is nobody: ${why}` }];
  });
}

/** Why no labels can meet all requirements; undefined: some can. */
function contradiction({ requirements }: LabelPeers): string | undefined {
  const byKey = Map.groupBy(requirements, ({ key }) => key.replace(/^any:/, "k8s:"));
  for (const [key, list] of byKey) {
    const listed = (operator: Requirement["operator"]): readonly (readonly string[])[] => list.filter((each) => each.operator === operator).map(({ values }) => values);
    const isNeeded = list.some(({ operator }) => operator === "In" || operator === "Exists");
    if (isNeeded && list.some(({ operator }) => operator === "DoesNotExist")) return `the label ${nameOf(key)} must be there and must not be there`;
    const [first, ...rest] = listed("In");
    const excluded = new Set(listed("NotIn").flat());
    if (first !== undefined && first.every((value) => excluded.has(value) || rest.some((values) => !values.includes(value)))) return `no value of the label ${nameOf(key)} is left`;
  }
  return undefined;
}

const nameOf = (key: string): string => key.replace(/^k8s:/, "");

/** Blocks of Cilium's kinds mean the outside: of a pod's address they mean nobody. */
function podAddresses(draft: PolicyDraft, { pods }: ClusterAddresses): readonly Warning[] {
  return draft.rules.flatMap(({ peer, path }): Warning[] => {
    const selector = peer === undefined ? undefined : draft.selectors.get(peer);
    if (selector?.kind !== "cidrs" || selector.scopes.includes("pods")) return [];
    const found = selector.blocks.find(({ cidr }) => pods.holds(parseCidr(cidr)));
    return found === undefined ? [] : [{ reason: "AddressNotIdentity", path, message: `${found.cidr} is of pods, and blocks of addresses mean the outside alone: select the pods by their labels` }];
  });
}

function contains(outer: Cidr, inner: Cidr): boolean {
  return outer.prefix <= inner.prefix && cidrContains(outer, inner.address);
}

// ------------------------------------------------------------------ shadowed by a denial

/** What was found until `comparisons` is spent. */
function shadows(draft: PolicyDraft, denying: readonly PolicyDraft[], ofWhom: (denying: PolicyDraft) => string, comparisons: Comparisons): readonly Warning[] {
  if (draft.tier !== undefined) return []; // there the order decides, not the denial
  // A denial that only watches takes nothing back from what is enforced.
  const counts = ({ enforcement }: PolicyDraft): boolean => enforcement === "Enforce" || enforcement === draft.enforcement;
  const denials = denying.filter((other) => counts(other) && isWider(other.subject, draft.subject)).flatMap((other) => other.rules.filter(({ verdict }) => verdict === "deny").map((rule) => ({ other, rule })));
  if (denials.length === 0) return [];
  // An item with several peers has a rule for each: it is shadowed when all of them are.
  const allows = Map.groupBy(draft.rules.filter(({ verdict }) => verdict === "allow"), ({ path }) => path);
  return [...allows].flatMap(([path, rules]): Warning[] => {
    const found = rules.map((allow) => comparisons.isSpent ? undefined : denials.find(({ other, rule }) => rule.direction === allow.direction && comparisons.spend(1) && coversPeer(rule, other, allow, draft, comparisons) && coversPorts(rule.ports, allow.ports)));
    const by = new Set(found.map((each) => each && `${each.rule.path}${ofWhom(each.other)}`));
    return by.has(undefined) ? [] : [{ reason: "ShadowedByDeny", path, message: `all that it allows is denied by ${[...by].join(" and ")}` }];
  });
}

/** Whoever meets `narrow` meets `wide`: it asks for nothing else. */
function isWider(wide: LabelPeers, narrow: LabelPeers): boolean {
  if (namesReserved(wide) !== namesReserved(narrow)) return false;
  const asked = new Set(narrow.requirements.map((requirement) => canonicalJson(requirement)));
  return wide.requirements.every((requirement) => asked.has(canonicalJson(requirement)));
}

function namesReserved({ requirements }: LabelPeers): boolean {
  return requirements.some(({ key }) => key.startsWith("reserved:"));
}

function coversPeer(deny: RuleDraft, of: PolicyDraft, allow: RuleDraft, draft: PolicyDraft, comparisons: Comparisons): boolean {
  if (deny.peer === undefined || deny.peer === allow.peer) return true;
  const wide = of.selectors.get(deny.peer);
  const narrow = allow.peer === undefined ? undefined : draft.selectors.get(allow.peer);
  if (wide === undefined || narrow === undefined) return false;
  if (wide.kind === "labels") return narrow.kind === "labels" && isWider(wide, narrow);
  return narrow.kind === "cidrs" && comparisons.spend(narrow.blocks.length * wide.blocks.length) && narrow.scopes.every((scope) => wide.scopes.includes(scope)) && narrow.blocks.every((block) => wide.blocks.some((other) => holdsBlock(other, block)));
}

function holdsBlock(outer: CidrBlock, inner: CidrBlock): boolean {
  const cidr = parseCidr(inner.cidr);
  const isApart = (text: string): boolean => !contains(parseCidr(text), cidr) && !contains(cidr, parseCidr(text));
  return contains(parseCidr(outer.cidr), cidr) && outer.except.every((text) => isApart(text) || inner.except.includes(text));
}

function coversPorts(wide: readonly PortMatch[], narrow: readonly PortMatch[]): boolean {
  return narrow.every((match) => wide.some((other) => coversPort(other, match)));
}

function coversPort(wide: PortMatch, narrow: PortMatch): boolean {
  if ("name" in wide) return "name" in narrow && wide.name === narrow.name && (wide.protocol === 0 || wide.protocol === narrow.protocol);
  if (wide.protocol === 0) return true;
  if (wide.protocol !== narrow.protocol) return false;
  if ("name" in narrow) return wide.prefix === 0;
  return wide.prefix <= narrow.prefix && wide.port >> (16 - wide.prefix) === narrow.port >> (16 - wide.prefix);
}
