/**
 * The base class of our operator: @dot-i/k8s-operator's, with what it does unsafely replaced.
 *
 *   it                                                       here
 *   watches without resourceVersion, one queue for all       Reflector: relist, bookmarks, one stream per kind
 *   ends the process when a watch fails                      waits, keeps the last state, goes on
 *   registers a definition once, never upgrades it           server-side apply, then waits until it is served
 *   logs a failed status write and goes on                   throws, so that the caller retries
 *   uses whatever kubeconfig it finds                        the access that it is given
 */
import k8sOperator from "@dot-i/k8s-operator";
import type { OperatorLogger, ResourceEvent, ResourceMeta } from "@dot-i/k8s-operator";
import { CoreV1Api } from "@kubernetes/client-node";
import type { KubernetesObject, V1CustomResourceDefinitionVersion } from "@kubernetes/client-node";
import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { sleep } from "../lib/backoff.ts";
import { AbortedError, CodedError, asError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { KubeAccess } from "./access.ts";
import type { KubeClient } from "./client.ts";
import { CRDS } from "./kinds.ts";
import { Reflector } from "./reflector.ts";
import type { ReflectorOptions } from "./reflector.ts";
import { collectionPath, keyOf, resourceType } from "./resource.ts";
import type { KubeObject, ResourceType } from "./resource.ts";

/** A definition as its file has it; `spec` is the API server's matter. */
interface CrdObject extends KubeObject {
  readonly spec: { readonly group: string; readonly names: { readonly plural: string }; readonly versions: V1CustomResourceDefinitionVersion[] };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[] };
}

export interface SafeOperatorOptions {
  readonly access: KubeAccess;
  readonly client: KubeClient;
  readonly logger: Logger;
  /** Owner of the fields that server-side apply writes. */
  readonly fieldManager: string;
}

const ESTABLISH_TRIES = 100;
const ESTABLISH_DELAY_MS = 100;

export abstract class SafeOperator extends k8sOperator.default {
  protected readonly client: KubeClient;
  protected readonly log: Logger;
  readonly #fieldManager: string;
  readonly #reflectors: { start(signal: AbortSignal): Promise<void>; stop(): Promise<void> }[] = [];
  readonly #types = new Map<string, ResourceType>();
  readonly #ended = new AbortController();

  constructor(options: SafeOperatorOptions) {
    super(loggerOf(options.logger));
    this.client = options.client;
    this.log = options.logger;
    this.#fieldManager = options.fieldManager;
    this.kubeConfig = options.access.kubeConfig;
    this.k8sApi = this.kubeConfig.makeApiClient(CoreV1Api);
  }

  /** Fires when the operator stops. */
  protected get ended(): AbortSignal {
    return this.#ended.signal;
  }

  override stop(): void {
    this.#ended.abort();
    for (const reflector of this.#reflectors) reflector.stop().catch((thrown: unknown) => this.log.error("watch did not stop", { error: asError(thrown) }));
  }

  /** Follows a kind from now on until the operator stops. Nobody's start waits for it. */
  protected async follow<O extends KubeObject, T>(options: Omit<ReflectorOptions<O, T>, "transport" | "logger">): Promise<Reflector<O, T>> {
    const reflector = new Reflector({ ...options, transport: this.client.transport, logger: this.log });
    this.#reflectors.push(reflector);
    await reflector.start(this.#ended.signal);
    return reflector;
  }

  /** As the library's, on a Reflector: events carry the current object, and every failed handler is logged. */
  protected override async watchResource(group: string, version: string, plural: string, onEvent: (event: ResourceEvent) => Promise<void>, namespace?: string): Promise<void> {
    const type = resourceType(group, version, plural, plural, namespace !== undefined);
    const id = `${plural}.${group === "" ? version : `${group}/${version}`}`;
    this.#types.set(id, type);
    const reflector = await this.follow<KubeObject, KubeObject>({ type, namespace, decode: (object) => object });
    const { Added, Modified, Deleted } = k8sOperator.ResourceEventType;
    reflector.subscribe({
      changed: (key, value, previous) => {
        const current = value ?? previous;
        if (current === undefined) return;
        const object = libraryObject(current);
        const meta = k8sOperator.ResourceMetaImpl.createWithPlural(plural, object);
        const event = { meta, object, type: value === undefined ? Deleted : previous === undefined ? Added : Modified };
        onEvent(event).catch((thrown: unknown) => this.log.error("event handler failed", { key, error: asError(thrown) }));
      },
    });
  }

  /** Creates or upgrades a definition and waits until the API server serves it. */
  protected override async registerCustomResourceDefinition(crdFile: string): Promise<{ group: string; versions: V1CustomResourceDefinitionVersion[]; plural: string }> {
    const crd = load(await readFile(crdFile, "utf8")) as CrdObject;
    await this.client.apply(CRDS, crd, this.#fieldManager, this.#ended.signal);
    await this.#established(crd.metadata.name);
    return { group: crd.spec.group, versions: crd.spec.versions, plural: crd.spec.names.plural };
  }

  async #established(name: string): Promise<void> {
    for (let tries = 0; tries < ESTABLISH_TRIES; tries++) {
      if (this.#ended.signal.aborted) throw new AbortedError();
      const crd = (await this.client.get(CRDS, { name }, this.#ended.signal)) as CrdObject | undefined;
      const conditions = crd?.status?.conditions ?? [];
      if (conditions.some(({ type, status }) => type === "Established" && status === "True")) return;
      const refused = conditions.find(({ type, status }) => type === "NamesAccepted" && status === "False");
      if (refused !== undefined) throw new CodedError("CRD_NAMES", `${name}: another definition has its names: ${refused.message ?? ""}`);
      await sleep(ESTABLISH_DELAY_MS, this.#ended.signal);
    }
    throw new CodedError("CRD_NOT_ESTABLISHED", `${name} is not served ${(ESTABLISH_TRIES * ESTABLISH_DELAY_MS) / 1000} s after it was applied`);
  }

  protected override getCustomResourceApiUri(group: string, version: string, plural: string, namespace?: string): string {
    const server = this.kubeConfig.getCurrentCluster()?.server ?? "";
    return server + collectionPath(resourceType(group, version, plural, plural, namespace !== undefined), namespace);
  }

  /** Replaces the status of that version of the object; throws where the library returned null. */
  protected override async setResourceStatus(meta: ResourceMeta, status: unknown): Promise<ResourceMeta> {
    const { name, namespace, resourceVersion } = meta;
    const metadata = { name, resourceVersion, ...(namespace === undefined ? {} : { namespace }) };
    const object = await this.client.replaceStatus(this.#typeOf(meta), { metadata, status } as KubeObject);
    return k8sOperator.ResourceMetaImpl.createWithId(meta.id, object as unknown as KubernetesObject);
  }

  protected override async patchResourceStatus(meta: ResourceMeta, status: unknown): Promise<ResourceMeta> {
    const object = await this.client.patchStatus(this.#typeOf(meta), meta, status);
    return k8sOperator.ResourceMetaImpl.createWithId(meta.id, object as unknown as KubernetesObject);
  }

  protected override async setResourceFinalizers(meta: ResourceMeta, finalizers: string[]): Promise<void> {
    await this.client.patch(this.#typeOf(meta), meta, { metadata: { finalizers } });
  }

  #typeOf(meta: ResourceMeta): ResourceType {
    const type = this.#types.get(meta.id);
    if (type === undefined) throw new CodedError("NOT_WATCHED", `${keyOf(meta)}: ${meta.id} is not watched by this operator`);
    return { ...type, kind: meta.kind, namespaced: meta.namespace !== undefined };
  }
}

/** The library's type of the same object; its optional fields are declared without `undefined`. */
function libraryObject(object: KubeObject): KubernetesObject {
  return object as unknown as KubernetesObject;
}

function loggerOf(logger: Logger): OperatorLogger {
  return {
    debug: (message) => logger.debug(message),
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  };
}
