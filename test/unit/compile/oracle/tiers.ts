/**
 * How the kinds combine, read naively: ClusterNetworkPolicy of the tier Admin, then all policies of the other kinds, then
 * the tier Baseline. From the words of the specifications alone; nothing of the compiler.
 */
import { inBlocks, isNode, opinions, receiverPorts, selectsNamespace, selectsPod, watches } from "./language.ts";
import type { Opinion, Packet, Policy, Selector, Workload } from "./language.ts";

interface Pods {
  readonly namespaces?: Selector;
  readonly pods?: { readonly namespaceSelector?: Selector; readonly podSelector: Selector };
}
interface Peer extends Pods {
  readonly nodes?: Selector;
  readonly networks?: readonly string[];
}
interface Transport {
  readonly destinationPort?: { readonly number?: number; readonly range?: { readonly start: number; readonly end: number } };
}
interface Protocol {
  readonly tcp?: Transport;
  readonly udp?: Transport;
  readonly sctp?: Transport;
  readonly destinationNamedPort?: string;
}
interface TierRule {
  readonly action: "Accept" | "Deny" | "Pass";
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly protocols?: readonly Protocol[];
}
export interface TierSpec {
  readonly tier: "Admin" | "Baseline";
  readonly priority: number;
  readonly subject: Pods;
  readonly ingress?: readonly TierRule[];
  readonly egress?: readonly TierRule[];
}

export interface Judgement {
  readonly allowed: boolean;
  /** `<place of the policy in the list> <path>` of each rule that decides; empty: none means the packet. */
  readonly by: readonly string[];
  /** Places of the policies outside of tiers that close the direction: whose the denial is where no rule means the packet. */
  readonly closedBy: readonly number[];
  /** A rule of a tier decides. */
  readonly isOfTier: boolean;
}

const isMeant = ({ namespaces, pods }: Pods, one: Workload): boolean =>
  namespaces === undefined ? pods !== undefined && selectsNamespace(pods.namespaceSelector ?? {}, one.namespace) && selectsPod(pods.podSelector, one.labels) : selectsNamespace(namespaces, one.namespace);

const isAnyNode = (selector: Selector, { peer }: Packet): boolean => Object.keys(selector).length === 0 && (peer.kind === "host" || peer.kind === "remote-node");

function isPeer(peer: Peer, packet: Packet): boolean {
  if (peer.networks !== undefined) return inBlocks(packet.address, peer.networks.map((cidr) => ({ cidr })));
  if (peer.nodes !== undefined) return isAnyNode(peer.nodes, packet) || isNode(peer.nodes, packet);
  return packet.peer.kind === "pod" && isMeant(peer, packet.peer);
}

function isProtocol(protocol: Protocol, packet: Packet, subject: Workload): boolean {
  const { destinationNamedPort: name } = protocol;
  if (name !== undefined) return receiverPorts(packet, subject).some((one) => one.name === name && one.protocol === packet.protocol && one.port === packet.port);
  const transport = { TCP: protocol.tcp, UDP: protocol.udp, SCTP: protocol.sctp, ICMP: undefined, ICMPv6: undefined, GRE: undefined }[packet.protocol];
  if (transport === undefined) return false;
  const { number, range } = transport.destinationPort ?? {};
  if (range !== undefined) return packet.port >= range.start && packet.port <= range.end;
  return number === undefined || packet.port === number;
}

/** The first rule of the first policy that means the packet. */
function first(policies: readonly Policy[], isLeft: (policy: Policy) => boolean, tier: TierSpec["tier"], subject: Workload, packet: Packet): { readonly action: TierRule["action"]; readonly by: string } | undefined {
  const all = policies.flatMap((policy, place) => (policy.kind === "ClusterNetworkPolicy" && isLeft(policy) ? [{ place, spec: policy.spec as unknown as TierSpec }] : []));
  const asked = all.filter(({ spec }) => spec.tier === tier && isMeant(spec.subject, subject)).sort((a, b) => a.spec.priority - b.spec.priority || a.place - b.place);
  for (const { place, spec } of asked) {
    for (const [at, { action, from, to, protocols }] of (spec[packet.direction] ?? []).entries()) {
      const isPort = protocols === undefined || protocols.some((protocol) => isProtocol(protocol, packet, subject));
      if (isPort && (from ?? to ?? []).some((peer) => isPeer(peer, packet))) return { action, by: `${place} spec.${packet.direction}[${at}]` };
    }
  }
  return undefined;
}

/** Whether the subject may receive or send the packet. `cluster`: what says nothing of it only watches. */
export function naive(policies: readonly Policy[], subject: Workload, packet: Packet, cluster = false): Judgement {
  const isLeft = (policy: Policy): boolean => policy.kind !== "ClusterNetworkPolicy" || !watches(policy, {}, cluster);
  return judged(policies, isLeft, (policy) => opinions(policy, subject, packet, true, cluster), subject, packet);
}

/** The same if the policies that only watch were enforced too. */
export function naiveOfAll(policies: readonly Policy[], subject: Workload, packet: Packet): Judgement {
  return judged(policies, () => true, (policy) => opinions(policy, subject, packet, false, false), subject, packet);
}

function judged(policies: readonly Policy[], isLeft: (policy: Policy) => boolean, opinionsOf: (policy: Policy) => readonly Opinion[], subject: Workload, packet: Packet): Judgement {
  const all = policies.flatMap((policy, place) => (policy.kind === "ClusterNetworkPolicy" ? [] : opinionsOf(policy).map((opinion) => ({ place, ...opinion }))));
  const closedBy = [...new Set(all.filter(({ closes }) => closes).map(({ place }) => place))];
  const ofPolicies = { closedBy, isOfTier: false };
  const admin = first(policies, isLeft, "Admin", subject, packet);
  if (admin !== undefined && admin.action !== "Pass") return { allowed: admin.action === "Accept", by: [admin.by], closedBy, isOfTier: true };
  const denies = all.flatMap(({ place, denies: paths }) => paths.map((path) => `${place} ${path}`));
  if (denies.length > 0) return { allowed: false, by: denies, ...ofPolicies };
  const allows = all.flatMap(({ place, allows: paths }) => paths.map((path) => `${place} ${path}`));
  if (allows.length > 0) return { allowed: true, by: allows, ...ofPolicies };
  if (closedBy.length > 0) return { allowed: false, by: [], ...ofPolicies };
  const baseline = first(policies, isLeft, "Baseline", subject, packet);
  return baseline === undefined ? { allowed: true, by: [], ...ofPolicies } : { allowed: baseline.action !== "Deny", by: [baseline.by], closedBy, isOfTier: true };
}
