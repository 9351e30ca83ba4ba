/**
 * LocalState: all that this node knows, put together into the state that its kernel shall have.
 *
 *   CiliumIdentity ─ identities ─┐
 *   CiliumNode ───── nodes ──────┤
 *   EndpointSlice ── API server ─┤
 *   CiliumEndpoint ─ remote pods ┼─▶ DesiredState ─▶ Applier
 *   NodeState ───────────────────┤
 *   attachments ──── endpoints ──┤
 *   Pod ──────────── named ports ┘
 *
 * Each part is built again only when what it reads has moved; an unmoved part keeps its reference, which tells the
 * applier that there is nothing to do. The pods of other nodes, of which there may be very many, are followed one by one.
 */
import type { NodeState } from "../compile/state.ts";
import type { Attachment } from "../cni/index.ts";
import { formatLabels } from "../model/index.ts";
import type { DesiredState, EndpointRow, NamedPorts, PeerRow } from "../targets/index.ts";
import type { EndpointObjectRow } from "./endpoint-rows.ts";
import { namesOf } from "./objects.ts";
import type { CiliumNodeRow, IdentityRow, PodRow } from "./objects.ts";
import { PeerTable } from "./peer-table.ts";
import { nodeTables } from "./peers.ts";
import type { LocalNode, NodeTables, RemoteCidr } from "./peers.ts";
import { isSameReaching } from "./reach.ts";
import type { Reaching } from "./reach.ts";

export type Table = "identities" | "nodes" | "attachments";

export interface LocalSources {
  readonly identities: ReadonlyMap<string, IdentityRow>;
  readonly nodes: ReadonlyMap<string, CiliumNodeRow>;
  /** Addresses of the API server, by slice. */
  readonly apiServers: ReadonlyMap<string, readonly string[]>;
  /** Whether those are all, as of now or as of when they were kept. */
  readonly areApiServersKnown: () => boolean;
  readonly endpoints: ReadonlyMap<string, EndpointObjectRow>;
  /** Attachments whose link exists, by container id. */
  readonly attachments: ReadonlyMap<string, Attachment>;
  /** Pods of this node, by `namespace/name`. */
  readonly pods: ReadonlyMap<string, PodRow>;
}

export class LocalState {
  readonly #sources: LocalSources;
  readonly #moved = new Set<Table>(["identities", "nodes", "attachments"]);
  #local: LocalNode;
  #reaching: Reaching;
  #identities: ReadonlyMap<number, readonly string[]> = new Map();
  #ownLabels: NodeTables["labels"] | undefined;
  #tables: NodeTables | undefined;
  #desiredTables: NodeTables | undefined;
  readonly #peers: PeerTable;
  #endpoints: ReadonlyMap<string, EndpointRow> = new Map();

  constructor(local: LocalNode, sources: LocalSources, reaching: Reaching) {
    this.#local = local;
    this.#reaching = reaching;
    this.#sources = sources;
    this.#peers = new PeerTable(local.name);
  }

  get local(): LocalNode {
    return this.#local;
  }

  set local(local: LocalNode) {
    this.#local = local;
    this.#moved.add("nodes");
  }

  get reaching(): Reaching {
    return this.#reaching;
  }

  /** False: it is what it was. */
  reach(reaching: Reaching): boolean {
    if (isSameReaching(reaching, this.#reaching)) return false;
    this.#reaching = reaching;
    this.#moved.add("nodes");
    return true;
  }

  moved(table: Table): void {
    this.#moved.add(table);
  }

  /** An object of `endpoints` is another than it was. False: for the kernel it means the same. */
  endpointMoved(row: EndpointObjectRow | undefined, previous: EndpointObjectRow | undefined): boolean {
    return this.#peers.endpoint(row, previous);
  }

  /** The object of the other node's pod that has the address. */
  ownerOf(ip: string): EndpointObjectRow | undefined {
    return this.#peers.owner(ip);
  }

  /** Number -> sorted labels, of all cluster identities and of those that are this node's own. */
  get identities(): ReadonlyMap<number, readonly string[]> {
    const { labels } = this.#tablesNow();
    if (this.#moved.delete("identities") || labels !== this.#ownLabels) {
      this.#ownLabels = labels;
      const cluster = [...this.#sources.identities.values()].map((row) => [row.id, formatLabels(row.labels)] as const);
      this.#identities = new Map([...cluster, ...labels]);
    }
    return this.#identities;
  }

  /** Pod CIDRs of the other nodes, as of now. */
  get remoteCidrs(): readonly RemoteCidr[] {
    return this.#tablesNow().remoteCidrs;
  }

  /** Where the other nodes can be asked whether they answer, as of now. */
  get healthPeers(): NodeTables["health"] {
    return this.#tablesNow().health;
  }

  /** Of the other nodes, as of now. */
  get nodeAddresses(): readonly string[] {
    return [...this.#tablesNow().nodes.keys()];
  }

  /** Of each pod CIDR of another node that is somebody else's too, a sentence. */
  get refusedCidrs(): readonly string[] {
    return this.#tablesNow().refusedCidrs;
  }

  desired(nodeState: NodeState, synced: boolean): DesiredState {
    const identities = this.identities;
    const tables = this.#tablesNow();
    if (tables !== this.#desiredTables) this.#peers.nodes(tables, () => this.#sources.endpoints.values());
    this.#desiredTables = tables;
    if (this.#moved.delete("attachments")) {
      this.#endpoints = endpointRows(this.#sources);
      this.#peers.local(new Map(localPods(this.#sources)));
    }
    return { nodeState, identities, endpoints: this.#endpoints, peers: this.#peers, cidrs: tables.cidrs, nodes: tables.nodes, synced, isApiServerUnknown: !this.#sources.areApiServersKnown() };
  }

  /** What the attachment's pod calls its ports. */
  namedPorts(attachment: Attachment): NamedPorts | undefined {
    return namedPorts(attachment, this.#sources);
  }

  #tablesNow(): NodeTables {
    if (this.#moved.delete("nodes") || this.#tables === undefined) this.#tables = nodeTables(this.#local, this.#sources.nodes.values(), this.#reaching, [...this.#sources.apiServers.values()].flat());
    return this.#tables;
  }
}

/** Of a pod that the pods of this node do not show, yet or any more: as it was admitted, or as was written of it. */
function namedPorts({ namespace, pod: name, uid, namedPorts: admitted }: Attachment, { pods, endpoints }: LocalSources): NamedPorts | undefined {
  const pod = pods.get(`${namespace}/${name}`);
  if (pod?.uid === uid) return pod.namedPorts;
  if (admitted !== undefined) return admitted;
  const written = endpoints.get(`${namespace}/${name}`);
  return written?.own?.ownerUid === uid ? written.namedPorts : undefined;
}

function endpointRows(sources: LocalSources): ReadonlyMap<string, EndpointRow> {
  const rows = new Map<string, EndpointRow>();
  for (const [key, attachment] of sources.attachments) {
    const { endpointId, hostIfindex, identity, mtu, mac, hostMac, ipv4, ipv6 } = attachment;
    rows.set(key, { id: endpointId, ifindex: hostIfindex, identity, mtu, mac, hostMac, ipv4, ipv6, ...namesOf(namedPorts(attachment, sources)) });
  }
  return rows;
}

function* localPods(sources: LocalSources): Iterable<readonly [string, PeerRow]> {
  for (const attachment of sources.attachments.values()) {
    const { identity, ipv4, ipv6 } = attachment;
    const row = { identity, node: undefined, flags: 0, ...namesOf(namedPorts(attachment, sources)) };
    for (const ip of [ipv4, ipv6]) if (ip !== undefined) yield [ip, row];
  }
}
