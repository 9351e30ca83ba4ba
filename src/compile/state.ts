/**
 * The compiled desired state of one node: what the operator tells an agent to enforce.
 *
 * Keyed by subject identity, never by pod: the hundredth replica of a Deployment changes nothing here.
 * Peers stay selectors; the agent resolves them against the CiliumIdentity objects that it watches, so a
 * new peer identity rewrites no node state. Pods, addresses and services are not here: the agent learns
 * them from their own objects.
 *
 * Every value is plain JSON (numbers, strings, arrays, null-prototype-safe maps as sorted arrays of
 * pairs on the wire), so that equal states give equal bytes and equal hashes.
 */

import type { PolicyKind } from "../api/policy-kinds.ts";

export type { PolicyKind } from "../api/policy-kinds.ts";

/** Content hash of a rule set (lower-case hex, 16 digits). Equal rule sets have one id on all nodes. */
export type RuleSetId = string;
/** Content hash of a peer selector (lower-case hex, 16 digits). */
export type SelectorId = string;
/** 32-bit number, never 0; stands in map values and events. See `RuleName` for its words. */
export type RuleId = number;

export type Direction = "ingress" | "egress";
/** `pass`, of the administrator's tier alone: its weaker rules do not count, the policies decide. */
export type Verdict = "allow" | "deny" | "pass";

/** One requirement on the labels of a peer. Keys carry their source: `k8s:app`, `reserved:host`. */
export interface Requirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

export type PeerSelector = LabelPeers | CidrPeers;

/** Peers that meet all requirements. No requirement selects every identity with a label of source `k8s`. */
export interface LabelPeers {
  readonly kind: "labels";
  readonly requirements: readonly Requirement[];
}

/** What an address can be: of no one in the cluster, of a node, of a pod. */
export type PeerScope = "world" | "nodes" | "pods";

/** Addresses in any block's `cidr` and in none of the same block's `except`, as far as they are of one of `scopes`. */
export interface CidrPeers {
  readonly kind: "cidrs";
  /** Canonical text (`lib/ip.ts`), sorted. */
  readonly blocks: readonly CidrBlock[];
  /** Never empty, in the order of the type. */
  readonly scopes: readonly PeerScope[];
}

export interface CidrBlock {
  readonly cidr: string;
  readonly except: readonly string[];
}

export type PortMatch = NumberedPort | NamedPort;

/**
 * `protocol` is an IANA number. Protocol 0 (with port and prefix 0) is anything; port and prefix 0 are any port of the
 * protocol. Of ICMP (1) and ICMPv6 (58) the port is the message's type, whole (prefix 16).
 */
export interface NumberedPort {
  readonly protocol: number;
  readonly port: number;
  /** Leading bits of `port` that count, 0..16. */
  readonly prefix: number;
}

/**
 * A port by the name that the receiving pod gives it: at ingress the subject's own, at egress that of each destination.
 * Protocol 0 is whatever protocol that pod declares. A pod without such a port is not meant.
 */
export interface NamedPort {
  readonly protocol: number;
  readonly name: string;
}

export interface Rule {
  readonly id: RuleId;
  readonly direction: Direction;
  /** undefined: any peer, also outside the cluster. */
  readonly peer: SelectorId | undefined;
  readonly ports: readonly PortMatch[];
  readonly verdict: Verdict;
  /** Greater wins, within the tier. */
  readonly precedence: number;
  /** Asked before all rules without a tier. */
  readonly tier?: "admin";
}

export interface RuleSet {
  /** Rule id of the default deny of that direction; undefined: the direction is not enforced. */
  readonly ingressDefault: RuleId | undefined;
  readonly egressDefault: RuleId | undefined;
  readonly rules: readonly Rule[];
}

/** The words of a rule id. A default deny names every policy that selects the subject in that direction. */
export interface RuleName {
  readonly kind: "rule" | "default-deny";
  readonly direction: Direction;
  readonly policies: readonly PolicyRef[];
  /** Path of the rule inside the policy, such as `spec.ingress[0].toPorts[0]`; empty for a default deny. */
  readonly path: string;
  /** What the policy calls the rule. */
  readonly name?: string;
  /** A word of the policy for the events that the rule decides. */
  readonly log?: string;
}

export interface PolicyRef {
  readonly kind: PolicyKind;
  /** Empty for a kind of the whole cluster. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** metadata.generation of the version that is compiled here (the last valid one). */
  readonly generation: number;
}

/** How packets travel between nodes, and under which address pods leave the cluster. */
export interface RoutingDecision {
  /** native: the underlay's routes lead to the pods of other nodes; auto: to those on a shared segment, a tunnel to the others. */
  readonly mode: "tunnel" | "native" | "auto";
  readonly tunnelPort: number;
  /** Each agent writes the routes to the other nodes' pods, as always with auto. Of native else the network must know them. */
  readonly directRoutes: boolean;
  /** Families whose packets leave the cluster with their node's address. */
  readonly masquerade: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** CIDRs, besides those of pods, that see the pods' own addresses; canonical text, sorted. */
  readonly unmasqueraded: readonly string[];
  /** In one of these CIDRs is the node's address under which pods leave; canonical text, sorted. Absent: that of the device by which they do. */
  readonly masqueradeFrom?: readonly string[];
}

export interface NodeState {
  /** Identity that runs on this node -> its rule set; HOST_IDENTITY is the node itself, where a policy selects it. */
  readonly subjects: ReadonlyMap<number, RuleSetId>;
  /**
   * Identity -> the rule set that it would have if the policies that only watch were enforced too. What that one would
   * drop and the other does not is told. Absent: none watches.
   */
  readonly audits?: ReadonlyMap<number, RuleSetId>;
  readonly ruleSets: ReadonlyMap<RuleSetId, RuleSet>;
  readonly selectors: ReadonlyMap<SelectorId, PeerSelector>;
  readonly ruleNames: ReadonlyMap<RuleId, RuleName>;
  /** uid -> generation of every policy that selects a subject of this node. */
  readonly policies: ReadonlyMap<string, number>;
  readonly routing: RoutingDecision;
  /**
   * Namespace of a subject -> churning label keys that are part of its pods' identities, as some policy names them.
   * Absent: in no namespace is any.
   */
  readonly named?: ReadonlyMap<string, readonly string[]>;
}
