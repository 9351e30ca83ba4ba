/** The agent's answer: which revision is in force on this node, and what could not be applied. Written only when it changed. */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import type { OwnerReference } from "../api/meta.ts";
import { canonicalJson } from "../lib/hash.ts";
import { WorkQueue } from "../lib/queue.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import { OK } from "../lib/lifecycle.ts";
import type { Component, Health } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import type { KubeClient } from "../kube/client.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import { CILIUM_NODE_STATES } from "../kube/kinds.ts";
import { FORMAT, NODE_LABEL, nodeKey, statusName } from "./names.ts";

export interface Acknowledgement {
  readonly revision: number;
  readonly hash: string;
  readonly failures: readonly { readonly part: string; readonly message: string }[];
  /** UIDs of the policies that are not in force because of the failures; undefined with failures: all of them. */
  readonly failedPolicies?: readonly string[] | undefined;
}

export interface AcknowledgerOptions {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly node: string;
  /** UID of the Node object, once known. */
  readonly nodeUid: () => string | undefined;
}

const MAX_FAILURES = 20;
const MAX_MESSAGE = 500;

export class Acknowledger implements Component, Reconciler {
  readonly name = "acknowledger";
  readonly #options: AcknowledgerOptions;
  readonly #queue: WorkQueue;
  #latest: Acknowledgement | undefined;
  #written: string | undefined;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({ name: "acknowledge", logger: options.logger, backoff: { firstMs: 100, maxMs: 10_000 } });
  }

  start(signal: AbortSignal): Promise<void> {
    this.#queue.run(this, signal);
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  health(): Health {
    return OK;
  }

  /** Says what is in force now. Returns at once; the last word is written, with retries. */
  acknowledge(acknowledgement: Acknowledgement): void {
    this.#latest = acknowledgement;
    this.#queue.add(this.#options.node);
  }

  async reconcile(_node: string, signal: AbortSignal): Promise<ReconcileResult> {
    const latest = this.#latest;
    if (latest === undefined) return {};
    const status = this.#status(latest);
    const text = canonicalJson(status);
    if (text === this.#written) return {};
    await this.#write(status, signal);
    this.#written = text;
    return {};
  }

  async #write(status: NonNullable<CiliumNodeState["status"]>, signal: AbortSignal): Promise<void> {
    const { client, node } = this.#options;
    // A merge patch replaces lists and keeps fields that are absent, so what went is set to null.
    const patch = { failures: null, failedPolicies: null, ...status };
    try {
      await client.patchStatus(CILIUM_NODE_STATES, { name: statusName(node) }, patch, signal);
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
      await this.#create(signal);
      await client.patchStatus(CILIUM_NODE_STATES, { name: statusName(node) }, patch, signal);
    }
  }

  async #create(signal: AbortSignal): Promise<void> {
    const { client, node, nodeUid } = this.#options;
    const uid = nodeUid();
    const metadata = {
      name: statusName(node),
      labels: { [NODE_LABEL]: nodeKey(node) },
      ...(uid === undefined ? {} : { ownerReferences: [ownerOf(node, uid)] }),
    };
    try {
      await client.create(CILIUM_NODE_STATES, { metadata, node }, signal);
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
    }
  }

  #status({ revision, hash, failures, failedPolicies }: Acknowledgement): NonNullable<CiliumNodeState["status"]> {
    const uid = this.#options.nodeUid();
    return {
      appliedRevision: revision,
      appliedHash: hash,
      formats: [FORMAT],
      ...(uid === undefined ? {} : { nodeUID: uid }),
      ...(failures.length === 0 ? {} : { failures: failures.slice(0, MAX_FAILURES).map(({ part, message }) => ({ part, message: message.slice(0, MAX_MESSAGE) })) }),
      ...(failures.length === 0 || failedPolicies === undefined ? {} : { failedPolicies: [...failedPolicies].sort() }),
    };
  }
}

/** The Node owns what belongs to it, so that the garbage collector removes it with the Node. */
export function ownerOf(node: string, uid: string): OwnerReference {
  return { apiVersion: "v1", kind: "Node", name: node, uid };
}
