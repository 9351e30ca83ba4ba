/** CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, taken apart. */
import { applicationRulesOf, namesOf } from "../api/application-rules.ts";
import type { ApplicationRules } from "../api/application-rules.ts";
import { icmpType } from "../api/icmp-types.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicySpec, Section, SectionItem } from "../api/meaning.ts";
import type { CiliumPolicyRow, Referents } from "../model/snapshot.ts";
import { ApplicationCollector } from "./application.ts";
import type { ApplicationReference } from "./application.ts";
import { OF_NODES, cidrPeers } from "./blocks.ts";
import { ANY_PORT, Selectors } from "./draft.ts";
import type { PolicyDraft, RuleDraft } from "./draft.ts";
import { entityPeers } from "./entities.ts";
import { hostSubject } from "./host.ts";
import { ofNamespace, ofPods, requirementsOf } from "./kubernetes-policy.ts";
import { anyPort, namedPort, onePort, portRange, sortedPorts } from "./ports.ts";
import { normalized, peerSelector, subjectSelector, untoldPeers } from "./selectors.ts";
import type { Direction, PeerScope, PeerSelector, PolicyRef, PortMatch } from "./state.ts";

/** A port without a protocol is one of each that has ports. */
export const PROTOCOLS = { TCP: [6], UDP: [17], SCTP: [132], ANY: [6, 17, 132], VRRP: [112], IGMP: [2], GRE: [47], IPIP: [4], IPV6: [41], ESP: [50], AH: [51] } as const;
const OF_ENDPOINTS: ReadonlySet<PeerScope> = new Set(["world", "nodes"]);
const ICMP = { IPv4: 1, IPv6: 58 } as const;

type Port = NonNullable<SectionItem["toPorts"]>[number]["ports"][number];
type Icmp = NonNullable<SectionItem["icmps"]>[number];

/** What an item's peers depend on beside the item. */
interface Context {
  /** Empty for a policy of the whole cluster. */
  readonly namespace: string;
  /** What address blocks may match; the world only, unless the configuration says more. */
  readonly cidrScopes: ReadonlySet<PeerScope>;
  readonly referents: NonNullable<CiliumPolicyRow["referents"]>;
  readonly selectors: Selectors;
  readonly application: ApplicationCollector;
}

/** One draft for `spec` and for each of `specs`. */
export function draftCiliumPolicy(row: CiliumPolicyRow, cidrScopes: ReadonlySet<PeerScope>): readonly PolicyDraft[] {
  const { kind, namespace, name, uid, generation } = row;
  const ref: PolicyRef = { kind, namespace, name, uid, generation };
  const rules = specsOf({ ...(row.spec === undefined ? {} : { spec: row.spec }), specs: [...(row.specs ?? [])] });
  return rules.map(({ path, spec }) => {
    const context: Context = { namespace, cidrScopes, referents: row.referents ?? {}, selectors: new Selectors(), application: new ApplicationCollector() };
    const sections = sectionsOf(spec);
    const drafts = sections.flatMap((section) => section.items.flatMap((item, index) => draftItem(item, section, `${path}.${section.name}[${index}]`, context)));
    const subject = spec.nodeSelector === undefined ? subjectSelector(spec.endpointSelector ?? {}, namespace) : hostSubject(spec.nodeSelector);
    const application = context.application.isEmpty ? {} : { application: context.application };
    return { ref, path, subject, enforces: enforcedBy(spec, sections), rules: drafts, selectors: context.selectors.all, enforcement: spec.enforcement, ...staging(spec), log: spec.log?.value, ...application };
  });
}

function staging({ stages }: PolicySpec): Pick<PolicyDraft, "stages"> {
  return stages === undefined ? {} : { stages };
}

/** A section, even an empty one, closes its direction, unless the policy says otherwise. */
function enforcedBy({ enableDefaultDeny }: PolicySpec, sections: readonly Section[]): ReadonlySet<Direction> {
  const closes = (direction: Direction): boolean => enableDefaultDeny?.[direction] ?? sections.some((section) => section.direction === direction);
  return new Set((["ingress", "egress"] as const).filter(closes));
}

/** An item that names neither peers nor ports only closes the direction. */
function draftItem(item: SectionItem, { direction, verdict }: Section, path: string, context: Context): RuleDraft[] {
  const peers = peersOf(item, path, context);
  if (peers === undefined && item.toPorts === undefined && item.icmps === undefined) return [];
  const ids = context.selectors.idsOf(verdict === "deny" ? withUntold(peers ?? [undefined]) : (peers ?? [undefined]));
  const names = namesOf(item);
  const named = names === undefined ? {} : { names: context.application.addNames(names) };
  return portsOf(item, path).flatMap(({ rules, ...part }) => {
    const application: ApplicationReference = { ...named, ...(rules === undefined ? {} : { rules: context.application.addRules(rules) }) };
    const referring = Object.keys(application).length === 0 ? {} : { application };
    return ids.map((peer) => ({ direction, verdict, peer, ...part, ...referring }));
  });
}

function withUntold(peers: readonly (PeerSelector | undefined)[]): readonly (PeerSelector | undefined)[] {
  return peers.flatMap((peer): readonly (PeerSelector | undefined)[] => (peer?.kind === "labels" ? [peer, ...untoldPeers(peer)] : [peer]));
}

/** Absent: any peer, as undefined. Present but empty: nobody, as is what was not put in the place of a name (`references.ts`). */
function peersOf({ endpoints, cidrs, cidrSets, entities, nodes, services, names }: SectionItem, path: string, context: Context): readonly (PeerSelector | undefined)[] | undefined {
  if (endpoints !== undefined) return endpoints.map((selector) => peerSelector(selector, context.namespace));
  if (entities !== undefined) return entities.flatMap(entityPeers);
  if (nodes !== undefined || services !== undefined) return referentPeers(context.referents[path]);
  // Nobody, until DNS tells.
  if (names !== undefined) return [cidrPeers([], context.cidrScopes)];
  const blocks = cidrs?.map((cidr) => ({ cidr })) ?? cidrSets?.flatMap(({ cidr, except }) => (cidr === undefined ? [] : [{ cidr, except }]));
  if (blocks === undefined) return undefined;
  return blocks.length === 0 ? [] : [cidrPeers(blocks, context.cidrScopes)];
}

function referentPeers({ nodes, pods, endpoints }: Referents = { nodes: [], pods: [], endpoints: [] }): readonly PeerSelector[] {
  const ofAddresses = (addresses: readonly string[], scopes: ReadonlySet<PeerScope>): readonly PeerSelector[] => (addresses.length === 0 ? [] : [cidrPeers(addresses.map((cidr) => ({ cidr })), scopes)]);
  const ofServices = pods.map(({ namespace, labels }) => normalized([...requirementsOf({ matchLabels: labels }, ofPods), ofNamespace(namespace)]));
  return [...ofAddresses(nodes, OF_NODES), ...ofServices, ...ofAddresses(endpoints, OF_ENDPOINTS)];
}

interface PlacedPorts {
  readonly path: string;
  readonly ports: readonly PortMatch[];
  readonly rules?: ApplicationRules | undefined;
}

function portsOf({ toPorts, icmps }: SectionItem, path: string): readonly PlacedPorts[] {
  if (toPorts !== undefined) return toPorts.map((one, at) => ({ path: `${path}.toPorts[${at}]`, ports: sortedPorts(one.ports.flatMap(portMatches)), rules: applicationRulesOf(one) }));
  if (icmps !== undefined) return icmps.map((icmp, at) => ({ path: `${path}.icmps[${at}]`, ports: sortedPorts(messageMatches(icmp)) }));
  return [{ path, ports: [ANY_PORT] }];
}

function portMatches({ port, endPort = 0, protocol = "ANY" }: Port): readonly PortMatch[] {
  // A name says its protocol where the pod declares it.
  if (!/^[0-9]+$/.test(port)) return [namedPort(protocol === "ANY" ? 0 : PROTOCOLS[protocol][0], port)];
  const first = Number(port);
  return PROTOCOLS[protocol].flatMap((number): readonly PortMatch[] => {
    if (first === 0) return [anyPort(number)];
    return endPort === 0 ? [onePort(number, first)] : portRange(number, first, endPort);
  });
}

function messageMatches({ fields }: Icmp): readonly PortMatch[] {
  return fields.flatMap(({ family = "IPv4", type }) => {
    const number = icmpType(family, type);
    return number === undefined ? [] : [onePort(ICMP[family], number)];
  });
}
