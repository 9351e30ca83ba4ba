/**
 * What the compiler reads. Rows are immutable; the maps are live views that do not change while a compilation runs,
 * as that is synchronous: a snapshot of 100,000 pods costs nothing.
 */
import type { Enforcement } from "../api/enforcement.ts";
import type { ClusterPolicySpec } from "../api/cluster-network-policy.ts";
import type { NetworkPolicySpec } from "../api/network-policy.ts";
import type { PolicySpec } from "../api/meaning.ts";
import type { Labels } from "./labels.ts";

interface PolicyHead {
  /** Empty for a kind of the whole cluster. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** metadata.generation of the version that is here. */
  readonly generation: number;
}

/** Whom nodes and services mean that an item names. */
export interface Referents {
  /** Addresses of nodes: nobody but a node is meant by them. */
  readonly nodes: readonly string[];
  /** Labels of the pods of services. */
  readonly pods: readonly { readonly namespace: string; readonly labels: Readonly<Record<string, string>> }[];
  /** Addresses of services that select no pods: nobody but a node and the outside is meant by them. */
  readonly endpoints: readonly string[];
}

export interface CiliumPolicyRow extends PolicyHead {
  readonly kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy";
  readonly spec?: PolicySpec | undefined;
  readonly specs?: readonly PolicySpec[] | undefined;
  /** Path of an item that names nodes or services -> whom it means; what is not here means nobody. */
  readonly referents?: Readonly<Record<string, Referents>>;
}

export interface KubernetesPolicyRow extends PolicyHead {
  readonly kind: "NetworkPolicy";
  readonly spec: NetworkPolicySpec;
  /** Of its annotation. */
  readonly enforcement?: Enforcement | undefined;
}

export interface ClusterPolicyRow extends PolicyHead {
  readonly kind: "ClusterNetworkPolicy";
  readonly spec: ClusterPolicySpec;
  /** Path of a peer that names nodes by labels -> whom it means. */
  readonly referents?: Readonly<Record<string, Referents>>;
  /** Of its annotation. */
  readonly enforcement?: Enforcement | undefined;
}

/** A policy in the version that is enforced: its last valid one. */
export type PolicyRow = CiliumPolicyRow | KubernetesPolicyRow | ClusterPolicyRow;

export interface Snapshot {
  readonly identities: ReadonlyMap<number, Labels>;
  /** Namespace -> its policies with a valid version, in any order; under "" those of the whole cluster. */
  readonly policies: ReadonlyMap<string, readonly PolicyRow[]>;
  /** Node -> identities of the managed pods that are scheduled there. */
  readonly subjects: ReadonlyMap<string, ReadonlySet<number>>;
  /** Node -> the labels of its own network namespace (`hostLabels`); absent: no policy selects it. */
  readonly hosts?: ReadonlyMap<string, Labels>;
}
