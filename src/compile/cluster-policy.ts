/**
 * policy.networking.k8s.io ClusterNetworkPolicy, taken apart. It closes nothing by itself: what its rules do not mean
 * goes on to the next tier (`tiers.ts`).
 */
import { clusterPolicyRules } from "../api/cluster-network-policy.ts";
import type { ClusterPolicyPeer, ClusterPolicyProtocol, ClusterPolicyRule } from "../api/cluster-network-policy.ts";
import type { ClusterPolicyRow } from "../model/snapshot.ts";
import { OF_NODES, cidrPeers } from "./blocks.ts";
import { ANY_PORT, Selectors } from "./draft.ts";
import type { PolicyDraft, RuleDraft } from "./draft.ts";
import { entityPeers } from "./entities.ts";
import { EVERYWHERE, ofNamespaces, ofPods, requirementsOf } from "./kubernetes-policy.ts";
import { isEveryNode } from "./node-peers.ts";
import { anyPort, namedPort, onePort, portRange, sortedPorts } from "./ports.ts";
import { normalized, untoldPeers } from "./selectors.ts";
import type { LabelPeers, PeerSelector, PolicyRef, PortMatch } from "./state.ts";

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
const VERDICTS = { Accept: "allow", Deny: "deny", Pass: "pass" } as const;
const TIERS = { Admin: "admin", Baseline: "baseline" } as const;
const ANY_PROTOCOL = 0;

export function draftClusterPolicy(row: ClusterPolicyRow): PolicyDraft {
  const { kind, namespace, name, uid, generation, spec, enforcement } = row;
  const ref: PolicyRef = { kind, namespace, name, uid, generation };
  const selectors = new Selectors();
  const rules = clusterPolicyRules(spec).flatMap((rule) => draftRule(rule, row.referents ?? {}, selectors));
  // The schema, ours or upstream's, has seen to it that there is one of both. Neither: nobody is selected.
  const subject = podsOf(spec.subject)[0] ?? { kind: "labels", requirements: [{ key: "k8s:", operator: "In", values: [] }] };
  return { ref, path: "spec", subject, enforces: new Set(), rules, tier: { name: TIERS[spec.tier], priority: spec.priority }, selectors: selectors.all, enforcement };
}

/**
 * Pods whose identity does not tell yet of a label that counts are denied what a rule denies, and what it hands over:
 * further on somebody might accept it.
 */
function draftRule({ direction, path, name, action, peers, peersPath, protocols }: ClusterPolicyRule, referents: NonNullable<ClusterPolicyRow["referents"]>, selectors: Selectors): readonly RuleDraft[] {
  const meant = peers.flatMap((peer, at) => peersOf(peer, referents[`${peersPath}[${at}]`]?.nodes ?? []));
  const ports = protocols === undefined ? [ANY_PORT] : sortedPorts(protocols.flatMap(portMatches));
  const untold = action === "Accept" ? [] : meant.flatMap((peer) => (peer.kind === "labels" ? untoldPeers(peer) : []));
  const draft = (verdict: RuleDraft["verdict"], of: readonly PeerSelector[]): readonly RuleDraft[] => selectors.idsOf(of).map((peer) => ({ direction, verdict, path, name, peer, ports }));
  return [...draft(VERDICTS[action], meant), ...draft("deny", untold)];
}

function podsOf({ namespaces, pods }: Pick<ClusterPolicyPeer, "namespaces" | "pods">): readonly LabelPeers[] {
  if (namespaces !== undefined) return [normalized(requirementsOf(namespaces, ofNamespaces))];
  if (pods === undefined) return [];
  return [normalized([...requirementsOf(pods.namespaceSelector, ofNamespaces), ...requirementsOf(pods.podSelector, ofPods)])];
}

/** @param nodes addresses of those that the peer names by labels. */
function peersOf(peer: ClusterPolicyPeer, nodes: readonly string[]): readonly PeerSelector[] {
  if (peer.networks !== undefined) return [cidrPeers(peer.networks.map((cidr) => ({ cidr })), EVERYWHERE)];
  if (peer.nodes !== undefined) {
    if (isEveryNode(peer.nodes)) return ["host", "remote-node"].flatMap(entityPeers).filter((node) => node !== undefined);
    return nodes.length === 0 ? [] : [cidrPeers(nodes.map((cidr) => ({ cidr })), OF_NODES)];
  }
  return podsOf(peer);
}

function portMatches(protocol: ClusterPolicyProtocol): readonly PortMatch[] {
  if (protocol.destinationNamedPort !== undefined) return [namedPort(ANY_PROTOCOL, protocol.destinationNamedPort)];
  return (["tcp", "udp", "sctp"] as const).flatMap((name): readonly PortMatch[] => {
    const transport = protocol[name];
    if (transport === undefined) return [];
    const { number, range } = transport.destinationPort ?? {};
    if (range !== undefined) return portRange(PROTOCOLS[name], range.start, range.end);
    return [number === undefined ? anyPort(PROTOCOLS[name]) : onePort(PROTOCOLS[name], number)];
  });
}
