/**
 * The operator's side: writes a node's state as immutable parts and one manifest, in this order, so that there is a
 * whole state at every moment, also when the operator dies in between:
 *   1. the parts that are not there yet   2. the manifest that names them all   3. away with parts that it no longer names
 * The manifest is compared and swapped on its resourceVersion and never replaces one of a later term of leadership.
 */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import type { NodeState } from "../compile/state.ts";
import { CodedError, asError, describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { KubeClient } from "../kube/client.ts";
import { isConflict } from "../kube/errors.ts";
import { CILIUM_NODE_STATES } from "../kube/kinds.ts";
import { decodeDocument, encodeDocument, hashOf, manifestHash, nextDocument } from "./document.ts";
import type { Document, Part } from "./document.ts";
import { FormatNotUnderstood, formatOf } from "./formats.ts";
import { NODE_LABEL, manifestName, nodeKey, ownerOf, partName } from "./names.ts";

export interface WriteTarget {
  readonly node: string;
  readonly nodeUid: string;
  /** The revision that the node acknowledged; 0 when none. */
  readonly acknowledged: number;
  /** Formats that the node's agent announced; undefined when it has not said anything yet. */
  readonly formats?: readonly number[] | undefined;
  /** Term of the leadership under which the write happens. */
  readonly transitions: number;
  readonly signal: AbortSignal;
}

export interface WrittenState {
  readonly revision: number;
  readonly document: Document;
}

type Manifest = NonNullable<CiliumNodeState["manifest"]>;

interface Content {
  readonly revision: number;
  readonly format: number;
  readonly parts: readonly Part[];
}

interface Known {
  readonly manifest: CiliumNodeState;
  readonly document: Document | undefined;
}

/** Another process leads now: nothing more may be written. */
export class DeposedError extends CodedError {
  constructor(node: string, own: number, other: number) {
    super("DEPOSED", `node state of ${node} was written in term ${other}, ours is ${own}`);
    this.name = "DeposedError";
  }
}

export class NodeStateWriter {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #known = new Map<string, Known>();

  constructor(client: KubeClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /**
   * Makes the objects of the node say `state`; writes nothing when they do. Idempotent; after any error the next call
   * starts from what the API server has.
   */
  async write(target: WriteTarget, state: NodeState): Promise<WrittenState> {
    try {
      return await this.#write(target, state);
    } catch (thrown) {
      this.#known.delete(target.node);
      throw thrown;
    }
  }

  /** Whether the node's state, as it was written last, needs the object of this name. */
  needs(node: string, name: string): boolean {
    const manifest = this.#known.get(node)?.manifest;
    return manifest !== undefined && (manifest.metadata.name === name || (manifest.manifest?.parts.some((part) => part.name === name) ?? false));
  }

  /** Forgets what was written: the next write starts from what the API server has. */
  forget(node: string): void {
    this.#known.delete(node);
  }

  async #write(target: WriteTarget, state: NodeState): Promise<WrittenState> {
    const { node, acknowledged, transitions, signal } = target;
    const remembered = this.#known.get(node);
    const known = remembered ?? (await this.#read(node, signal));
    const current = known?.manifest.manifest;
    if (current !== undefined && current.leaseTransitions > transitions) throw new DeposedError(node, transitions, current.leaseTransitions);
    const revision = (current?.revision ?? 0) + 1;
    const document = nextDocument(known?.document, state, revision, acknowledged);
    const parts = encodeDocument(document);
    const format = formatOf(document);
    if (target.formats !== undefined && !target.formats.includes(format)) throw new FormatNotUnderstood(node, format, target.formats);
    if (current !== undefined && says(current, target, format, parts)) return { revision: current.revision, document };
    const before = new Set(current?.parts.map((part) => part.name));
    const manifest = await this.#publish(target, known?.manifest, { revision, format, parts });
    this.#known.set(node, { manifest, document });
    await this.#sweep(target, remembered === undefined ? await this.#partsOf(node, signal) : before, parts);
    return { revision, document };
  }

  /** Steps 1 and 2. */
  async #publish(target: WriteTarget, current: CiliumNodeState | undefined, { revision, format, parts }: Content): Promise<CiliumNodeState> {
    const { node, nodeUid, transitions } = target;
    const before = new Set(current?.manifest?.parts.map((part) => part.name));
    await this.#createParts(target, parts.filter((part) => !before.has(partName(node, part.hash))));
    return this.#swapManifest(target, current, {
      revision,
      hash: manifestHash(parts.map((part) => part.hash)),
      format,
      nodeUID: nodeUid,
      leaseTransitions: transitions,
      parts: parts.map((part) => ({ name: partName(node, part.hash), hash: part.hash })),
    });
  }

  /** Step 3. */
  async #sweep({ node, signal }: WriteTarget, existing: Iterable<string>, parts: readonly Part[]): Promise<void> {
    const named = new Set(parts.map((part) => partName(node, part.hash)));
    for (const name of existing) if (!named.has(name)) await this.#client.delete(CILIUM_NODE_STATES, { name }, { signal });
  }

  async #createParts({ node, nodeUid, signal }: WriteTarget, parts: readonly Part[]): Promise<void> {
    for (const part of parts) {
      try {
        await this.#client.create(CILIUM_NODE_STATES, { metadata: metadata(partName(node, part.hash), node, nodeUid), node, part: { ...part } }, signal);
      } catch (thrown) {
        // Its name is its content, so what is there already is the same, unless it belongs to an earlier Node of the name.
        if (!isConflict(thrown)) throw thrown;
        await this.#adopt(partName(node, part.hash), node, nodeUid, signal);
      }
    }
  }

  async #adopt(name: string, node: string, nodeUid: string, signal: AbortSignal): Promise<void> {
    await this.#client.patch(CILIUM_NODE_STATES, { name }, { metadata: { ownerReferences: [ownerOf(node, nodeUid)] } }, signal);
  }

  async #swapManifest(target: WriteTarget, current: CiliumNodeState | undefined, manifest: Manifest): Promise<CiliumNodeState> {
    const { node, nodeUid, signal } = target;
    const fresh = metadata(manifestName(node), node, nodeUid);
    if (current === undefined) return this.#client.create(CILIUM_NODE_STATES, { metadata: fresh, node, manifest }, signal);
    const resourceVersion = current.metadata.resourceVersion;
    const object = { metadata: { ...fresh, ...(resourceVersion === undefined ? {} : { resourceVersion }) }, node, manifest };
    return this.#client.replace(CILIUM_NODE_STATES, object, signal);
  }

  /** All parts of the node, also those that a dead predecessor left behind. */
  async #partsOf(node: string, signal: AbortSignal): Promise<readonly string[]> {
    const { items } = await this.#client.list(CILIUM_NODE_STATES, { labelSelector: `${NODE_LABEL}=${nodeKey(node)}`, signal });
    return items.filter((item) => item.part !== undefined).map((item) => item.metadata.name);
  }

  /** What an earlier operator wrote. Parts that are missing or damaged only cost the marks. */
  async #read(node: string, signal: AbortSignal): Promise<Known | undefined> {
    const manifest = await this.#client.get(CILIUM_NODE_STATES, { name: manifestName(node) }, signal);
    if (manifest?.manifest === undefined) return undefined;
    try {
      const data: string[] = [];
      for (const { name, hash } of manifest.manifest.parts) {
        const part = (await this.#client.get(CILIUM_NODE_STATES, { name }, signal))?.part;
        if (part === undefined || hashOf(part.data) !== hash) throw new Error(`part ${name} is missing or damaged`);
        data.push(part.data);
      }
      return { manifest, document: decodeDocument(data) };
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      this.#logger.warn("earlier node state not readable, it is written anew", { node, reason: describeError(thrown), error: asError(thrown) });
      return { manifest, document: undefined };
    }
  }
}

/** Whether the manifest says already what is to be written. */
function says(manifest: Manifest, { nodeUid }: WriteTarget, format: number, parts: readonly Part[]): boolean {
  return manifest.hash === manifestHash(parts.map((part) => part.hash)) && manifest.format === format && manifest.nodeUID === nodeUid;
}

function metadata(name: string, node: string, nodeUid: string): CiliumNodeState["metadata"] {
  return { name, labels: { [NODE_LABEL]: nodeKey(node) }, ownerReferences: [ownerOf(node, nodeUid)] };
}
