/**
 * Which pod of another node has an address, kept up to date one CiliumEndpoint at a time.
 *
 * An address is believed only inside the pod CIDRs of the node that it is said to be on: an object that names another's
 * address must not take over its traffic. Of two objects with one address the one written later is right: nobody writes
 * that of a pod that is gone.
 */
import { isAddress } from "../lib/ip.ts";
import type { PeerRow } from "../targets/index.ts";
import type { EndpointObjectRow } from "./endpoint-rows.ts";
import { namesOf } from "./objects.ts";
import { isOn } from "./peers.ts";
import type { Place } from "./peers.ts";

type Claim = EndpointObjectRow;

export class RemotePods {
  readonly #localName: string;
  readonly #onMove: (ip: string) => void;
  /** Address -> objects that claim it and are believed; nearly always one. */
  readonly #claims = new Map<string, Claim | readonly Claim[]>();
  #places: ReadonlyMap<string, Place> = new Map();

  /** @param onMove hears of an address before what `get` says of it may change. */
  constructor(localName: string, onMove: (ip: string) => void) {
    this.#localName = localName;
    this.#onMove = onMove;
  }

  /** The object whose pod has the address. */
  owner(ip: string): EndpointObjectRow | undefined {
    const claims = this.#claims.get(ip);
    return claims !== undefined && isSeveral(claims) ? claims.reduce(later) : claims;
  }

  get(ip: string): PeerRow | undefined {
    const owner = this.owner(ip);
    return owner === undefined ? undefined : this.#rowOf(owner);
  }

  keys(): Iterable<string> {
    return this.#claims.keys();
  }

  /** An object came, changed or went. False: it says nothing of any address. */
  changed(row: EndpointObjectRow | undefined, previous: EndpointObjectRow | undefined): boolean {
    const [former, next] = [this.#believed(previous), this.#believed(row)];
    for (const ip of former) this.#release(ip, previous as Claim);
    for (const ip of next) this.#claim(ip, row as Claim);
    return former.length + next.length > 0;
  }

  /** @param endpoints all objects, which are looked at again where their node's place is another */
  placed(places: ReadonlyMap<string, Place>, endpoints: () => Iterable<EndpointObjectRow>): void {
    const former = this.#places;
    const moved = new Set([...former.keys(), ...places.keys()].filter((node) => !isSamePlace(former.get(node), places.get(node))));
    if (moved.size === 0) return;
    const rows = [...endpoints()].filter(({ nodeName }) => moved.has(nodeName));
    for (const row of rows) for (const ip of this.#believed(row)) this.#release(ip, row);
    this.#places = places;
    for (const row of rows) for (const ip of this.#believed(row)) this.#claim(ip, row);
  }

  #rowOf(owner: Claim): PeerRow | undefined {
    const place = this.#places.get(owner.nodeName);
    return place === undefined ? undefined : { identity: owner.identity, node: place.node, flags: place.flags, ...namesOf(owner.namedPorts) };
  }

  #believed(row: EndpointObjectRow | undefined): readonly string[] {
    if (row === undefined || row.nodeName === this.#localName || row.identity === 0) return [];
    const place = this.#places.get(row.nodeName);
    return place === undefined ? [] : row.ips.filter((ip) => isAddress(ip) && isOn(place, ip));
  }

  #claim(ip: string, row: Claim): void {
    this.#onMove(ip);
    const others = claimsOf(this.#claims.get(ip)).filter((claim) => claim !== row);
    this.#claims.set(ip, others.length === 0 ? row : [...others, row]);
  }

  #release(ip: string, row: Claim): void {
    this.#onMove(ip);
    const others = claimsOf(this.#claims.get(ip)).filter((claim) => claim !== row);
    const [first] = others;
    if (first === undefined) this.#claims.delete(ip);
    else this.#claims.set(ip, others.length === 1 ? first : others);
  }
}

const isSeveral = (claims: Claim | readonly Claim[]): claims is readonly Claim[] => Array.isArray(claims);

function claimsOf(claims: Claim | readonly Claim[] | undefined): readonly Claim[] {
  if (claims === undefined) return [];
  return isSeveral(claims) ? claims : [claims];
}

/** Two of one second: the same one whatever came first. */
function later(a: Claim, b: Claim): Claim {
  if (a.written !== b.written) return a.written > b.written ? a : b;
  return a.key > b.key ? a : b;
}

function isSamePlace(a: Place | undefined, b: Place | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const cidrs = (place: Place): string => place.podCidrs.map(({ address, prefix }) => `${address.join(".")}/${prefix}`).join();
  return a.node === b.node && a.flags === b.flags && cidrs(a) === cidrs(b);
}
