/** What a policy says validly and probably does not mean. Pure. */
import { DEFAULT_FAILSAFE, draftPolicy, selects, selectsHosts } from "../compile/index.ts";
import type { CidrBlock, LabelPeers, PeerSelector, PolicyDraft, PolicyOptions, Requirement } from "../compile/index.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicySpec } from "../api/meaning.ts";
import { canonicalJson } from "../lib/hash.ts";
import { closedFailsafe } from "./failsafe.ts";
import { unlearnedNames } from "./names.ts";
import type { CidrSet } from "../lib/cidr-set.ts";
import { parseCidr } from "../lib/ip.ts";
import { NAMED_PREFIX } from "../model/index.ts";
import type { Labels, PolicyRow } from "../model/index.ts";
import { Comparisons, Denials, namesReserved, shadowsOf } from "./shadows.ts";
import type { Shadow } from "./shadows.ts";

export interface Warning {
  /** One word for programs. */
  readonly reason: "SelectsNothing" | "UnreachableRule" | "ShadowedByDeny" | "AddressNotIdentity" | "NotCompared" | "FailsafeHolds" | "NamesNotLearned" | "StagesNothing";
  /** In the policy. */
  readonly path: string;
  readonly message: string;
}

/** Addresses that the cluster gives to pods, and those of its nodes. */
export interface ClusterAddresses {
  readonly pods: CidrSet;
  readonly nodes?: CidrSet;
}

/** About a tenth of a second: the operator has other policies to look at. */
const COMPARISONS = 20_000;

const NOT_COMPARED: Warning = { reason: "NotCompared", path: "spec", message: `it has so many rules that allow and that deny that not all were compared (${COMPARISONS} times): what its denials take back may not be told` };
const NOT_ALL_COMPARED: Warning = { reason: "NotCompared", path: "spec", message: "other policies deny in so many rules that not all were compared: what they take back may not be told" };

const shadowed = ({ path, message }: Shadow): Warning => ({ reason: "ShadowedByDeny", path, message });

/** Of the policy alone: no other policy, pod or identity is looked at. Its work is bounded, whatever the policy is. */
export function policyWarnings(row: PolicyRow, addresses: ClusterAddresses, options?: PolicyOptions): readonly Warning[] {
  const drafts = draftPolicy(row, options);
  const comparisons = new Comparisons(COMPARISONS);
  const own = [new Denials(drafts)];
  const found = [...emptyPeers(row), ...unlearnedNames(row).map((one): Warning => ({ reason: "NamesNotLearned", ...one })), ...drafts.flatMap((draft) => [...contradictions(draft), ...ownAddresses(draft, addresses), ...closedFailsafe(draft, options?.failsafe ?? DEFAULT_FAILSAFE), ...shadowsOf(draft, own, () => "", comparisons).map(shadowed)])];
  return distinct(comparisons.isSpent ? [...found, NOT_COMPARED] : found);
}

/** Allows of the policy that denials of others take back for every pod that it selects. `others` may have the policy's own. */
export function shadowWarnings(row: PolicyRow, others: readonly Denials[], options?: PolicyOptions, limit = COMPARISONS): readonly Warning[] {
  const name = ({ ref }: PolicyDraft): string => (ref.uid === row.uid ? "" : ` of ${ref.kind} ${ref.namespace === "" ? "" : `${ref.namespace}/`}${ref.name}`);
  const comparisons = new Comparisons(limit);
  const found = draftPolicy(row, options).flatMap((draft) => shadowsOf(draft, others, name, comparisons).map(shadowed));
  return distinct(comparisons.isSpent ? [...found, NOT_ALL_COMPARED] : found);
}

/** Denials of these policies, to be asked about each of them. */
export function denialsOf(rows: readonly PolicyRow[], options?: PolicyOptions): Denials {
  return new Denials(rows.flatMap((row) => draftPolicy(row, options)));
}

/** Selections, of subjects and of peers, that mean none of these pods. */
export function nobodyWarnings(row: PolicyRow, pods: readonly Labels[]): readonly Warning[] {
  const isNobody = (selector: PeerSelector): boolean => selector.kind === "labels" && !namesReserved(selector) && !isOfUntold(selector) && !pods.some((labels) => selects(selector, labels));
  return distinct(draftPolicy(row).flatMap((draft): Warning[] => {
    if (!selectsHosts(draft.subject) && isNobody(draft.subject)) return [{ reason: "SelectsNothing", path: subjectPath(draft), message: "it selects no pod that is known here" }];
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

function subjectPath({ ref, path, subject }: PolicyDraft): string {
  if (selectsHosts(subject)) return `${path}.nodeSelector`;
  const fields = { CiliumNetworkPolicy: "endpointSelector", CiliumClusterwideNetworkPolicy: "endpointSelector", NetworkPolicy: "podSelector", ClusterNetworkPolicy: "subject" } as const;
  return `${path}.${fields[ref.kind]}`;
}

/** Of each path one of each kind. */
export function distinct(warnings: readonly Warning[]): readonly Warning[] {
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
        const isEmpty = [item.endpoints, item.cidrs, item.cidrSets, item.entities, item.nodes, item.services].some((peers) => peers?.length === 0);
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

/** Blocks of Cilium's kinds mean the outside: of a pod's address, or a node's, they mean nobody. */
function ownAddresses(draft: PolicyDraft, { pods, nodes }: ClusterAddresses): readonly Warning[] {
  return draft.rules.flatMap(({ peer, path }): Warning[] => {
    const selector = peer === undefined ? undefined : draft.selectors.get(peer);
    if (selector?.kind !== "cidrs" || !selector.scopes.includes("world")) return []; // a node's router has an address of its pods
    const within = (set: CidrSet | undefined): CidrBlock | undefined => selector.blocks.find(({ cidr }) => set?.holds(parseCidr(cidr)));
    const ofPod = selector.scopes.includes("pods") ? undefined : within(pods);
    if (ofPod !== undefined) return [{ reason: "AddressNotIdentity", path, message: `${ofPod.cidr} is of pods, and blocks of addresses mean the outside alone: select the pods by their labels` }];
    const ofNode = selector.scopes.includes("nodes") ? undefined : within(nodes);
    return ofNode === undefined ? [] : [{ reason: "AddressNotIdentity", path, message: `${ofNode.cidr} is a node's, and blocks of addresses mean the outside alone: name the entity, such as host, remote-node or kube-apiserver` }];
  });
}

/** Who is staged by name and is not there: the policy then watches beside all others. `others` are those of its namespace. */
export function stagingWarnings(row: PolicyRow, others: readonly PolicyRow[], options?: PolicyOptions): readonly Warning[] {
  return draftPolicy(row, options).flatMap(({ path, stages }): Warning[] => {
    if (stages === undefined || others.some(({ kind, name }) => kind === row.kind && name === stages)) return [];
    return [{ reason: "StagesNothing", path: `${path}.stages`, message: `there is no ${row.kind} ${stages}: it watches beside all others` }];
  });
}

/** Names of the policies in whose place this one watches. */
export function stagedNames(row: PolicyRow): readonly string[] {
  if (row.kind === "NetworkPolicy" || row.kind === "ClusterNetworkPolicy") return [];
  return [row.spec, ...(row.specs ?? [])].flatMap((spec) => spec?.stages ?? []);
}
