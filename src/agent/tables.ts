/** Everything that the agent follows on the API server. */
import { join } from "node:path";
import { CILIUM_ENCRYPTIONS, CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NODES, ENDPOINT_SLICES, NAMESPACES, NODES, PODS, Reflector } from "../kube/index.ts";
import type { KubeObject, ReflectorOptions, Transport } from "../kube/index.ts";
import type { Component } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import { KeptTable } from "./kept-table.ts";
import { EndpointRows } from "./endpoint-rows.ts";
import type { EndpointObjectRow } from "./endpoint-rows.ts";
import { decodeAddresses, decodeCiliumNode, decodeEncryption, decodeIdentity, decodeNode, decodePod } from "./objects.ts";
import type { CiliumNodeRow, EncryptionRow, IdentityRow, NodeRow, PodRow } from "./objects.ts";

export interface TablesOptions {
  readonly transport: Transport;
  readonly logger: Logger;
  readonly nodeName: string;
  /** Whether it is followed what users say of encryption. */
  readonly encrypts: boolean;
  /** Folder of the kept tables. */
  readonly folder: string;
}

type NamespaceLabels = Readonly<Record<string, string>>;

export class Tables {
  readonly node: KeptTable<NodeRow>;
  readonly pods: KeptTable<PodRow>;
  readonly namespaces: KeptTable<NamespaceLabels>;
  readonly identities: KeptTable<IdentityRow>;
  readonly nodes: KeptTable<CiliumNodeRow>;
  readonly endpoints: KeptTable<EndpointObjectRow>;
  /** Addresses of the API server, by the slices of its service. */
  readonly apiServers: KeptTable<readonly string[]>;
  /** undefined: the node does not encrypt. */
  readonly encryptions: KeptTable<EncryptionRow> | undefined;
  readonly #reflectors: Reflector<never, unknown>[] = [];
  readonly #options: TablesOptions;

  constructor(options: TablesOptions) {
    this.#options = options;
    const { nodeName } = options;
    const plain = { toJson: (row: unknown) => row, fromJson: (value: never) => value };
    this.node = this.#table("node", { type: NODES, fieldSelector: `metadata.name=${nodeName}`, decode: decodeNode }, plain);
    this.pods = this.#table("pods", { type: PODS, fieldSelector: `spec.nodeName=${nodeName}`, decode: decodePod }, plain);
    this.namespaces = this.#table("namespaces", { type: NAMESPACES, decode: (object) => object.metadata.labels ?? {} }, plain);
    const rows = new EndpointRows(nodeName);
    this.endpoints = this.#table("endpoints", { type: CILIUM_ENDPOINTS, decode: (object) => rows.decode(object) }, { toJson: (row) => rows.toJson(row), fromJson: (value) => rows.fromJson(value) });
    this.nodes = this.#table("nodes", { type: CILIUM_NODES, decode: decodeCiliumNode }, { toJson: (row) => row, fromJson: nodeOfDisk });
    this.encryptions = options.encrypts ? this.#table("encryptions", { type: CILIUM_ENCRYPTIONS, decode: decodeEncryption }, plain) : undefined;
    const ofApiServer = { namespace: "default", labelSelector: "kubernetes.io/service-name=kubernetes" };
    this.apiServers = this.#table("api-servers", { type: ENDPOINT_SLICES, ...ofApiServer, decode: decodeAddresses }, plain);
    this.identities = this.#table("identities", { type: CILIUM_IDENTITIES, decode: decodeIdentity }, {
      toJson: ({ id, labels }) => [id, [...labels]],
      fromJson: ([id, labels]: [number, [string, string][]]) => ({ id, labels: new Map(labels) }),
    });
  }

  /**
   * What the kernel's state is made of is there, from the API server or from the disk, and so are the pods of this
   * node, whose addresses are not given again.
   */
  get isUsable(): boolean {
    return this.pods.isUsable && this.identities.isUsable && this.nodes.isUsable && this.endpoints.isUsable;
  }

  /** The API server has told all of it. Its own addresses are left out: only rules that name it wait for those. */
  get isSynced(): boolean {
    return this.identities.synced && this.nodes.synced && this.endpoints.synced;
  }

  get sources(): readonly Pick<Component, "name" | "health">[] {
    return this.#reflectors;
  }

  async start(signal: AbortSignal): Promise<void> {
    for (const table of [this.node, this.pods, this.namespaces, this.identities, this.nodes, this.endpoints, this.apiServers, this.encryptions]) await table?.start();
    for (const reflector of this.#reflectors) await reflector.start(signal);
  }

  #table<O extends KubeObject, T>(
    name: string,
    follow: Pick<ReflectorOptions<O, T>, "type" | "decode" | "fieldSelector" | "labelSelector" | "namespace">,
    json: { readonly toJson: (row: T) => unknown; readonly fromJson: (value: never) => T },
  ): KeptTable<T> {
    const { transport, logger, folder } = this.#options;
    const source = new Reflector<O, T>({ ...follow, transport, logger });
    this.#reflectors.push(source as unknown as Reflector<never, unknown>);
    return new KeptTable({ name, source, file: join(folder, `${name}.json`), logger, ...json });
  }
}

/** As this version keeps it, or as the one before it, which knew one key of a node: without it nobody would be sent to until the API server is heard. */
function nodeOfDisk({ publicKey, ...row }: CiliumNodeRow & { readonly publicKey?: string }): CiliumNodeRow {
  return publicKey === undefined || row.keys !== undefined ? row : { ...row, keys: { publicKey } };
}
