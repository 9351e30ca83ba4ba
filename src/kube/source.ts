/**
 * The current objects of one kind, as everything above `kube` sees them. Existence is a value: `undefined` means
 * that the object is gone. `synced` is never invented: it is true once a complete list has been received, and
 * the last state is served while the API server cannot be reached.
 */
import type { Health } from "../lib/lifecycle.ts";

export interface SourceListener<T> {
  /** The object under `key` is now `value`; `previous` is what it was. Called in order, never for a value that did not change. */
  changed(key: string, value: T | undefined, previous: T | undefined): void;
  /** Once, when the first complete state has been handed out. */
  synced?(): void;
}

export interface Source<T> {
  readonly name: string;
  readonly synced: boolean;
  /** `namespace/name` or `name` -> object. A live view: do not change it. */
  readonly objects: ReadonlyMap<string, T>;
  /** Hears the current objects first, then every change. Returns the function that ends it. */
  subscribe(listener: SourceListener<T>): () => void;
  /** Resolves when synced; rejects with AbortedError when the signal fires before. */
  whenSynced(signal: AbortSignal): Promise<void>;
  health(): Health;
}
