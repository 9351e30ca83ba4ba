/**
 * Who has which address, put together from three layers; an upper one hides what a lower one says:
 *
 *   nodes and routers ─▶ pods of this node ─▶ pods of other nodes
 *
 * A view: nothing is kept here but which addresses have moved.
 */
import { Moves } from "../reconcile/index.ts";
import type { Tracked } from "../reconcile/index.ts";
import type { PeerRow } from "../targets/index.ts";
import type { EndpointObjectRow } from "./endpoint-rows.ts";
import type { NodeTables } from "./peers.ts";
import { RemotePods } from "./remote-pods.ts";

type Layer = ReadonlyMap<string, PeerRow>;

export class PeerTable implements Tracked<string, PeerRow> {
  readonly #remote: RemotePods;
  readonly #moves = new Moves<string, PeerRow>();
  #nodes: Layer = new Map();
  #local: Layer = new Map();

  constructor(localName: string) {
    this.#remote = new RemotePods(localName, (ip) => this.#moves.note(ip, this.get(ip)));
  }

  get(ip: string): PeerRow | undefined {
    return this.#nodes.get(ip) ?? this.#local.get(ip) ?? this.#remote.get(ip);
  }

  *keys(): Iterable<string> {
    yield* this.#nodes.keys();
    for (const ip of this.#local.keys()) if (!this.#nodes.has(ip)) yield ip;
    for (const ip of this.#remote.keys()) if (!this.#nodes.has(ip) && !this.#local.has(ip)) yield ip;
  }

  *[Symbol.iterator](): Iterator<readonly [string, PeerRow]> {
    for (const ip of this.keys()) {
      const row = this.get(ip);
      if (row !== undefined) yield [ip, row];
    }
  }

  take(): ReadonlyMap<string, PeerRow | undefined> {
    return this.#moves.take();
  }

  /** The object of the other node's pod that has the address. */
  owner(ip: string): EndpointObjectRow | undefined {
    return this.#remote.owner(ip);
  }

  /** False: nothing moved. */
  endpoint(row: EndpointObjectRow | undefined, previous: EndpointObjectRow | undefined): boolean {
    return this.#remote.changed(row, previous);
  }

  /** Nodes, and with them where the pods of each are. */
  nodes({ peers, places }: Pick<NodeTables, "peers" | "places">, endpoints: () => Iterable<EndpointObjectRow>): void {
    this.#note(this.#nodes, peers);
    this.#nodes = peers;
    this.#remote.placed(places, endpoints);
  }

  local(rows: Layer): void {
    this.#note(this.#local, rows);
    this.#local = rows;
  }

  #note(...layers: readonly Layer[]): void {
    for (const layer of layers) for (const ip of layer.keys()) this.#moves.note(ip, this.get(ip));
  }
}
