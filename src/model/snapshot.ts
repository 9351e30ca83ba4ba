/**
 * What the compiler reads. Rows are immutable; the maps are live views that do not change while a compilation runs,
 * as that is synchronous: a snapshot of 100,000 pods costs nothing.
 */
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import type { Labels } from "./labels.ts";

/** A policy in the version that is enforced: its last valid one. */
export interface PolicyRow {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** metadata.generation of the version in `spec`. */
  readonly generation: number;
  readonly spec: CiliumNetworkPolicy["spec"];
}

export interface Snapshot {
  readonly identities: ReadonlyMap<number, Labels>;
  /** Namespace -> its policies with a valid version, in any order. */
  readonly policies: ReadonlyMap<string, readonly PolicyRow[]>;
  /** Node -> identities of the managed pods that are scheduled there. */
  readonly subjects: ReadonlyMap<string, ReadonlySet<number>>;
}
