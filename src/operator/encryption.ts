/** The CiliumEncryption named default: there while the chart's values switch encryption on. */
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import type { EncryptionDecision } from "../compile/index.ts";
import { CILIUM_ENCRYPTIONS } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { failingNodes, firstOf, namesOf, readyCondition, saidByNodes } from "./default-object.ts";
import type { DefaultObject, FailingNode, NodeSources, Verdict } from "./default-object.ts";
import type { CiliumNodeReport } from "./rows.ts";

export type EncryptionStatus = NonNullable<CiliumEncryption["status"]>;
/** What a node's agent says; undefined: it says nothing. */
export type NodeEncryptionRow = NonNullable<CiliumNodeReport["encryption"]>;

/** Why a node is not counted; undefined: it is. */
function shortfall(row: NodeEncryptionRow | undefined): string | undefined {
  if (row === undefined) return "its agent does not say that it encrypts";
  if (row.phase === "Enforced" && row.message === undefined) return undefined;
  return row.message ?? (row.phase === "Confirmed" ? "it waits until every other node was reached by all" : "it waits for the other nodes");
}

function verdict(total: number, failing: readonly FailingNode[], rows: readonly (NodeEncryptionRow | undefined)[]): Verdict {
  if (failing.length === 0) return { status: "True", reason: "Encrypted", message: `all ${total} nodes encrypt, and drop what would leave in clear` };
  const enforcing = rows.filter((row) => row?.phase === "Enforced").length;
  const which = namesOf(failing);
  if (enforcing === total) return { status: "False", reason: "Unreachable", message: `nothing leaves in clear, and some nodes do not reach others: ${which}` };
  const clear = enforcing === 0 ? "what pods of different nodes say to each other is not encrypted everywhere yet" : `${enforcing} of ${total} nodes drop what would leave in clear`;
  return { status: "False", reason: "Preparing", message: `${clear}; not ready: ${which}` };
}

/** Pure. `nodes`: name → what its agent says. */
export function encryptionStatus(object: CiliumEncryption, enabled: boolean, nodes: ReadonlyMap<string, NodeEncryptionRow | undefined>, now: string): EncryptionStatus {
  const rows = [...nodes.values()];
  const failing = failingNodes(nodes, shortfall);
  const found = enabled
    ? verdict(nodes.size, failing, rows)
    : ({ status: "False", reason: "NotEnabled", message: "nothing is encrypted: the chart's value encryption.enabled is false" } as const);
  return {
    observedGeneration: object.metadata.generation ?? 0,
    nodes: `${nodes.size - failing.length}/${nodes.size}`,
    kernel: rows.filter((row) => row?.device === "Kernel").length,
    userspace: rows.filter((row) => row?.device === "Userspace").length,
    failingNodes: enabled ? [...firstOf(failing)] : [],
    conditions: [readyCondition(object, found, now)],
  };
}

export interface EncryptionSources extends NodeSources {
  readonly encryptions: Source<CiliumEncryption>;
}

/** Every field, so that a merge leaves nothing of an earlier spec. */
export function encryptionSpec({ port, persistentKeepalive, keyRotationMs = 0, userspace }: EncryptionDecision): CiliumEncryption["spec"] {
  return { type: "wireguard", port, persistentKeepalive, keyRotationSeconds: keyRotationMs / 1000, userspace };
}

export function defaultEncryption(decision: EncryptionDecision | undefined, sources: EncryptionSources): DefaultObject<CiliumEncryption> {
  return {
    type: CILIUM_ENCRYPTIONS,
    objects: sources.encryptions,
    spec: decision === undefined ? undefined : encryptionSpec(decision),
    status: (object, now) => encryptionStatus(object, decision !== undefined, saidByNodes(sources, ({ encryption }) => encryption), now),
  };
}
