/** The half of the agent that tells the API server: endpoints, node, acknowledgement. Each is a queue of keys that retries. */
import type { Attachment } from "../cni/index.ts";
import type { ReadFailure } from "../feed/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { Logger } from "../lib/log.ts";
import { WorkQueue } from "../lib/queue.ts";
import type { QueueObserver, Reconciler } from "../lib/queue.ts";
import { formatLabels } from "../model/index.ts";
import type { ApplyReport } from "../targets/index.ts";
import { AcknowledgementWriter, acknowledgement } from "./acknowledge.ts";
import type { Core } from "./core.ts";
import { EndpointWriter } from "./endpoint-writer.ts";
import type { Assignment } from "./enforcer.ts";
import { CiliumNodeWriter, NodeReadiness } from "./node-writer.ts";
import type { MapWarning } from "./map-fill.ts";
import type { KnownEncryption } from "./node-writer.ts";
import type { NodePreflight } from "./preflight.ts";
import type { RoutingStatus } from "./objects.ts";
import type { Tables } from "./tables.ts";

export interface WritersOptions {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly nodeName: string;
  readonly core: Core;
  readonly tables: Tables;
  readonly preflight: Pick<NodePreflight, "warnings" | "summary">;
  /** What the API server refuses to tell. */
  readonly refusals: () => readonly MapWarning[];
  readonly observer: QueueObserver;
  readonly isServing: () => boolean;
  /** undefined: not known yet. */
  readonly encryption: () => KnownEncryption | undefined;
  /** undefined: not known yet. */
  readonly routing: () => RoutingStatus | undefined;
}

const ENDPOINT_WRITES_AT_ONCE = 8;
const ENDPOINT_INTERVAL_MS = 30;

export class Writers {
  readonly #options: WritersOptions;
  readonly #endpoints: WorkQueue;
  readonly #node: WorkQueue;
  readonly #readiness: WorkQueue;
  readonly #acknowledgements: WorkQueue;
  readonly #acknowledgement: AcknowledgementWriter;
  #ready: ReadonlySet<string> = new Set();

  constructor(options: WritersOptions) {
    this.#options = options;
    const { logger, observer, client, core } = options;
    const backoff = { firstMs: 50, maxMs: 10_000 };
    this.#endpoints = new WorkQueue({ name: "endpoints", logger, observer, backoff, concurrency: ENDPOINT_WRITES_AT_ONCE, minIntervalMs: ENDPOINT_INTERVAL_MS });
    this.#node = new WorkQueue({ name: "node", logger, observer, backoff });
    this.#readiness = new WorkQueue({ name: "readiness", logger, observer, backoff });
    this.#acknowledgements = new WorkQueue({ name: "acknowledgement", logger, observer, backoff });
    this.#acknowledgement = new AcknowledgementWriter(client, () => core.state.local);
  }

  start(signal: AbortSignal): void {
    const { client, nodeName, core, tables, preflight, isServing, encryption, routing } = this.#options;
    const run = (queue: WorkQueue, reconciler: Reconciler): void => queue.run(reconciler, signal);
    run(this.#endpoints, this.#endpointWriter());
    run(this.#node, new CiliumNodeWriter({ client, local: () => core.state.local, current: () => tables.nodes.objects.get(nodeName), encryption, routing }));
    run(this.#readiness, new NodeReadiness(client, nodeName, isServing, () => preflight.summary));
    run(this.#acknowledgements, this.#acknowledgement);
    tables.endpoints.subscribe({
      changed: (key, row, previous) => {
        if ((row ?? previous)?.nodeName === nodeName || this.#isLocal(key)) this.#endpoints.add(key);
      },
      synced: () => this.#allEndpoints(),
    });
    tables.pods.subscribe({ changed: (key) => void (this.#isLocal(key) && this.#endpoints.add(key)) });
    tables.nodes.subscribe({ changed: (key) => void (key === nodeName && this.#node.add(key)), synced: () => this.#node.add(nodeName) });
    tables.node.subscribe({ changed: () => this.#readiness.add(nodeName) });
    this.#allEndpoints();
    this.#readiness.add(nodeName);
  }

  endpoint(attachment: Attachment): void {
    this.#endpoints.add(`${attachment.namespace}/${attachment.pod}`);
  }

  node(): void {
    this.#node.add(this.#options.nodeName);
  }

  /** What the Node says of the agent may be another than it was. */
  condition(): void {
    this.#readiness.add(this.#options.nodeName);
  }

  reported(report: ApplyReport, assignment: Assignment, unreadable: ReadFailure | undefined): void {
    const { core } = this.#options;
    // Until the node's own rules judge, the state is not in force.
    if (report.againMs === undefined) this.#acknowledge(report, assignment, unreadable);
    const before = this.#ready;
    this.#ready = report.readyEndpoints;
    for (const [key, attachment] of core.links.attachments) if (before.has(key) !== this.#ready.has(key)) this.endpoint(attachment);
  }

  #acknowledge(report: ApplyReport, assignment: Assignment, unreadable: ReadFailure | undefined): void {
    const { core, nodeName, preflight, refusals } = this.#options;
    const wanted = acknowledgement(assignment, report, core.state.local.uid, unreadable, [...core.mapWarnings(), ...refusals(), ...preflight.warnings()]);
    if (this.#acknowledgement.set(wanted)) this.#acknowledgements.add(nodeName);
  }

  #endpointWriter(): EndpointWriter {
    const { client, core, tables } = this.#options;
    return new EndpointWriter({
      client,
      local: () => core.state.local,
      attachments: core.links.attachments,
      objects: tables.endpoints.objects,
      isSynced: () => tables.endpoints.synced,
      isReady: (containerId) => this.#ready.has(containerId),
      isGone: ({ namespace, pod, uid }) => tables.pods.synced && tables.pods.objects.get(`${namespace}/${pod}`)?.uid !== uid,
      labels: (identity) => formatLabels(core.identities.labels(identity) ?? new Map()),
      namedPorts: (attachment) => core.state.namedPorts(attachment),
    });
  }

  #isLocal(key: string): boolean {
    for (const { namespace, pod } of this.#options.core.links.attachments.values()) if (`${namespace}/${pod}` === key) return true;
    return false;
  }

  /** Those that should be, and those that are and perhaps should not. */
  #allEndpoints(): void {
    const { core, tables, nodeName } = this.#options;
    for (const attachment of core.links.attachments.values()) this.endpoint(attachment);
    for (const [key, row] of tables.endpoints.objects) if (row.nodeName === nodeName) this.#endpoints.add(key);
  }
}
