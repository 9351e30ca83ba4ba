/**
 * Peers as the kernel may have them: those whose identity is known, with the number of their class of named ports. It is a
 * view: nothing is kept for an address but that it is withheld.
 */
import { Moves, isTracked } from "../reconcile/tracked.ts";
import type { Rows, Tracked } from "../reconcile/tracked.ts";
import type { DesiredState, PeerRow } from "./desired.ts";
import { numbered } from "./ports.ts";
import type { Numbered, PortClasses } from "./ports.ts";
import { RESERVED_LABELS } from "./resolve.ts";

export type PeerValue = Numbered<PeerRow>;

type Identities = DesiredState["identities"];

export class AdmittedPeers implements Tracked<string, PeerValue> {
  readonly #classes: PortClasses;
  readonly #moves = new Moves<string, PeerValue>();
  #peers: Rows<string, PeerRow> = new Map();
  #identities: Identities = new Map();
  /** Addresses of unknown identities: they stay out, and so closed. */
  readonly #withheld = new Set<string>();
  #namesWent = false;

  constructor(classes: PortClasses) {
    this.#classes = classes;
  }

  get withheld(): readonly string[] {
    return [...this.#withheld];
  }

  /** Whether a row with named ports went or changed since the last call: its class may have no row any more. */
  takeNamesWent(): boolean {
    const went = this.#namesWent;
    this.#namesWent = false;
    return went;
  }

  /** The next to be admitted. Its moves are this object's moves. */
  follow({ peers, identities }: Pick<DesiredState, "peers" | "identities">): void {
    const before = this.#formerRows(peers);
    const known = this.#identities;
    this.#identities = identities;
    this.#peers = peers;
    for (const [address, former] of before) this.#row(address, former);
    if (identities !== known) this.#identitiesMoved(known);
  }

  get(address: string): PeerValue | undefined {
    const row = this.#peers.get(address);
    return row === undefined || this.#withheld.has(address) ? undefined : numbered(row, this.#classes);
  }

  *keys(): Iterable<string> {
    for (const address of this.#peers.keys()) if (!this.#withheld.has(address)) yield address;
  }

  *[Symbol.iterator](): Iterator<readonly [string, PeerValue]> {
    for (const [address, row] of this.#peers) if (!this.#withheld.has(address)) yield [address, numbered(row, this.#classes)];
  }

  take(): ReadonlyMap<string, PeerValue | undefined> {
    return this.#moves.take();
  }

  /** Of addresses whose row may have moved. */
  #formerRows(peers: Rows<string, PeerRow>): ReadonlyMap<string, PeerRow | undefined> {
    const moved = isTracked(this.#peers) ? this.#peers.take() : new Map<string, PeerRow | undefined>();
    if (peers === this.#peers) return moved;
    const former = new Map<string, PeerRow | undefined>();
    if (isTracked(peers)) peers.take();
    for (const address of peers.keys()) former.set(address, undefined);
    for (const [address, row] of this.#peers) former.set(address, row);
    for (const [address, row] of moved) former.set(address, row);
    return former;
  }

  #row(address: string, former: PeerRow | undefined): void {
    const wasIn = former !== undefined && !this.#withheld.has(address);
    this.#moves.note(address, wasIn ? numbered(former, this.#classes) : undefined);
    if (former?.namedPorts !== undefined) this.#namesWent = true;
    const row = this.#peers.get(address);
    if (row === undefined || this.#isKnown(row.identity)) {
      this.#withheld.delete(address);
      // Before rules are made of the classes.
      if (row !== undefined) this.#classes.numberOf(row.identity, row.namedPorts);
    } else {
      this.#withheld.add(address);
    }
  }

  #identitiesMoved(before: Identities): void {
    for (const address of this.#withheld) {
      const row = this.#peers.get(address);
      if (row !== undefined && this.#isKnown(row.identity)) this.#row(address, row);
    }
    if ([...before.keys()].every((identity) => this.#identities.has(identity))) return;
    for (const [address, row] of this.#peers) if (!this.#isKnown(row.identity) && !this.#withheld.has(address)) this.#row(address, row);
  }

  #isKnown(identity: number): boolean {
    return isKnown(this.#identities, identity);
  }
}

/** Some rule may mean it, and those that do are known. */
export function isKnown(identities: Identities, identity: number): boolean {
  return identity === 0 || RESERVED_LABELS.has(identity) || identities.has(identity);
}
