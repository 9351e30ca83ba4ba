/**
 * Keeps the CiliumEndpoint objects of this node's pods equal to its attachments. Level-triggered by key: whatever
 * happened, the object is compared with what it should be. The attachments on disk are the truth, so nothing is lost
 * when the agent is killed or the API server is away.
 */
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { Attachment } from "../cni/index.ts";
import { CILIUM_ENDPOINTS, refOf } from "../kube/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { formatPorts } from "./objects.ts";
import type { EndpointObjectRow } from "./endpoint-rows.ts";
import type { NamedPorts } from "../targets/index.ts";
import type { LocalNode } from "./peers.ts";

export interface EndpointWriterOptions {
  readonly client: KubeClient;
  readonly local: () => LocalNode;
  readonly attachments: ReadonlyMap<string, Attachment>;
  /** CiliumEndpoint objects by `namespace/name`, and whether all are known. */
  readonly objects: ReadonlyMap<string, EndpointObjectRow>;
  readonly isSynced: () => boolean;
  readonly isReady: (containerId: string) => boolean;
  /** The API server has no such pod any more: its object would only be collected as garbage. */
  readonly isGone: (attachment: Attachment) => boolean;
  readonly labels: (identity: number) => readonly string[];
  readonly namedPorts: (attachment: Attachment) => NamedPorts | undefined;
}

const MANAGER = "cilium-agent";

export class EndpointWriter implements Reconciler {
  readonly #options: EndpointWriterOptions;

  constructor(options: EndpointWriterOptions) {
    this.#options = options;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, objects, isSynced } = this.#options;
    const attachment = this.#attachmentOf(key);
    const current = objects.get(key);
    if (attachment === undefined || this.#options.isGone(attachment)) {
      if (isSynced() && current?.own !== undefined) {
        const { uid, resourceVersion } = current.own;
        await client.delete(CILIUM_ENDPOINTS, refOf(key), { uid, resourceVersion, signal });
      }
      return {};
    }
    const wanted = this.#objectOf(attachment);
    if (current === undefined || !this.#isEqual(current, attachment, wanted)) await client.apply(CILIUM_ENDPOINTS, wanted, MANAGER, signal);
    return {};
  }

  /** Of two sandboxes of one pod the later endpoint id is the newer one. */
  #attachmentOf(key: string): Attachment | undefined {
    let newest: Attachment | undefined;
    for (const attachment of this.#options.attachments.values()) {
      if (`${attachment.namespace}/${attachment.pod}` !== key) continue;
      if (newest === undefined || attachment.endpointId > newest.endpointId) newest = attachment;
    }
    return newest;
  }

  #isEqual(current: EndpointObjectRow, attachment: Attachment, wanted: CiliumEndpoint): boolean {
    const ips = [attachment.ipv4, attachment.ipv6].filter((ip) => ip !== undefined);
    const { own } = current;
    return (
      own !== undefined &&
      own.ownerUid === attachment.uid &&
      own.id === attachment.endpointId &&
      current.identity === attachment.identity &&
      own.state === wanted.status?.state &&
      own.node === wanted.status.networking.node &&
      current.ips.join() === ips.join() &&
      JSON.stringify(current.namedPorts) === JSON.stringify(this.#options.namedPorts(attachment))
    );
  }

  #objectOf(attachment: Attachment): CiliumEndpoint {
    const { local, labels, isReady } = this.#options;
    const ports = this.#options.namedPorts(attachment);
    const { name, internalIps } = local();
    const { ipv4, ipv6 } = attachment;
    const owner = { apiVersion: "v1", kind: "Pod", name: attachment.pod, uid: attachment.uid };
    return {
      metadata: { name: attachment.pod, namespace: attachment.namespace, ownerReferences: [owner] },
      status: {
        id: attachment.endpointId,
        state: isReady(attachment.containerId) ? "ready" : "waiting-for-policy",
        identity: { id: attachment.identity, labels: [...labels(attachment.identity)] },
        ...(ports === undefined ? {} : { "named-ports": formatPorts(ports) }),
        networking: {
          addressing: [{ ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) }],
          node: internalIps[0] ?? "",
          nodeName: name,
        },
      },
    };
  }
}
