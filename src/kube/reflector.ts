/**
 * A Source that follows one kind on the API server.
 *
 *   relist --(complete)--> watch from that version --(stream ends, 5-10 min)--> watch from the last version seen
 *     ^                        |
 *     +------- 410 Gone -------+        any other failure: wait (jittered, growing), then go on where we were
 *
 * A relist streams the objects (WatchList) or, where the server cannot, reads pages; objects that vanished while
 * we were away are removed only when the whole list has arrived. An object with another UID under the same name is
 * a removal and an addition. Only what `decode` keeps stays in memory.
 */
import { Backoff, sleep } from "../lib/backoff.ts";
import { AbortedError, asError, describeError } from "../lib/errors.ts";
import type { Component, Health } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import { ApiError, isGone } from "./errors.ts";
import type { StatusBody } from "./errors.ts";
import { splitLines } from "./lines.ts";
import { collectionPath, keyOf } from "./resource.ts";
import type { KubeObject, ResourceType } from "./resource.ts";
import type { Source, SourceListener } from "./source.ts";
import type { Query, Transport } from "./transport.ts";

export interface ReflectorOptions<O extends KubeObject, T> {
  readonly type: ResourceType<O>;
  readonly transport: Transport;
  readonly logger: Logger;
  /** The part of the object that is kept; undefined: treated as absent. It must be pure and must not keep `object`. */
  readonly decode: (object: O) => T | undefined;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Delays after failures; 200 ms to 10 s when absent. */
  readonly backoff?: Backoff;
  readonly pageSize?: number;
}

interface Entry<T> {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly value: T | undefined;
}

interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: KubeObject & StatusBody;
}

interface ListPage {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly KubeObject[];
}

/** The server sends a bookmark each minute: silence for longer means that the connection is dead. */
const WATCH_SILENCE_MS = 150_000;
const WATCH_SECONDS = 300;
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

export class Reflector<O extends KubeObject, T> implements Source<T>, Component {
  readonly name: string;
  readonly #options: ReflectorOptions<O, T>;
  readonly #backoff: Backoff;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<SourceListener<T>>();
  readonly #abort = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #streaming = true;
  #version: string | undefined;
  #failure: Error | undefined = new Error("not listed yet");
  #done: Promise<void> | undefined;

  constructor(options: ReflectorOptions<O, T>) {
    this.#options = options;
    this.name = options.type.plural;
    this.#backoff = options.backoff ?? new Backoff({ firstMs: 200, maxMs: 10_000 });
  }

  get synced(): boolean {
    return this.#isSynced;
  }

  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  subscribe(listener: SourceListener<T>): () => void {
    for (const [key, value] of this.#objects) listener.changed(key, value, undefined);
    if (this.#isSynced) listener.synced?.();
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async whenSynced(signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const abort = (): void => reject(new AbortedError(`${this.name} not synced`));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([this.#synced.promise, promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  health(): Health {
    const error = this.#failure;
    if (error === undefined) return { level: "ok", message: `${this.#objects.size} objects` };
    return { level: "degraded", message: `${this.name}: ${describeError(error)}`, error };
  }

  /** Begins to follow and returns at once: nobody's start waits for the API server. */
  start(signal: AbortSignal): Promise<void> {
    if (this.#done !== undefined) throw new Error(`reflector of ${this.name} is started already`);
    const both = AbortSignal.any([signal, this.#abort.signal]);
    this.#done = this.#follow(both);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) await this.#relist(signal);
        else await this.#watch(this.#version, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        await this.#failed(thrown, signal);
      }
    }
  }

  async #failed(thrown: unknown, signal: AbortSignal): Promise<void> {
    if (isGone(thrown)) this.#version = undefined;
    else this.#failure = asError(thrown);
    const delayMs = this.#backoff.next();
    this.#options.logger.warn("watch interrupted", { resource: this.name, delayMs, error: asError(thrown) });
    await sleep(delayMs, signal);
  }

  async #relist(signal: AbortSignal): Promise<void> {
    if (this.#streaming) {
      try {
        await this.#streamList(signal);
        return;
      } catch (thrown) {
        // Servers without WatchList refuse the parameters: 422 Invalid, or 400 from older ones.
        if (!(thrown instanceof ApiError) || (thrown.status !== 422 && thrown.status !== 400)) throw thrown;
        this.#streaming = false;
      }
    }
    await this.#pagedList(signal);
  }

  /** WatchList: the objects come as events, a bookmark says that all have come, and the watch goes on. */
  async #streamList(signal: AbortSignal): Promise<void> {
    const query = { watch: true, sendInitialEvents: true, resourceVersionMatch: "NotOlderThan", allowWatchBookmarks: true, timeoutSeconds: watchSeconds() };
    const seen = new Set<string>();
    let listed = false;
    for await (const event of this.#events(query, signal)) {
      if (!listed && event.type === "BOOKMARK" && event.object.metadata.annotations?.[INITIAL_EVENTS_END] === "true") {
        listed = true;
        this.#complete(seen, event.object.metadata.resourceVersion);
        continue;
      }
      if (!listed && event.type !== "BOOKMARK") seen.add(keyOf(event.object.metadata));
      this.#handle(event, listed);
    }
    if (!listed && !signal.aborted) throw new Error(`list ${this.name}: the stream ended before the list was complete`);
  }

  async #pagedList(signal: AbortSignal): Promise<void> {
    const { transport, type, namespace, pageSize = 500 } = this.#options;
    const seen = new Set<string>();
    let next: string | undefined;
    let version: string | undefined;
    do {
      const query = { ...this.#selectors(), limit: pageSize, continue: next };
      const page = (await transport.json({ method: "GET", path: collectionPath(type, namespace), query, signal })) as ListPage;
      version = page.metadata?.resourceVersion;
      if (!Array.isArray(page.items) || version === undefined) throw new Error(`list ${this.name}: the answer is not a list`);
      for (const object of page.items as readonly KubeObject[]) {
        seen.add(keyOf(object.metadata));
        this.#put(object as O);
      }
      next = page.metadata?.continue === "" ? undefined : page.metadata?.continue;
    } while (next !== undefined);
    this.#complete(seen, version);
  }

  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const query = { watch: true, resourceVersion: version, allowWatchBookmarks: true, timeoutSeconds: watchSeconds() };
    for await (const event of this.#events(query, signal)) this.#handle(event, true);
  }

  async *#events(query: Query, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const { transport, type, namespace } = this.#options;
    const path = collectionPath(type, namespace);
    const startedMs = performance.now();
    const body = await transport.stream({ method: "GET", path, query: { ...this.#selectors(), ...query }, signal, timeoutMs: WATCH_SILENCE_MS });
    if (this.#version !== undefined) this.#failure = undefined;
    let any = false;
    for await (const line of splitLines(body)) {
      const event = JSON.parse(line) as WatchEvent;
      if (event.type === "ERROR") throw watchError(this.name, event.object);
      if (!any) this.#backoff.reset();
      any = true;
      yield event;
    }
    // A server that ends every watch at once must not be asked in a tight loop.
    if (!any && performance.now() - startedMs < 1000) await sleep(this.#backoff.next(), signal);
  }

  #selectors(): Query {
    return { labelSelector: this.#options.labelSelector, fieldSelector: this.#options.fieldSelector };
  }

  #handle(event: WatchEvent, listed: boolean): void {
    if (event.type === "DELETED") this.#remove(keyOf(event.object.metadata));
    else if (event.type !== "BOOKMARK") this.#put(event.object as unknown as O);
    // Until the list is complete a broken stream must start over, so its versions are not remembered.
    if (listed && event.object.metadata.resourceVersion !== undefined) this.#version = event.object.metadata.resourceVersion;
  }

  #complete(seen: ReadonlySet<string>, version: string | undefined): void {
    for (const key of [...this.#entries.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#version = version;
    this.#failure = undefined;
    this.#backoff.reset();
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#synced.resolve();
    for (const listener of this.#listeners) listener.synced?.();
  }

  #put(object: O): void {
    const key = keyOf(object.metadata);
    const uid = object.metadata.uid ?? "";
    const resourceVersion = object.metadata.resourceVersion ?? "";
    const known = this.#entries.get(key);
    if (known !== undefined && known.uid === uid && known.resourceVersion === resourceVersion) return;
    let value: T | undefined;
    try {
      value = this.#options.decode(object);
    } catch (thrown) {
      this.#options.logger.error("object not understood, its last good state is kept", { resource: this.name, key, error: asError(thrown) });
      if (known !== undefined) this.#entries.set(key, { ...known, uid, resourceVersion });
      return;
    }
    if (known !== undefined && known.uid !== uid) this.#remove(key);
    this.#entries.set(key, { uid, resourceVersion, value });
    this.#publish(key, value);
  }

  #remove(key: string): void {
    if (!this.#entries.delete(key)) return;
    this.#publish(key, undefined);
  }

  #publish(key: string, value: T | undefined): void {
    const previous = this.#objects.get(key);
    if (value === undefined && previous === undefined) return;
    if (value === undefined) this.#objects.delete(key);
    else this.#objects.set(key, value);
    for (const listener of this.#listeners) listener.changed(key, value, previous);
  }
}

/** Spread, so that the watches of many clients do not all end together. */
function watchSeconds(): number {
  return Math.round(WATCH_SECONDS * (1 + Math.random()));
}

function watchError(name: string, status: StatusBody): ApiError {
  return new ApiError(status.code ?? 500, status.reason ?? "Unknown", `watch ${name}: ${status.message ?? "no message"}`);
}
