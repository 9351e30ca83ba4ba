/**
 * networking.k8s.io/v1 NetworkPolicy, taken apart. What its specification says differently from CiliumNetworkPolicy:
 * an absent and an empty list of peers or ports mean everybody and every port; an item `{}` allows everything; a block
 * of addresses means pods and nodes too; what `policyTypes` does not name has no effect.
 */
import { isReserved } from "../api/label-keys.ts";
import type { KubernetesSelector, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec } from "../api/network-policy.ts";
import { NAMESPACE_LABEL, NAMESPACE_LABELS_PREFIX, OWN_PREFIX } from "../model/labels.ts";
import type { KubernetesPolicyRow } from "../model/snapshot.ts";
import { cidrPeers } from "./blocks.ts";
import { ANY_PORT, Selectors } from "./draft.ts";
import type { PolicyDraft, RuleDraft } from "./draft.ts";
import { anyPort, namedPort, onePort, portRange, sortedPorts } from "./ports.ts";
import { normalized } from "./selectors.ts";
import type { Direction, PeerScope, PeerSelector, PolicyRef, PortMatch, Requirement } from "./state.ts";

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;
export const EVERYWHERE: ReadonlySet<PeerScope> = new Set(["world", "nodes", "pods"]);
const K8S_PREFIX = "k8s:";
export const ofPods = (key: string): string => (isReserved(key) ? OWN_PREFIX : K8S_PREFIX) + key;
export const ofNamespaces = (key: string): string => NAMESPACE_LABELS_PREFIX + key;

interface Item {
  readonly peers: readonly NetworkPolicyPeer[] | undefined;
  readonly ports: readonly NetworkPolicyPort[] | undefined;
}

export function draftNetworkPolicy(row: KubernetesPolicyRow): PolicyDraft {
  const { kind, namespace, name, uid, generation, spec, enforcement } = row;
  const ref: PolicyRef = { kind, namespace, name, uid, generation };
  const selectors = new Selectors();
  const enforces = enforcedBy(spec);
  const draft = (direction: Direction, items: readonly Item[]): readonly RuleDraft[] =>
    enforces.has(direction) ? items.flatMap((item, index) => draftItem(item, direction, `spec.${direction}[${index}]`, namespace, selectors)) : [];
  const ingress = draft("ingress", spec.ingress?.map(({ from, ports }) => ({ peers: from, ports })) ?? []);
  const egress = draft("egress", spec.egress?.map(({ to, ports }) => ({ peers: to, ports })) ?? []);
  const subject = normalized([...requirementsOf(spec.podSelector, ofPods), ofNamespace(namespace)]);
  return { ref, path: "spec", subject, enforces, rules: [...ingress, ...egress], selectors: selectors.all, enforcement };
}

/** Without policyTypes: ingress always, and egress where there are rules for it. */
function enforcedBy({ policyTypes = [], egress = [] }: NetworkPolicySpec): ReadonlySet<Direction> {
  if (policyTypes.length === 0) return new Set(egress.length === 0 ? ["ingress"] : ["ingress", "egress"]);
  return new Set(policyTypes.map((type) => (type === "Ingress" ? "ingress" : "egress")));
}

function draftItem({ peers, ports }: Item, direction: Direction, path: string, namespace: string, selectors: Selectors): readonly RuleDraft[] {
  const isAnybody = peers === undefined || peers.length === 0;
  const ids = selectors.idsOf(isAnybody ? [undefined] : peers.flatMap((peer) => peerOf(peer, namespace)));
  const matches = ports === undefined || ports.length === 0 ? [ANY_PORT] : sortedPorts(ports.flatMap(portMatches));
  return ids.map((peer) => ({ direction, verdict: "allow", path, peer, ports: matches }));
}

/** A peer that names nothing we know is one of a later version of the API: it selects nobody. */
function peerOf({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, namespace: string): readonly PeerSelector[] {
  if (ipBlock !== undefined) return [cidrPeers([ipBlock], EVERYWHERE)];
  if (podSelector === undefined && namespaceSelector === undefined) return [];
  const namespaces = namespaceSelector === undefined ? [ofNamespace(namespace)] : requirementsOf(namespaceSelector, ofNamespaces);
  return [normalized([...requirementsOf(podSelector, ofPods), ...namespaces])];
}

export function ofNamespace(namespace: string): Requirement {
  return { key: NAMESPACE_LABEL, operator: "In", values: [namespace] };
}

export function requirementsOf(selector: KubernetesSelector | undefined, withSource: (key: string) => string): readonly Requirement[] {
  const labels = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => ({ key: withSource(key), operator: "In" as const, values: [value] }));
  const expressions = selector?.matchExpressions ?? [];
  return [...labels, ...expressions.map(({ key, operator, values }) => ({ key: withSource(key), operator, values: [...new Set(values ?? [])].sort() }))];
}

function portMatches({ protocol = "TCP", port, endPort }: NetworkPolicyPort): readonly PortMatch[] {
  const number = PROTOCOLS[protocol];
  if (port === undefined) return [anyPort(number)];
  if (typeof port === "string") return [namedPort(number, port)];
  return endPort === undefined ? [onePort(number, port)] : portRange(number, port, endPort);
}
