/** Single objects: get, create, replace, patch, delete, and lists in pages. Every method throws ApiError or UnreachableError. */
import { apiVersionOf, collectionPath, objectPath } from "./resource.ts";
import type { KubeObject, ObjectRef, ResourceType } from "./resource.ts";
import type { Transport } from "./transport.ts";
import { isNotFound } from "./errors.ts";

export interface ListResult<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DeleteOptions {
  /** Delete only this incarnation. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface ListBody<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[];
}

const PAGE_SIZE = 500;
const MERGE_PATCH = "application/merge-patch+json";

export class KubeClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get transport(): Transport {
    return this.#transport;
  }

  /** The object as the server has it now; undefined only when the server says that it does not exist. */
  async get<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return (await this.#transport.json({ method: "GET", path: objectPath(type, ref), signal })) as T;
    } catch (thrown) {
      if (isNotFound(thrown)) return undefined;
      throw thrown;
    }
  }

  /** All objects, consistent, in pages; a page that fails fails the whole list. */
  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<ListResult<T>> {
    const items: T[] = [];
    let next: string | undefined;
    let resourceVersion = "";
    do {
      const body = (await this.#transport.json({
        method: "GET",
        path: collectionPath(type, options.namespace),
        query: { limit: PAGE_SIZE, continue: next, labelSelector: options.labelSelector, fieldSelector: options.fieldSelector },
        signal: options.signal,
      })) as ListBody<T>;
      if (!Array.isArray(body.items) || body.metadata?.resourceVersion === undefined) {
        throw new Error(`list ${type.plural}: the answer is not a list`);
      }
      items.push(...(body.items as readonly T[]));
      resourceVersion = body.metadata.resourceVersion;
      next = body.metadata.continue === "" ? undefined : body.metadata.continue;
    } while (next !== undefined);
    return { items, resourceVersion };
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, signal?: AbortSignal): Promise<T> {
    const path = collectionPath(type, type.namespaced ? object.metadata.namespace : undefined);
    return (await this.#transport.json({ method: "POST", path, body: this.#typed(type, object), signal })) as T;
  }

  /** Replaces; with metadata.resourceVersion only that version (else the server answers Conflict). */
  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, signal?: AbortSignal): Promise<T> {
    return (await this.#transport.json({ method: "PUT", path: objectPath(type, object.metadata), body: this.#typed(type, object), signal })) as T;
  }

  async replaceStatus<T extends KubeObject>(type: ResourceType<T>, object: T, signal?: AbortSignal): Promise<T> {
    const path = objectPath(type, object.metadata, "status");
    return (await this.#transport.json({ method: "PUT", path, body: this.#typed(type, object), signal })) as T;
  }

  /** JSON merge patch (RFC 7386): null removes a field. */
  async patch<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, patch: unknown, signal?: AbortSignal): Promise<T> {
    return (await this.#transport.json({ method: "PATCH", path: objectPath(type, ref), body: patch, contentType: MERGE_PATCH, signal })) as T;
  }

  /** As `patch`, of the status. With `uid` only that incarnation of the object (else the server answers Conflict). */
  async patchStatus<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, status: unknown, signal?: AbortSignal, uid?: string): Promise<T> {
    const path = objectPath(type, ref, "status");
    const body = { ...(uid === undefined ? {} : { metadata: { uid } }), status };
    return (await this.#transport.json({ method: "PATCH", path, body, contentType: MERGE_PATCH, signal })) as T;
  }

  /** JSON patch (RFC 6902) on the status, whose `test` operations make it conditional. */
  async jsonPatchStatus<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, operations: readonly unknown[], signal?: AbortSignal): Promise<T> {
    const path = objectPath(type, ref, "status");
    return (await this.#transport.json({ method: "PATCH", path, body: operations, contentType: "application/json-patch+json", signal })) as T;
  }

  /** Server-side apply: creates or changes the fields given, owned by `manager`. */
  async apply<T extends KubeObject>(type: ResourceType<T>, object: T, manager: string, signal?: AbortSignal): Promise<T> {
    return (await this.#transport.json({
      method: "PATCH",
      path: objectPath(type, object.metadata),
      query: { fieldManager: manager, force: true },
      body: this.#typed(type, object),
      contentType: "application/apply-patch+yaml",
      signal,
    })) as T;
  }

  /** Deletes; what is absent already counts as deleted. */
  async delete(type: ResourceType, ref: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    const preconditions = {
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
    };
    try {
      await this.#transport.json({
        method: "DELETE",
        path: objectPath(type, ref),
        body: { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background", preconditions },
        signal: options.signal,
      });
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
    }
  }

  #typed(type: ResourceType, object: KubeObject): KubeObject {
    return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
  }
}
