/** What the agent tells of its node: the CiliumNode object, and on the Node the taint and the condition. */
import type { Node } from "../api/core.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import { CILIUM_NODES, NODES, objectPath } from "../kube/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { decodeCiliumNode } from "./objects.ts";
import type { EncryptionReport } from "./encryption.ts";
import type { CiliumNodeRow, RoutingStatus } from "./objects.ts";
import type { LocalNode } from "./peers.ts";

export const NOT_READY_TAINT = "node.cilium.io/agent-not-ready";
const MANAGER = "cilium-agent";
/** Far from a heartbeat: only for someone who puts the taint back or clears the condition. */
const LOOK_AGAIN_MS = 60_000;

const LOOK_SOON_MS = 100;

/** Whether the node encrypts is known; without a report it does not. Until then its key must not leave the object. */
export interface KnownEncryption {
  readonly report: EncryptionReport | undefined;
}

export interface CiliumNodeWriterOptions {
  readonly client: KubeClient;
  readonly local: () => LocalNode;
  /** The object as the API server has it. */
  readonly current: () => CiliumNodeRow | undefined;
  /** undefined: not known yet. */
  readonly encryption: () => KnownEncryption | undefined;
  /** undefined: not known yet; what was said before the agent started stays until then. */
  readonly routing: () => RoutingStatus | undefined;
}

export class CiliumNodeWriter implements Reconciler {
  readonly #options: CiliumNodeWriterOptions;

  constructor(options: CiliumNodeWriterOptions) {
    this.#options = options;
  }

  async reconcile(_key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, local, current, encryption, routing } = this.#options;
    const known = encryption();
    if (known === undefined) return { requeueAfterMs: LOOK_SOON_MS };
    const wanted = ciliumNode(local(), known.report, routing() ?? current()?.routing);
    if (JSON.stringify(current()) === JSON.stringify(decodeCiliumNode(wanted))) return {};
    await client.apply(CILIUM_NODES, wanted, MANAGER, signal);
    return {};
  }
}

function ciliumNode(local: LocalNode, encryption: EncryptionReport | undefined, routing: RoutingStatus | undefined): CiliumNode {
  const owner = { apiVersion: "v1", kind: "Node", name: local.name, uid: local.uid };
  return {
    metadata: { name: local.name, ...(local.uid === "" ? {} : { ownerReferences: [owner] }) },
    spec: {
      addresses: [
        ...local.internalIps.map((ip) => ({ type: "InternalIP" as const, ip })),
        ...local.routerIps.map((ip) => ({ type: "CiliumInternalIP" as const, ip })),
      ],
      ipam: { podCIDRs: [...local.podCidrs] },
      ...(encryption?.keys === undefined ? {} : { encryption: encryption.keys }),
    },
    ...(encryption === undefined && routing === undefined ? {} : { status: { ...(encryption === undefined ? {} : { encryption: encryption.status }), ...(routing === undefined ? {} : { routing }) } }),
  };
}

/** Once the agent serves: pods may be scheduled here. It only ever says that the network is there, never that it is not. */
export class NodeReadiness implements Reconciler {
  readonly #client: KubeClient;
  readonly #nodeName: string;
  readonly #isReady: () => boolean;
  readonly #more: () => string;

  /** @param more follows the words of the condition. */
  constructor(client: KubeClient, nodeName: string, isReady: () => boolean, more: () => string = () => "") {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#isReady = isReady;
    this.#more = more;
  }

  async reconcile(_key: string, signal: AbortSignal): Promise<ReconcileResult> {
    if (!this.#isReady()) return { requeueAfterMs: 500 };
    const node = await this.#client.get(NODES, { name: this.#nodeName }, signal);
    if (node === undefined) return { requeueAfterMs: LOOK_AGAIN_MS };
    await this.#setCondition(node, signal);
    await this.#clearTaint(node, signal);
    return { requeueAfterMs: LOOK_AGAIN_MS };
  }

  async #setCondition(node: Node, signal: AbortSignal): Promise<void> {
    const current = node.status?.conditions?.find((condition) => condition.type === "NetworkUnavailable");
    const message = `the cilium agent serves${this.#more()}`;
    const isUp = current?.status === "False" && current.reason === "CiliumIsUp";
    if (isUp && current.message === message) return;
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const since = (isUp ? current.lastTransitionTime : undefined) ?? now;
    const condition = { type: "NetworkUnavailable", status: "False", reason: "CiliumIsUp", message, lastHeartbeatTime: now, lastTransitionTime: since };
    // Strategic merge: conditions are merged by type, so that the kubelet's stay.
    await this.#client.transport.json({
      method: "PATCH",
      path: objectPath(NODES, { name: this.#nodeName }, "status"),
      body: { status: { conditions: [condition] } },
      contentType: "application/strategic-merge-patch+json",
      signal,
    });
  }

  async #clearTaint(node: Node, signal: AbortSignal): Promise<void> {
    const taints = node.spec?.taints ?? [];
    const kept = taints.filter((taint) => taint.key !== NOT_READY_TAINT);
    if (kept.length === taints.length) return;
    // With the version: a taint that another adds meanwhile must not be lost.
    const metadata = { resourceVersion: node.metadata.resourceVersion };
    await this.#client.patch(NODES, { name: this.#nodeName }, { metadata, spec: { taints: kept } }, signal);
  }
}
