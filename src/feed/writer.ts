/**
 * The operator's side: writes a node's state as immutable parts and one manifest, in this order, so that there is a
 * whole state at every moment, also when the operator dies in between:
 *   1. the parts that are to be objects and are not there yet   2. the manifest that names or carries all parts
 *   3. away with objects that it no longer needs
 * Mostly that is one write, as the manifest carries what is new (carriage.ts). The manifest is compared and swapped on its resourceVersion and never replaces one of a later term of leadership.
 */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import type { NodeState } from "../compile/state.ts";
import { CodedError, asError, describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { KubeClient } from "../kube/client.ts";
import { isConflict } from "../kube/errors.ts";
import { CILIUM_NODE_STATES } from "../kube/kinds.ts";
import { place, placeApart } from "./carriage.ts";
import type { Placement } from "./carriage.ts";
import { decodeDocument, encodeDocument, hasPieces, hashOf, manifestHash, nextDocument } from "./document.ts";
import type { Document, Part } from "./document.ts";
import { CARRYING_FORMAT, FormatNotUnderstood, formatOf } from "./formats.ts";
import { isIntact } from "./intact.ts";
import { NODE_LABEL, carriedName, manifestName, nodeKey, ownerOf, partName } from "./names.ts";

export interface WriteTarget {
  readonly node: string;
  readonly nodeUid: string;
  /** The revision that the node acknowledged; 0 when none. */
  readonly acknowledged: number;
  /** The revision that the caller knows to be written last, also when somebody deleted or changed the manifest since. */
  readonly written?: number | undefined;
  /** Formats that the node's agent announced; undefined when it has not said anything yet. */
  readonly formats?: readonly number[] | undefined;
  /** Term of the leadership under which the write happens. */
  readonly transitions: number;
  readonly signal: AbortSignal;
}

export interface WrittenState {
  readonly revision: number;
  readonly format: number;
  readonly document: Document;
}

type Manifest = NonNullable<CiliumNodeState["manifest"]>;
/** A manifest without its parts. */
export type ManifestHead = Omit<Manifest, "parts">;

interface Content {
  readonly revision: number;
  readonly format: number;
  readonly parts: readonly Part[];
  readonly placement: Placement;
}

/** What the API server has, without the data. */
interface Known {
  readonly resourceVersion: string | undefined;
  readonly manifest: ManifestHead;
  readonly placement: Placement;
  readonly document: Document | undefined;
  /** Parts that a dead predecessor left behind are gone. */
  readonly isSwept: boolean;
}

/** A write under way, and what it will have made of the manifest; without it, what is there is still being read. */
interface Flight {
  content?: Pick<Known, "manifest" | "placement">;
}

const NOWHERE: Placement = new Map();

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
  /** By node. One that is forgotten meanwhile is not here any more, and nothing of it is remembered. */
  readonly #flights = new Map<string, Flight>();

  constructor(client: KubeClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /**
   * Makes the objects of the node say `state`; writes nothing when they do. Idempotent; after any error the next call
   * starts from what the API server has.
   */
  async write(target: WriteTarget, state: NodeState): Promise<WrittenState> {
    const { node } = target;
    const flight: Flight = {};
    this.#flights.set(node, flight);
    try {
      return await this.#write(flight, target, state);
    } catch (thrown) {
      this.#known.delete(node);
      throw thrown;
    } finally {
      if (this.#flights.get(node) === flight) this.#flights.delete(node);
    }
  }

  /** Whether the node's state needs the object of this name, as it was written last or is being written. While it is being read: any. */
  needs(node: string, name: string): boolean {
    return this.#said(node).some((said) => said === undefined || name === manifestName(node) || objectsOf(node, said.placement).has(name));
  }

  /** Whether a manifest is another than was written last and than is being written: a later one, one of before that is told late, or changed by hand. */
  differs(node: string, manifest: ManifestHead): boolean {
    const said = this.#said(node);
    return said.length > 0 && !said.some((each) => each !== undefined && isSame(each.manifest, manifest));
  }

  /** Forgets what was written or is being written: the next write starts from what the API server has. */
  forget(node: string): void {
    this.#known.delete(node);
    this.#flights.delete(node);
  }

  /** What events may tell of: what is known, and what a write makes of it; undefined while that is not known yet. */
  #said(node: string): readonly (Flight["content"])[] {
    const [known, flight] = [this.#known.get(node), this.#flights.get(node)];
    return [...(known === undefined ? [] : [known]), ...(flight === undefined ? [] : [flight.content])];
  }

  #remember(flight: Flight, node: string, known: Known): void {
    if (this.#flights.get(node) === flight) this.#known.set(node, known);
  }

  async #write(flight: Flight, target: WriteTarget, state: NodeState): Promise<WrittenState> {
    const { node, acknowledged, transitions, signal } = target;
    const remembered = this.#known.get(node);
    const known = remembered ?? (await this.#read(node, signal));
    const current = known?.manifest;
    if (current !== undefined && current.leaseTransitions > transitions) throw new DeposedError(node, transitions, current.leaseTransitions);
    const floor = lastRevision(target, known);
    const revision = floor + 1;
    const document = nextDocument(known?.document, state, revision, acknowledged);
    const parts = encodeDocument(document);
    const content = { revision, parts, ...carriage(target, parts, known?.placement ?? NOWHERE, formatOf(document, hasPieces(parts))) };
    if (known !== undefined && known.manifest.revision === floor && says(known.manifest, target, content)) {
      this.#remember(flight, node, { ...known, document });
      return { revision: floor, format: content.format, document };
    }
    const manifest = headOf(target, content);
    flight.content = { manifest, placement: content.placement };
    const resourceVersion = await this.#publish(target, known, content, manifest);
    const next = { ...flight.content, resourceVersion, document };
    this.#remember(flight, node, { ...next, isSwept: false });
    const existing = remembered?.isSwept === true ? objectsOf(node, remembered.placement) : await this.#partsOf(node, signal);
    await this.#sweep(target, existing, content.placement);
    this.#remember(flight, node, { ...next, isSwept: true });
    return { revision, format: content.format, document };
  }

  /** Steps 1 and 2. */
  async #publish(target: WriteTarget, known: Known | undefined, { parts, placement }: Content, manifest: ManifestHead): Promise<string | undefined> {
    const { node } = target;
    const isObject = ({ hash }: Part): boolean => placement.get(hash) === false;
    await this.#createParts(target, parts.filter((part) => isObject(part) && known?.placement.get(part.hash) !== false));
    const named = parts.map((part) => (isObject(part) ? { name: partName(node, part.hash), hash: part.hash } : { name: carriedName(node, part.hash), ...part }));
    const { metadata: written } = await this.#swapManifest(target, known, { ...manifest, parts: named });
    return written.resourceVersion;
  }

  /** Step 3. */
  async #sweep({ node, signal }: WriteTarget, existing: Iterable<string>, placement: Placement): Promise<void> {
    const needed = objectsOf(node, placement);
    for (const name of existing) if (!needed.has(name)) await this.#client.delete(CILIUM_NODE_STATES, { name }, { signal });
  }

  async #createParts({ node, nodeUid, signal }: WriteTarget, parts: readonly Part[]): Promise<void> {
    for (const part of parts) {
      try {
        await this.#client.create(CILIUM_NODE_STATES, { metadata: metadata(partName(node, part.hash), node, nodeUid), node, part: { ...part } }, signal);
      } catch (thrown) {
        if (!isConflict(thrown)) throw thrown;
        await this.#adopt(part, node, nodeUid, signal);
      }
    }
  }

  /** Its name is its content, so what is there already is the same, unless it is an earlier Node's of the name, or somebody wrote it by hand. */
  async #adopt({ hash, data }: Part, node: string, nodeUid: string, signal: AbortSignal): Promise<void> {
    const name = partName(node, hash);
    const there = await this.#client.get(CILIUM_NODE_STATES, { name }, signal);
    if (there?.part?.data !== data) {
      await this.#client.delete(CILIUM_NODE_STATES, { name }, { signal });
      await this.#client.create(CILIUM_NODE_STATES, { metadata: metadata(name, node, nodeUid), node, part: { hash, data } }, signal);
      return;
    }
    await this.#client.patch(CILIUM_NODE_STATES, { name }, { metadata: { ownerReferences: [ownerOf(node, nodeUid)] } }, signal);
  }

  async #swapManifest(target: WriteTarget, known: Known | undefined, manifest: Manifest): Promise<CiliumNodeState> {
    const { node, nodeUid, signal } = target;
    const fresh = metadata(manifestName(node), node, nodeUid);
    if (known === undefined) return this.#client.create(CILIUM_NODE_STATES, { metadata: fresh, node, manifest }, signal);
    const { resourceVersion } = known;
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
    const object = await this.#client.get(CILIUM_NODE_STATES, { name: manifestName(node) }, signal);
    if (object?.manifest === undefined) return undefined;
    const { parts, ...manifest } = object.manifest;
    const known = { resourceVersion: object.metadata.resourceVersion, manifest, placement: new Map(parts.map(({ hash, data }) => [hash, data !== undefined])), isSwept: false };
    try {
      const texts: string[] = [];
      if (!isIntact(object)) throw new Error("the manifest is damaged");
      for (const part of parts) {
        const data = part.data ?? (await this.#client.get(CILIUM_NODE_STATES, { name: part.name }, signal))?.part?.data;
        if (data === undefined || hashOf(data) !== part.hash) throw new Error(`part ${part.name} is missing or damaged`);
        texts.push(data);
      }
      return { ...known, document: decodeDocument(texts) };
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      this.#logger.warn("earlier node state not readable, it is written anew", { node, reason: describeError(thrown), error: asError(thrown) });
      // None of its parts is counted on.
      return { ...known, manifest: { ...manifest, hash: "" }, placement: NOWHERE, document: undefined };
    }
  }
}

/** Where the parts go and which format that is, as far as the agent reads it. */
function carriage({ node, formats }: WriteTarget, parts: readonly Part[], before: Placement, needed: number): Pick<Content, "format" | "placement"> {
  if (formats !== undefined && !formats.includes(needed)) throw new FormatNotUnderstood(node, needed, formats);
  const mayCarry = formats?.includes(CARRYING_FORMAT) === true;
  const placement = mayCarry ? place(parts, before) : placeApart(parts);
  return { placement, format: [...placement.values()].includes(true) ? Math.max(CARRYING_FORMAT, needed) : needed };
}

/** Names of the parts that are objects of their own. */
function objectsOf(node: string, placement: Placement): ReadonlySet<string> {
  return new Set([...placement].filter(([, isCarried]) => !isCarried).map(([hash]) => partName(node, hash)));
}

/** The greatest revision that anybody knows of: one that comes must be beyond it, or an acknowledgement of before would count for it. */
function lastRevision({ acknowledged, written = 0 }: WriteTarget, known: Known | undefined): number {
  const since = [...(known?.document?.marks.values() ?? [])].map((mark) => mark.since);
  return [known?.manifest.revision ?? 0, written, ...since, acknowledged].filter(Number.isSafeInteger).reduce((most, each) => Math.max(most, each), 0);
}

function headOf({ nodeUid, transitions }: WriteTarget, { revision, format, parts }: Content): ManifestHead {
  return { revision, hash: manifestHash(parts.map(({ hash }) => hash)), format, nodeUID: nodeUid, leaseTransitions: transitions };
}

/** The term of leadership tells who wrote, not what. */
function isSame(one: ManifestHead, other: ManifestHead): boolean {
  return one.revision === other.revision && one.hash === other.hash && one.format === other.format && one.nodeUID === other.nodeUID;
}

/** Whether the manifest says already what is to be written. */
function says(manifest: Known["manifest"], { nodeUid }: WriteTarget, { format, parts }: Content): boolean {
  return manifest.hash === manifestHash(parts.map((part) => part.hash)) && manifest.format === format && manifest.nodeUID === nodeUid;
}

function metadata(name: string, node: string, nodeUid: string): CiliumNodeState["metadata"] {
  return { name, labels: { [NODE_LABEL]: nodeKey(node) }, ownerReferences: [ownerOf(node, nodeUid)] };
}
