/**
 * Keeps the CiliumEncryption named default: there while the chart's values switch encryption on, with a status that says
 * what the nodes' agents say of themselves. An object that somebody else made is never deleted; it is told that it is not in force.
 */
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import type { KubeClient } from "../kube/client.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import { CILIUM_ENCRYPTIONS } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { NodeRow } from "./rows.ts";

export const DEFAULT_ENCRYPTION = "default";
const OURS = { "app.kubernetes.io/managed-by": "cilium-operator" };
const NAMED = 10;

export type EncryptionStatus = NonNullable<CiliumEncryption["status"]>;
type Condition = EncryptionStatus["conditions"][number];
/** What a node's agent says; undefined: it says nothing. */
export type NodeEncryptionRow = NonNullable<NonNullable<CiliumNode["status"]>["encryption"]>;

export function decodeNodeEncryption(node: CiliumNode): NodeEncryptionRow | undefined {
  return node.status?.encryption;
}

/** Why a node is not counted; undefined: it is. */
function shortfall(row: NodeEncryptionRow | undefined): string | undefined {
  if (row === undefined) return "its agent does not say that it encrypts";
  if (row.phase === "Enforced" && row.message === undefined) return undefined;
  return row.message ?? (row.phase === "Confirmed" ? "it waits until every other node was reached by all" : "it waits for the other nodes");
}

function verdict(total: number, failing: readonly string[], rows: readonly (NodeEncryptionRow | undefined)[]): Pick<Condition, "status" | "reason" | "message"> {
  if (failing.length === 0) return { status: "True", reason: "Encrypted", message: `all ${total} nodes encrypt, and drop what would leave in clear` };
  const enforcing = rows.filter((row) => row?.phase === "Enforced").length;
  const which = `${failing.slice(0, NAMED).join(", ")}${failing.length > NAMED ? `, and ${failing.length - NAMED} more` : ""}`;
  if (enforcing === total) return { status: "False", reason: "Unreachable", message: `nothing leaves in clear, and some nodes do not reach others: ${which}` };
  const clear = enforcing === 0 ? "what pods of different nodes say to each other is not encrypted everywhere yet" : `${enforcing} of ${total} nodes drop what would leave in clear`;
  return { status: "False", reason: "Preparing", message: `${clear}; not ready: ${which}` };
}

/** Pure. `nodes`: name → what its agent says. */
export function encryptionStatus(object: CiliumEncryption, enabled: boolean, nodes: ReadonlyMap<string, NodeEncryptionRow | undefined>, now: string): EncryptionStatus {
  const { generation = 0 } = object.metadata;
  const rows = [...nodes.values()];
  const failing = [...nodes].flatMap(([name, row]) => {
    const message = shortfall(row);
    return message === undefined ? [] : [{ name, message }];
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found = enabled
    ? verdict(nodes.size, failing.map(({ name }) => name), rows)
    : ({ status: "False", reason: "NotEnabled", message: "nothing is encrypted: the chart's value encryption.enabled is false" } as const);
  const before = object.status?.conditions.find(({ type }) => type === "Ready");
  const lastTransitionTime = before?.status === found.status ? before.lastTransitionTime : now;
  return {
    observedGeneration: generation,
    nodes: `${nodes.size - failing.length}/${nodes.size}`,
    kernel: rows.filter((row) => row?.device === "Kernel").length,
    userspace: rows.filter((row) => row?.device === "Userspace").length,
    failingNodes: enabled ? failing.slice(0, NAMED) : [],
    conditions: [{ type: "Ready", ...found, observedGeneration: generation, lastTransitionTime }],
  };
}

export interface EncryptionKeeperOptions {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly enabled: boolean;
  readonly objects: Source<CiliumEncryption>;
  readonly nodes: Source<NodeRow>;
  readonly ciliumNodes: Source<NodeEncryptionRow>;
  readonly now: () => Date;
}

export class EncryptionKeeper implements Reconciler {
  readonly #options: EncryptionKeeperOptions;

  constructor(options: EncryptionKeeperOptions) {
    this.#options = options;
  }

  async reconcile(_key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, objects, enabled } = this.#options;
    const object = objects.objects.get(DEFAULT_ENCRYPTION);
    if (object === undefined) {
      if (enabled) await this.#create(signal);
      return {};
    }
    if (!enabled && isOurs(object)) {
      await client.delete(CILIUM_ENCRYPTIONS, { name: DEFAULT_ENCRYPTION }, { signal });
      return {};
    }
    await this.#tell(object, signal);
    return {};
  }

  async #create(signal: AbortSignal): Promise<void> {
    const object: CiliumEncryption = { metadata: { name: DEFAULT_ENCRYPTION, labels: OURS }, spec: { type: "wireguard" } };
    await this.#options.client.create(CILIUM_ENCRYPTIONS, object, signal).catch((thrown: unknown) => {
      if (!isConflict(thrown)) throw thrown; // there already: the watch is behind
    });
  }

  async #tell(object: CiliumEncryption, signal: AbortSignal): Promise<void> {
    const { client, events, enabled, nodes, ciliumNodes, now } = this.#options;
    const standing = new Map([...nodes.objects.keys()].map((name) => [name, ciliumNodes.objects.get(name)] as const));
    const status = encryptionStatus(object, enabled, standing, now().toISOString().replace(/\.\d+Z$/, "Z"));
    if (canonicalJson(object.status ?? null) === canonicalJson(status)) return;
    try {
      await client.patchStatus(CILIUM_ENCRYPTIONS, object.metadata, status, signal, object.metadata.uid);
    } catch (thrown) {
      if (isNotFound(thrown)) return;
      throw thrown;
    }
    const [was, is] = [object.status?.conditions[0], status.conditions[0]];
    if (is !== undefined && (was?.status !== is.status || was.reason !== is.reason)) await events.record(CILIUM_ENCRYPTIONS, object, is.status === "True" ? "Normal" : "Warning", is.reason, is.message);
  }
}

function isOurs(object: CiliumEncryption): boolean {
  return Object.entries(OURS).every(([key, value]) => object.metadata.labels?.[key] === value);
}
