/**
 * What the node's WireGuard device, its routes and its enforcement must be, from what all nodes say of themselves. Pure.
 *
 * Peers first, enforcement last. A node's tunnel packets take WireGuard once that node has answered a handshake, as then it
 * has this node for a peer too. A node that was answered by all is Confirmed; when all nodes are, or the first one
 * enforces, this one does. From then on everything takes WireGuard, whoever answers, and what would leave in clear is dropped;
 * that a node which comes later, or comes back, never sends in clear follows from what the others say.
 */
import { isWireGuardKey } from "../kernel/index.ts";
import type { EncryptedRoute, WireGuardPeer, WireGuardState } from "../kernel/index.ts";
import { formatAddress, isAddress, parseAddress } from "../lib/ip.ts";
import type { CiliumNodeRow, EncryptionStatus } from "./objects.ts";
import { underlayOf } from "./peers.ts";
import type { LocalNode } from "./peers.ts";

export interface EncryptionView {
  readonly local: LocalNode;
  /** Of all nodes, this one perhaps among them. */
  readonly nodes: Iterable<CiliumNodeRow>;
  readonly port: number;
  /** Of this node. */
  readonly publicKey: string;
  readonly now: WireGuardState;
  /** What would leave in clear is dropped already. */
  readonly inForce: boolean;
}

export interface EncryptionPlan {
  readonly peers: readonly WireGuardPeer[];
  readonly routes: readonly EncryptedRoute[];
  readonly enforce: boolean;
  /** Every other node was reached. */
  readonly confirmed: boolean;
  /** Nodes that were reached. */
  readonly reached: number;
  /** Of each node that was not, why, in a sentence. */
  readonly missing: readonly string[];
}

/** So often a node that never answered is asked. */
const ASK_SECONDS = 5;

/** Nodes by name; of a key or an address that two of them claim, the first has it and the other is told. */
class Claims {
  readonly #owners = new Map<string, string>();

  /** The one that has it already; undefined: `name` has it now. */
  other(what: string, name: string): string | undefined {
    const owner = this.#owners.get(what);
    if (owner === undefined) this.#owners.set(what, name);
    return owner === name ? undefined : owner;
  }
}

export function encryptionPlan(view: EncryptionView): EncryptionPlan {
  const { local, now, port } = view;
  const rows = [...view.nodes];
  const others = rows.filter(({ name }) => name !== local.name).sort((a, b) => (a.name < b.name ? -1 : 1));
  const claims = new Claims();
  claims.other(view.publicKey, local.name);
  for (const ip of ownAddresses(local)) claims.other(ip, local.name);
  const peers: WireGuardPeer[] = [];
  const missing: string[] = [];
  const reached: Omit<WireGuardPeer, "keepalive">[] = [];
  for (const node of others) {
    const peer = peerOf(node, local, port, claims);
    if (typeof peer === "string") {
      missing.push(`${node.name}: ${peer}`);
      continue;
    }
    const wasReached = (now.peers.get(peer.publicKey)?.lastHandshake ?? 0) > 0;
    peers.push({ ...peer, keepalive: wasReached ? 0 : ASK_SECONDS });
    if (wasReached) reached.push(peer);
    else missing.push(`${node.name}: it has not answered yet at ${peer.endpoint.ip} port ${port}/udp`);
  }
  const confirmed = reached.length === others.length;
  const enforce = view.inForce || rows.some(({ encryption }) => encryption?.phase === "Enforced") || (confirmed && others.every(({ encryption }) => encryption?.phase === "Confirmed"));
  const routes = enforce ? others.flatMap((node) => routesTo(node.internalIps, local)) : reached.flatMap((peer) => routesTo(addressesOf(peer), local));
  return { peers, routes: distinct(routes), enforce, confirmed, reached: reached.length, missing };
}

function peerOf(node: CiliumNodeRow, local: LocalNode, port: number, claims: Claims): Omit<WireGuardPeer, "keepalive"> | string {
  const { name, publicKey } = node;
  if (publicKey === undefined) return "it has published no key: its agent does not encrypt, or has no device yet";
  if (!isWireGuardKey(publicKey)) return "what it has published is no WireGuard key";
  const ip = underlayOf(node, local);
  if (ip === undefined || !isAddress(ip)) return "it has no InternalIP";
  const owner = claims.other(publicKey, name);
  if (owner !== undefined) return `its key is the one of ${owner}`;
  const addresses = node.internalIps.filter(isAddress).map((text) => formatAddress(parseAddress(text)));
  const taken = addresses.map((address) => claims.other(address, name)).find((other) => other !== undefined);
  if (taken !== undefined) return `it claims an address of ${taken}`;
  return { publicKey, endpoint: { ip, port }, allowedIps: addresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`) };
}

const addressesOf = ({ allowedIps }: Pick<WireGuardPeer, "allowedIps">): string[] => allowedIps.map((cidr) => cidr.slice(0, cidr.indexOf("/")));

const ownAddresses = ({ internalIps, deviceIps = [] }: LocalNode): readonly string[] => [...internalIps, ...deviceIps];

/** Of the families that this node has an address of. */
function routesTo(addresses: readonly string[], local: LocalNode): EncryptedRoute[] {
  const own = ownAddresses(local);
  return addresses.filter((ip) => isAddress(ip) && !own.includes(ip)).flatMap((destination) => {
    const source = local.internalIps.find((ip) => ip.includes(":") === destination.includes(":"));
    return source === undefined ? [] : [{ destination, source }];
  });
}

function distinct(routes: readonly EncryptedRoute[]): EncryptedRoute[] {
  return [...new Map(routes.map((route) => [route.destination, route])).values()];
}

const NAMED = 10;

/** As other nodes and people read it. `device` is undefined while there is none. */
export function encryptionStatus(plan: Pick<EncryptionPlan, "enforce" | "confirmed" | "reached" | "missing">, device: "Kernel" | "Userspace" | undefined): EncryptionStatus {
  const phase = plan.enforce ? "Enforced" : plan.confirmed && device !== undefined ? "Confirmed" : "Preparing";
  const more = plan.missing.length - NAMED;
  const message = [...plan.missing.slice(0, NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  return { phase, device: device ?? "None", peers: plan.reached, ...(message === "" ? {} : { message }) };
}
