/** A policy of any kind, taken apart. */
import { ConfigError } from "../lib/errors.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { draftCiliumPolicy } from "./cilium-policy.ts";
import type { PolicyDraft } from "./draft.ts";
import { draftNetworkPolicy } from "./kubernetes-policy.ts";
import type { ReadSetting } from "./routing.ts";
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

/** What the installation's settings say. Throws ConfigError with the key's name for what is wrong. */
export function readPolicyOptions(read: ReadSetting): PolicyOptions {
  const key = "policy-cidr-match-mode";
  const words = (read(key) ?? "").split(/[\s,]+/).filter((word) => word !== "");
  return {
    cidrMatchMode: new Set(words.map((word) => {
      if (word !== "nodes" && word !== "pods") throw new ConfigError(key, `${JSON.stringify(word)} is neither nodes nor pods`);
      return word;
    })),
  };
}
