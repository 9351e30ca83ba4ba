/** ClusterNetworkPolicy: what its schema cannot check. The form is right already, also where upstream's definition is installed. */
import { checkAnnotation } from "./enforcement.ts";
import type { ClusterNetworkPolicy } from "./gen/clusternetworkpolicies.ts";
import { isReserved } from "./label-keys.ts";
import { checkKubernetesSelector } from "./meaning.ts";
import { parseCidr } from "../lib/ip.ts";
import type { Problem } from "./problem.ts";

export type ClusterPolicySpec = ClusterNetworkPolicy["spec"];
export type ClusterPolicyPeer = NonNullable<ClusterPolicySpec["egress"]>[number]["to"][number];
export type ClusterPolicyProtocol = NonNullable<NonNullable<ClusterPolicySpec["ingress"]>[number]["protocols"]>[number];
type Selector = NonNullable<ClusterPolicyPeer["namespaces"]>;

/** A rule of either direction. */
export interface ClusterPolicyRule {
  readonly direction: "ingress" | "egress";
  readonly path: string;
  readonly name: string | undefined;
  readonly action: "Accept" | "Deny" | "Pass";
  readonly peersPath: string;
  readonly peers: readonly ClusterPolicyPeer[];
  /** Absent: everything. */
  readonly protocols: readonly ClusterPolicyProtocol[] | undefined;
}

/** In the order in which they are asked, direction by direction. */
export function clusterPolicyRules({ ingress = [], egress = [] }: ClusterPolicySpec): readonly ClusterPolicyRule[] {
  return [
    ...ingress.map(({ name, action, from, protocols }, at): ClusterPolicyRule => ({ direction: "ingress", path: `spec.ingress[${at}]`, name, action, peersPath: `spec.ingress[${at}].from`, peers: from, protocols })),
    ...egress.map(({ name, action, to, protocols }, at): ClusterPolicyRule => ({ direction: "egress", path: `spec.egress[${at}]`, name, action, peersPath: `spec.egress[${at}].to`, peers: to, protocols })),
  ];
}

export function clusterPolicyProblems(policy: ClusterNetworkPolicy, problems: Problem[]): void {
  const { spec } = policy;
  checkAnnotation(policy, false, problems);
  checkPods(spec.subject, "spec.subject", problems);
  for (const rule of clusterPolicyRules(spec)) {
    rule.peers.forEach((peer, at) => checkPeer(peer, `${rule.peersPath}[${at}]`, problems));
    rule.protocols?.forEach((protocol, at) => checkProtocol(protocol, `${rule.path}.protocols[${at}]`, rule, problems));
  }
}

function checkPods({ namespaces, pods }: Pick<ClusterPolicyPeer, "namespaces" | "pods">, path: string, problems: Problem[]): void {
  checkSelector(namespaces, `${path}.namespaces`, false, problems);
  checkSelector(pods?.namespaceSelector, `${path}.pods.namespaceSelector`, false, problems);
  checkSelector(pods?.podSelector, `${path}.pods.podSelector`, true, problems);
}

function checkPeer(peer: ClusterPolicyPeer, path: string, problems: Problem[]): void {
  checkPods(peer, path, problems);
  checkSelector(peer.nodes, `${path}.nodes`, false, problems);
  peer.networks?.forEach((block, at) => {
    try {
      parseCidr(block, { maskHostBits: true });
    } catch {
      problems.push({ path: `${path}.networks[${at}]`, message: `${JSON.stringify(block)} is not a block of addresses` });
    }
  });
}

function checkProtocol(protocol: ClusterPolicyProtocol, path: string, { direction, peers }: ClusterPolicyRule, problems: Problem[]): void {
  for (const name of ["tcp", "udp", "sctp"] as const) {
    const range = protocol[name]?.destinationPort?.range;
    if (range !== undefined && range.start >= range.end) problems.push({ path: `${path}.${name}.destinationPort.range`, message: "start must be less than end" });
  }
  const namesNothing = direction === "egress" && peers.some(({ nodes, networks }) => nodes !== undefined || networks !== undefined);
  if (protocol.destinationNamedPort !== undefined && namesNothing) problems.push({ path: `${path}.destinationNamedPort`, message: "only pods name their ports: write a number for nodes and networks" });
}

function selectorKeys({ matchLabels = {}, matchExpressions = [] }: Selector): readonly string[] {
  return [...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)];
}

function checkSelector(selector: Selector | undefined, path: string, isOfPods: boolean, problems: Problem[]): void {
  if (selector === undefined) return;
  checkKubernetesSelector(selector, path, problems);
  for (const key of isOfPods ? selectorKeys(selector) : []) {
    if (isReserved(key)) problems.push({ path, message: `${key} is written by the system only; no pod has such a label of its own` });
  }
}
