/**
 * The agent's side: assembles the state of its own node from the manifest and the parts it names, and keeps the last
 * whole one on disk, so that a node starts without the API server. It never hands out an incomplete state.
 */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import type { NodeState } from "../compile/state.ts";
import { asError, codeOf, describeError } from "../lib/errors.ts";
import type { Component, Health } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import { CILIUM_NODE_STATES } from "../kube/kinds.ts";
import { Reflector } from "../kube/reflector.ts";
import type { Transport } from "../kube/transport.ts";
import { decodeDocument, hashOf, manifestHash } from "./document.ts";
import { FEED_FORMATS } from "./formats.ts";
import { NODE_LABEL, manifestName, nodeKey, statusName } from "./names.ts";

export interface DeliveredState {
  readonly revision: number;
  readonly hash: string;
  readonly state: NodeState;
  readonly origin: "disk" | "api";
}

/** Why the newest state cannot be used; belongs into the acknowledgement. */
export interface ReadFailure {
  readonly part: "node-state";
  readonly message: string;
}

export interface NodeStateReaderOptions {
  readonly transport: Transport;
  readonly logger: Logger;
  readonly node: string;
  /** UID of the Node object; a state for another incarnation of the name is refused. undefined: not known yet, accepted. */
  readonly nodeUid: () => string | undefined;
  /** Where the last whole state is kept. */
  readonly path: string;
  /** Called in order with every new state, first with the one from the disk if there is one. It must not throw. */
  readonly onState: (delivered: DeliveredState) => void;
  /** The newest state cannot be used, or (undefined) can again. The last good one stays in force. */
  readonly onFailure: (failure: ReadFailure | undefined) => void;
  /**
   * Called once: the API server's own state was handed out, or refused. Until then the one from the disk may lack
   * what the kernel already enforces, so nothing is taken away for it.
   */
  readonly onSynced: () => void;
}

type Manifest = NonNullable<CiliumNodeState["manifest"]>;
interface Row {
  readonly manifest: Manifest | undefined;
  readonly part: { readonly hash: string; readonly data: string } | undefined;
}
interface StoredState {
  readonly format: number;
  readonly revision: number;
  readonly hash: string;
  readonly parts: readonly string[];
}

export class NodeStateReader implements Component {
  readonly name = "node-state";
  readonly #options: NodeStateReaderOptions;
  readonly #reflector: Reflector<CiliumNodeState, Row>;
  #delivered: { readonly revision: number; readonly hash: string } | undefined;
  #isSynced = false;
  #failure: ReadFailure | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: NodeStateReaderOptions) {
    this.#options = options;
    this.#reflector = new Reflector<CiliumNodeState, Row>({
      type: CILIUM_NODE_STATES,
      transport: options.transport,
      logger: options.logger,
      labelSelector: `${NODE_LABEL}=${nodeKey(options.node)}`,
      decode: (object) => (object.metadata.name === statusName(options.node) ? undefined : { manifest: object.manifest, part: object.part }),
    });
  }

  /** Hands out the state from the disk before it returns, then follows the API server. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#loadFromDisk();
    this.#reflector.subscribe({ changed: () => this.#follow(), synced: () => this.#follow() });
    await this.#reflector.start(signal);
  }

  async stop(): Promise<void> {
    await this.#reflector.stop();
    await this.#writing;
  }

  health(): Health {
    if (this.#failure !== undefined) return { level: "degraded", message: this.#failure.message, error: new Error(this.#failure.message) };
    return this.#reflector.health();
  }

  #follow(): void {
    const isSettled = this.#assemble();
    if (this.#isSynced || !isSettled || !this.#reflector.synced) return;
    this.#isSynced = true;
    this.#options.onSynced();
  }

  /** False: there is no state, or some of it is still on its way. */
  #assemble(): boolean {
    const manifest = this.#reflector.objects.get(manifestName(this.#options.node))?.manifest;
    if (manifest === undefined) return false;
    if (this.#delivered?.hash === manifest.hash && this.#delivered.revision === manifest.revision) {
      this.#fail(undefined);
      return true;
    }
    const refusal = this.#refusal(manifest);
    if (refusal !== undefined) {
      this.#fail(refusal);
      return true;
    }
    const parts: string[] = [];
    for (const { name, hash, data = this.#reflector.objects.get(name)?.part?.data } of manifest.parts) {
      // The rest is on its way: the next change comes back here.
      if (data === undefined) return false;
      if (hashOf(data) !== hash) {
        this.#fail(`part ${name} of revision ${manifest.revision} is damaged`);
        return true;
      }
      parts.push(data);
    }
    this.#deliver(manifest, parts);
    return true;
  }

  #refusal(manifest: Manifest): string | undefined {
    const { nodeUid } = this.#options;
    const uid = nodeUid();
    if (!FEED_FORMATS.includes(manifest.format)) return `node state format ${manifest.format} is not understood, only ${FEED_FORMATS.join(" and ")}: upgrade the agent, or downgrade the operator`;
    if (uid !== undefined && manifest.nodeUID !== uid) return `node state is for another Node of this name (UID ${manifest.nodeUID})`;
    if (manifestHash(manifest.parts.map((part) => part.hash)) !== manifest.hash) return `manifest of revision ${manifest.revision} is damaged`;
    return undefined;
  }

  #deliver(manifest: Manifest, parts: readonly string[]): void {
    const { logger, onState } = this.#options;
    const { revision, hash } = manifest;
    try {
      const { state } = decodeDocument(parts);
      this.#delivered = { revision, hash };
      this.#fail(undefined);
      onState({ revision, hash, state, origin: "api" });
    } catch (thrown) {
      return this.#fail(`revision ${revision} is not understood: ${describeError(thrown)}`);
    }
    this.#writing = this.#writing
      .then(() => this.#store({ format: manifest.format, revision, hash, parts }))
      .catch((thrown: unknown) => logger.error("node state not kept on disk", { path: this.#options.path, error: asError(thrown) }));
  }

  #fail(message: string | undefined): void {
    if (this.#failure?.message === message) return;
    this.#failure = message === undefined ? undefined : { part: "node-state", message };
    if (message !== undefined) this.#options.logger.error("node state refused, the last one stays in force", { reason: message });
    this.#options.onFailure(this.#failure);
  }

  async #loadFromDisk(): Promise<void> {
    const { path, logger, onState } = this.#options;
    let text: string;
    try {
      text = await readFile(path, "utf8");
    } catch (thrown) {
      if (codeOf(thrown) === "ENOENT") return;
      throw thrown;
    }
    try {
      const stored = JSON.parse(text) as StoredState;
      if (!FEED_FORMATS.includes(stored.format)) throw new Error(`format ${stored.format} is none of ${FEED_FORMATS.join(", ")}`);
      if (manifestHash(stored.parts.map((data) => hashOf(data))) !== stored.hash) throw new Error("the hash does not match");
      const { state } = decodeDocument(stored.parts);
      this.#delivered = { revision: stored.revision, hash: stored.hash };
      onState({ revision: stored.revision, hash: stored.hash, state, origin: "disk" });
    } catch (thrown) {
      logger.error("node state on disk is unusable, waiting for the API server", { path, error: asError(thrown) });
    }
  }

  /** Whole or not at all: a new file, synced, takes the place of the old one. */
  async #store(stored: StoredState): Promise<void> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const fresh = `${path}.new`;
    const file = await open(fresh, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(stored));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  }
}
