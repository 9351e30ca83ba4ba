/**
 * How much a policy asks of the nodes, reckoned without taking it apart, so that one that is too large costs nothing; and
 * what is left of a policy for which there is no room. Pure.
 */
import { clusterPolicyRules } from "../api/cluster-network-policy.ts";
import type { ClusterPolicyProtocol } from "../api/cluster-network-policy.ts";
import type { NetworkPolicyPeer, NetworkPolicyPort } from "../api/network-policy.ts";
import { sectionsOf, specsOf } from "../api/meaning.ts";
import type { PolicySpec, SectionItem } from "../api/meaning.ts";
import { PROTOCOLS } from "./cilium-policy.ts";
import { portRange } from "./ports.ts";
import type { CiliumPolicyRow, ClusterPolicyRow, KubernetesPolicyRow, PolicyRow, Referents } from "../model/snapshot.ts";

type CiliumPort = NonNullable<SectionItem["toPorts"]>[number]["ports"][number];

export interface PolicySize {
  /** Peers times ports, over all items; a port counts for each of its protocols, a range for each of its prefixes. */
  readonly rules: number;
  /** Blocks of addresses with their exceptions, those of groups in their place. */
  readonly blocks: number;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export function policySize(row: PolicyRow): PolicySize {
  const sizes = row.kind === "NetworkPolicy" ? networkPolicySizes(row) : row.kind === "ClusterNetworkPolicy" ? clusterPolicySizes(row) : ciliumPolicySizes(row);
  return { rules: sum(sizes.map(({ rules }) => rules)), blocks: sum(sizes.map(({ blocks }) => blocks)) };
}

function ciliumPolicySizes(row: CiliumPolicyRow): readonly PolicySize[] {
  const all = specsOf({ ...(row.spec === undefined ? {} : { spec: row.spec }), specs: [...(row.specs ?? [])] });
  return all.flatMap(({ path, spec }) => sectionsOf(spec).flatMap(({ name, items }) => items.map((item, index) => itemSize(item, row.referents?.[`${path}.${name}[${index}]`]))));
}

const NO_REFERENTS: Referents = { nodes: [], pods: [], endpoints: [] };

function itemSize({ endpoints, entities, cidrs, cidrSets, toPorts, icmps }: SectionItem, { nodes, pods, endpoints: ofServices }: Referents = NO_REFERENTS): PolicySize {
  const blocks = (cidrs?.length ?? 0) + sum((cidrSets ?? []).map(({ except }) => 1 + (except?.length ?? 0))) + nodes.length + ofServices.length;
  const ports = toPorts === undefined ? sum((icmps ?? [{ fields: [undefined] }]).map(({ fields }) => fields.length)) : sum(toPorts.map(({ ports: all }) => sum(all.map(matchesOf))));
  return { rules: Math.max((endpoints ?? entities ?? [undefined]).length, pods.length) * ports, blocks };
}

/** A name says its protocol where the pod declares it. */
function matchesOf({ port, endPort = 0, protocol = "ANY" }: CiliumPort): number {
  return /^[0-9]+$/.test(port) ? PROTOCOLS[protocol].length * prefixesOf(Number(port), endPort) : 1;
}

function prefixesOf(port: number, endPort: number): number {
  return endPort === 0 ? 1 : portRange(0, port, endPort).length;
}

function networkPolicySizes({ spec: { ingress = [], egress = [] } }: KubernetesPolicyRow): readonly PolicySize[] {
  const sizeOf = (peers: readonly NetworkPolicyPeer[] = [], ports: readonly NetworkPolicyPort[] = []): PolicySize => ({
    rules: Math.max(1, peers.length) * Math.max(1, sum(ports.map(({ port, endPort = 0 }) => prefixesOf(Number(port), endPort)))),
    blocks: sum(peers.map(({ ipBlock }) => (ipBlock === undefined ? 0 : 1 + (ipBlock.except?.length ?? 0)))),
  });
  return [...ingress.map(({ from, ports }) => sizeOf(from, ports)), ...egress.map(({ to, ports }) => sizeOf(to, ports))];
}

function clusterPolicySizes({ spec, referents }: ClusterPolicyRow): readonly PolicySize[] {
  const matchesIn = (protocol: ClusterPolicyProtocol): number => {
    const ranges = (["tcp", "udp", "sctp"] as const).flatMap((name) => protocol[name]?.destinationPort?.range ?? []);
    return Math.max(1, sum(ranges.map(({ start, end }) => prefixesOf(start, end))));
  };
  return clusterPolicyRules(spec).map(({ peers, peersPath, protocols = [] }) => ({
    rules: peers.length * Math.max(1, sum(protocols.map(matchesIn))),
    blocks: sum(peers.map(({ networks = [] }, at) => networks.length + (referents?.[`${peersPath}[${at}]`]?.nodes.length ?? 0))),
  }));
}

/** What it denied or handed over is denied with all else, as its specification has it where an implementation cannot tell. */
function deniedAll(spec: ClusterPolicyRow["spec"]): ClusterPolicyRow["spec"] {
  const { tier, priority, subject } = spec;
  const closes = (direction: "ingress" | "egress"): boolean => clusterPolicyRules(spec).some((rule) => rule.direction === direction && rule.action !== "Accept");
  const everybody = [{ namespaces: {} }];
  return {
    tier, priority, subject,
    ...(closes("ingress") ? { ingress: [{ action: "Deny", from: everybody }] } : {}),
    ...(closes("egress") ? { egress: [{ action: "Deny", to: [...everybody, { networks: ["0.0.0.0/0", "::/0"] }] }] } : {}),
  };
}

const NO_RULES = "It allows and denies nothing, and closes the directions that it closed and, whatever enableDefaultDeny says, those that it denied in: what other policies allow there passes";
const NO_RULES_OF_TIER = "It accepts nothing, and where it denied anybody or passed anybody on it denies everybody";

/** What is done with a policy that is left out, in words for its status. */
export function withoutRulesText(kind: PolicyRow["kind"]): string {
  return kind === "ClusterNetworkPolicy" ? NO_RULES_OF_TIER : NO_RULES;
}

/** The policy without its rules, as `withoutRulesText` says. A list of denials that did not fit must not leave everything open. */
export function withoutRules(row: PolicyRow): PolicyRow {
  if (row.kind === "NetworkPolicy") {
    const { policyTypes = [], egress = [] } = row.spec;
    const closed = policyTypes.length > 0 ? policyTypes : egress.length > 0 ? (["Ingress", "Egress"] as const) : (["Ingress"] as const);
    return { ...row, spec: { ...row.spec, policyTypes: [...closed], ingress: [], egress: [] } };
  }
  if (row.kind === "ClusterNetworkPolicy") return { ...row, spec: deniedAll(row.spec) };
  const emptied = (spec: PolicySpec): PolicySpec => {
    const sections = sectionsOf(spec);
    const denied = sections.filter(({ verdict, items }) => verdict === "deny" && items.length > 0);
    return {
      ...spec,
      ...Object.fromEntries(sections.map(({ name }) => [name, []])),
      ...(denied.length === 0 ? {} : { enableDefaultDeny: { ...spec.enableDefaultDeny, ...Object.fromEntries(denied.map(({ direction }) => [direction, true])) } }),
    };
  };
  return { ...row, ...(row.spec === undefined ? {} : { spec: emptied(row.spec) }), ...(row.specs === undefined ? {} : { specs: row.specs.map(emptied) }) };
}
