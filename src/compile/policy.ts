/** A policy of any kind, taken apart. */
import type { PolicyRow } from "../model/snapshot.ts";
import { draftCiliumPolicy } from "./cilium-policy.ts";
import type { PolicyDraft } from "./draft.ts";
import { draftNetworkPolicy } from "./kubernetes-policy.ts";
import type { PeerScope } from "./state.ts";

export interface PolicyOptions {
  /** What address blocks of Cilium's kinds match beside the world (`policyCIDRMatchMode`). */
  readonly cidrMatchMode: ReadonlySet<"nodes" | "pods">;
}

export const PLAIN_OPTIONS: PolicyOptions = { cidrMatchMode: new Set() };

export function draftPolicy(row: PolicyRow, { cidrMatchMode }: PolicyOptions = PLAIN_OPTIONS): readonly PolicyDraft[] {
  if (row.kind === "NetworkPolicy") return [draftNetworkPolicy(row)];
  return draftCiliumPolicy(row, new Set<PeerScope>(["world", ...cidrMatchMode]));
}
