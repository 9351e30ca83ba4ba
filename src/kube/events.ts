/** Kubernetes Events on our objects: what `kubectl describe` shows under "Events". */
import { asError } from "../lib/errors.ts";
import { hash32 } from "../lib/hash.ts";
import type { Logger } from "../lib/log.ts";
import type { KubeEvent } from "../api/core.ts";
import type { KubeClient } from "./client.ts";
import { isConflict, isNotFound } from "./errors.ts";
import { EVENTS } from "./kinds.ts";
import { apiVersionOf } from "./resource.ts";
import type { KubeObject, ResourceType } from "./resource.ts";

export interface EventRecorder {
  /** Records; a failure is logged and never thrown, as an event is a courtesy. The same words again raise the count. */
  record(type: ResourceType, object: KubeObject, severity: "Normal" | "Warning", reason: string, message: string): Promise<void>;
}

/** The API server's limit for a message is 1024 bytes. */
const MAX_MESSAGE = 1000;

export class KubeEventRecorder implements EventRecorder {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #component: string;
  readonly #instance: string;

  constructor(client: KubeClient, logger: Logger, component: string, instance: string) {
    this.#client = client;
    this.#logger = logger;
    this.#component = component;
    this.#instance = instance;
  }

  async record(type: ResourceType, object: KubeObject, severity: "Normal" | "Warning", reason: string, message: string): Promise<void> {
    const event = this.#event(type, object, severity, reason, message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message);
    try {
      await this.#client.create(EVENTS, event);
    } catch (thrown) {
      if (isConflict(thrown)) await this.#raise(event);
      else this.#logger.warn("event not recorded", { reason, object: object.metadata.name, error: asError(thrown) });
    }
  }

  async #raise(event: KubeEvent): Promise<void> {
    try {
      const known = await this.#client.get(EVENTS, event.metadata);
      await this.#client.patch(EVENTS, event.metadata, { count: (known?.count ?? 0) + 1, lastTimestamp: event.lastTimestamp });
    } catch (thrown) {
      if (!isNotFound(thrown)) this.#logger.warn("event not counted", { reason: event.reason, error: asError(thrown) });
    }
  }

  #event(type: ResourceType, object: KubeObject, severity: "Normal" | "Warning", reason: string, message: string): KubeEvent {
    const { name, namespace, uid, resourceVersion } = object.metadata;
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const words = hash32([uid, severity, reason, message].join("\n")).toString(16).padStart(8, "0");
    return {
      metadata: { name: `${name.slice(0, 200)}.${words}`, namespace: namespace ?? "default" },
      involvedObject: {
        apiVersion: apiVersionOf(type),
        kind: type.kind,
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      type: severity,
      reason,
      message,
      source: { component: this.#component },
      reportingComponent: this.#component,
      reportingInstance: this.#instance,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
  }
}
