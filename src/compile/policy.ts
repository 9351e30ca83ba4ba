/** A policy of any kind, taken apart. */
import { ConfigError } from "../lib/errors.ts";
import type { Enforcement } from "../api/enforcement.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { draftCiliumPolicy } from "./cilium-policy.ts";
import { draftClusterPolicy } from "./cluster-policy.ts";
import type { PolicyDraft } from "./draft.ts";
import { draftNetworkPolicy } from "./kubernetes-policy.ts";
import { readEncryption } from "./encryption.ts";
import { readFailsafe } from "./host.ts";
import type { Failsafe } from "./host.ts";
import { readRouting } from "./routing.ts";
import type { ReadSetting } from "./routing.ts";
import type { PeerScope } from "./state.ts";

export interface PolicyOptions {
  /** What address blocks of Cilium's kinds match beside the world (`policyCIDRMatchMode`). */
  readonly cidrMatchMode: ReadonlySet<"nodes" | "pods">;
  /** What policies that say nothing of their enforcement mean; absent: Enforce. */
  readonly enforcement?: Enforcement;
  /** What stays open on nodes that policies select; absent: the default ports. */
  readonly failsafe?: Failsafe;
}

export const PLAIN_OPTIONS: PolicyOptions = { cidrMatchMode: new Set() };

/**
 * Without the rules of which only a proxy could judge a part: the validator refuses them as long as there is none, and what
 * still came here must not let pass what nobody looks at.
 */
export function draftPolicy(row: PolicyRow, options: PolicyOptions = PLAIN_OPTIONS): readonly PolicyDraft[] {
  const { enforcement: otherwise = "Enforce" } = options;
  return draftsOf(row, options).map((draft) => ({ ...draft, ...(draft.application === undefined ? {} : { rules: draft.rules.filter(({ application }) => application === undefined) }), otherwise }));
}

function draftsOf(row: PolicyRow, { cidrMatchMode }: PolicyOptions): readonly PolicyDraft[] {
  if (row.kind === "NetworkPolicy") return [draftNetworkPolicy(row)];
  if (row.kind === "ClusterNetworkPolicy") return [draftClusterPolicy(row)];
  return draftCiliumPolicy(row, new Set<PeerScope>(["world", ...cidrMatchMode]));
}

/** What the installation's settings say. Throws ConfigError with the key's name for what is wrong. */
export function readPolicyOptions(read: ReadSetting): PolicyOptions {
  return {
    cidrMatchMode: cidrMatchMode(read("policy-cidr-match-mode") ?? ""),
    enforcement: auditMode(read("policy-audit-mode") ?? "") ? "Audit" : "Enforce",
    failsafe: readFailsafe(read, readEncryption(read, readRouting(read))?.port),
  };
}

function cidrMatchMode(text: string): PolicyOptions["cidrMatchMode"] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  return new Set(words.map((word) => {
    if (word !== "nodes" && word !== "pods") throw new ConfigError("policy-cidr-match-mode", `${JSON.stringify(word)} is neither nodes nor pods`);
    return word;
  }));
}

function auditMode(text: string): boolean {
  if (!["", "true", "false"].includes(text)) throw new ConfigError("policy-audit-mode", `${JSON.stringify(text)} is neither true nor false`);
  return text === "true";
}
