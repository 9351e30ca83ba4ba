/**
 * What the node's WireGuard device, its routes and its enforcement must be, from what all nodes say of themselves. Pure.
 *
 * Peers first, enforcement last. A node's tunnel packets take WireGuard once that node has answered a handshake, as then it
 * has this node for a peer too. A node that was answered by all is Confirmed; when all nodes are, or the first one
 * enforces, this one does. From then on everything takes WireGuard, whoever answers, and what would leave in clear is dropped;
 * that a node which comes later, or comes back, never sends in clear follows from what the others say. When all others
 * enforce, nobody sends in clear any more, and what comes so is no node's.
 */
import { isWireGuardKey } from "../kernel/index.ts";
import type { EncryptedRoute, WireGuardPeer, WireGuardState } from "../kernel/index.ts";
import { formatAddress, isAddress, parseAddress } from "../lib/ip.ts";
import type { CiliumNodeRow, EncryptionStatus } from "./objects.ts";
import { keysOf } from "./key-rotation.ts";
import type { NodeKey } from "./key-rotation.ts";
import { underlayOf } from "./peers.ts";
import type { LocalNode } from "./peers.ts";

/** One of this node's keys, and the device that has it. */
export interface OwnKey {
  readonly publicKey: string;
  readonly epoch: number;
  readonly device: string;
  readonly now: WireGuardState;
  /** By public key of each peer from which something has come under it, since when (KeyProofs). */
  readonly proven: ReadonlyMap<string, number>;
}

export interface EncryptionView {
  readonly local: LocalNode;
  /** Of all nodes, this one perhaps among them. */
  readonly nodes: Iterable<CiliumNodeRow>;
  /** Of nodes that name none. */
  readonly port: number;
  /** The present one, then the one that replaces it; none: there is no device. */
  readonly keys: readonly OwnKey[];
  /** Seconds; 0: a peer that has answered is left in peace. */
  readonly keepalive?: number;
  /** By the clock of `proven`. */
  readonly nowMs: number;
  /** What would leave in clear is dropped already. */
  readonly inForce: boolean;
}

export interface EncryptionPlan {
  /** Of each of this node's keys, in their order. */
  readonly peers: readonly (readonly WireGuardPeer[])[];
  readonly routes: readonly EncryptedRoute[];
  readonly enforce: boolean;
  /** Also what comes in clear is to be dropped: all others enforce. */
  readonly enforceOnReceipt: boolean;
  /** Every other node was reached. */
  readonly confirmed: boolean;
  /** Nodes that were reached. */
  readonly reached: number;
  /** Names of those that were reached by the last of the keys. */
  readonly reachedByLast: ReadonlySet<string>;
  /** The least epoch by which some node is sent to; undefined: one is not sent to. */
  readonly sends: number | undefined;
  /** Of each node that was not, why, in a sentence. */
  readonly missing: readonly string[];
}

/** So often a node that never answered is asked. */
const ASK_SECONDS = 5;
/**
 * So often it is told, while a key is replaced, that what it said by the new one was heard. Less than the other: whoever
 * hears something is silent for as long as its own says.
 */
const PROVE_SECONDS = 1;
/**
 * No longer, as a rotation lasts for as long as any node is away. By then the other has heard it, or takes the handshake
 * for a proof, as that has stood for long enough.
 */
const PROVE_FOR_MS = 30_000;

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

/** Another node as its object says, none of which another node has claimed before. */
interface KnownNode {
  readonly name: string;
  /** The end of its packets. */
  readonly ip: string;
  readonly addresses: readonly string[];
  readonly keys: readonly NodeKey[];
}

/** How this node reaches another. */
interface Way {
  readonly node: KnownNode;
  /** The last of this node's keys by which that node has answered. */
  readonly answered: OwnKey | undefined;
  /** By which it is sent to, once all are; undefined: they have no epoch in common. */
  readonly by: OwnKey | undefined;
}

export function encryptionPlan(view: EncryptionView): EncryptionPlan {
  const { local, keys } = view;
  const rows = [...view.nodes];
  const others = rows.filter(({ name }) => name !== local.name).sort((a, b) => (a.name < b.name ? -1 : 1));
  const claims = new Claims();
  for (const what of [...keys.map(({ publicKey }) => publicKey), ...ownAddresses(local)]) claims.other(what, local.name);
  const ways: Way[] = [];
  const missing: string[] = [];
  for (const row of others) {
    const node = knownNode(row, view, claims);
    if (typeof node === "string") {
      missing.push(`${row.name}: ${node}`);
      continue;
    }
    const way = wayTo(node, keys);
    ways.push(way);
    if (way.answered === undefined) missing.push(`${node.name}: ${whyNot(node, keys)}`);
  }
  const reached = ways.filter(({ answered }) => answered !== undefined);
  const confirmed = reached.length === others.length;
  const enforce = view.inForce || rows.some(({ encryption }) => encryption?.phase === "Enforced") || (confirmed && others.every(({ encryption }) => encryption?.phase === "Confirmed"));
  const last = keys.at(-1);
  return {
    peers: keys.map((key) => ways.flatMap(({ node }) => peerOf(node, key, key === keys[0] ? presentKeepalive(node, key, view) : nextKeepalive(node, key, view)))),
    routes: distinct([...routesBy(enforce ? ways : reached, local), ...(enforce ? otherRoutes(others, keys[0], local) : [])]),
    enforce,
    enforceOnReceipt: enforce && others.every(({ encryption }) => encryption?.phase === "Enforced"),
    confirmed,
    reached: reached.length,
    reachedByLast: new Set(reached.filter(({ answered }) => answered === last).map(({ node }) => node.name)),
    sends: ways.length < others.length || ways.some(({ by }) => by === undefined) ? undefined : Math.min(...(ways.length === 0 ? keys : ways.flatMap(({ by }) => by ?? [])).map(({ epoch }) => epoch)),
    missing,
  };
}

/** By the new key as soon as something has come back under it, and by the old one as long as the other has it. */
function wayTo(node: KnownNode, keys: readonly OwnKey[]): Way {
  const common = keys.filter(({ epoch }) => node.keys.some((key) => key.epoch === epoch));
  const answered = common.findLast((key) => (common.length > 1 && key !== common[0] ? isProven(node, key) : hasAnswered(node, key)));
  return { node, answered, by: answered ?? common[0] };
}

const keyOf = (node: KnownNode, { epoch }: OwnKey): string => node.keys.find((one) => one.epoch === epoch)?.publicKey ?? "";
const hasAnswered = (node: KnownNode, own: OwnKey): boolean => (own.now.peers.get(keyOf(node, own))?.lastHandshake ?? 0) > 0;
const isProven = (node: KnownNode, own: OwnKey): boolean => hasAnswered(node, own) && own.proven.has(keyOf(node, own));

function whyNot(node: KnownNode, keys: readonly OwnKey[]): string {
  const key = node.keys.find(({ epoch }) => keys.some((own) => own.epoch === epoch));
  if (key !== undefined) return `it has not answered yet at ${node.ip} port ${key.port}/udp`;
  const epochs = (some: readonly { readonly epoch: number }[]): string => some.map(({ epoch }) => epoch).join(" and ") || "none";
  return `its keys are of epoch ${epochs(node.keys)}, this node's of ${epochs(keys)}`;
}

/** One that names no epoch is of a version that has one key for all others, and takes this node's present one. */
function knownNode(node: CiliumNodeRow, { local, port, keys: own }: EncryptionView, claims: Claims): KnownNode | string {
  const { name } = node;
  const keys = keysOf(node, port, own[0]?.epoch);
  if (keys.length === 0) return "it has published no key: its agent does not encrypt, or has no device yet";
  if (!keys.every(({ publicKey }) => isWireGuardKey(publicKey))) return "what it has published is no WireGuard key";
  const ip = underlayOf(node, local);
  if (ip === undefined || !isAddress(ip)) return "it has no InternalIP";
  const owner = keys.map(({ publicKey }) => claims.other(publicKey, name)).find((other) => other !== undefined);
  if (owner !== undefined) return `its key is the one of ${owner}`;
  const addresses = node.internalIps.filter(isAddress).map((text) => formatAddress(parseAddress(text)));
  const taken = addresses.map((address) => claims.other(address, name)).find((other) => other !== undefined);
  return taken === undefined ? { name, ip, addresses, keys } : `it claims an address of ${taken}`;
}

/** One that has not answered is asked. */
const presentKeepalive = (node: KnownNode, key: OwnKey, { keepalive = 0 }: EncryptionView): number => (hasAnswered(node, key) ? keepalive : ASK_SECONDS);

function nextKeepalive(node: KnownNode, key: OwnKey, { keepalive = 0, nowMs }: EncryptionView): number {
  if (!isProven(node, key)) return ASK_SECONDS;
  const provenMs = nowMs - (key.proven.get(keyOf(node, key)) ?? nowMs);
  // Below zero: the clock was set back.
  return provenMs >= 0 && provenMs < PROVE_FOR_MS ? PROVE_SECONDS : keepalive;
}

/** Nothing, where the other has no key of the epoch. */
function peerOf(node: KnownNode, own: OwnKey, keepalive: number): WireGuardPeer[] {
  const key = node.keys.find(({ epoch }) => epoch === own.epoch);
  if (key === undefined) return [];
  const allowedIps = node.addresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`);
  return [{ publicKey: key.publicKey, endpoint: { ip: node.ip, port: key.port }, allowedIps, keepalive }];
}

const ownAddresses = ({ internalIps, deviceIps = [] }: LocalNode): readonly string[] => [...internalIps, ...deviceIps];

function routesBy(ways: readonly Way[], local: LocalNode): EncryptedRoute[] {
  return ways.flatMap(({ node, by }) => (by === undefined ? [] : routesTo(node.addresses, local, by.device)));
}

/** To whoever else there is: into WireGuard, which drops what is for nobody that it knows. */
function otherRoutes(others: readonly CiliumNodeRow[], own: OwnKey | undefined, local: LocalNode): EncryptedRoute[] {
  return own === undefined ? [] : others.flatMap(({ internalIps }) => routesTo(internalIps, local, own.device));
}

/** Of the families that this node has an address of. */
function routesTo(addresses: readonly string[], local: LocalNode, device: string): EncryptedRoute[] {
  const own = ownAddresses(local);
  return addresses.filter((ip) => isAddress(ip) && !own.includes(ip)).flatMap((destination) => {
    const source = local.internalIps.find((ip) => ip.includes(":") === destination.includes(":"));
    return source === undefined ? [] : [{ destination, source, device }];
  });
}

/** The first of each destination. */
function distinct(routes: readonly EncryptedRoute[]): EncryptedRoute[] {
  return [...new Map(routes.toReversed().map((route) => [route.destination, route])).values()].reverse();
}

const NAMED = 10;

type ToldPlan = Pick<EncryptionPlan, "enforce" | "confirmed" | "reached" | "missing"> & Partial<Pick<EncryptionPlan, "sends">>;

/** As other nodes and people read it. `device` is undefined while there is none. */
export function encryptionStatus(plan: ToldPlan, device: "Kernel" | "Userspace" | undefined): EncryptionStatus {
  const phase = plan.enforce ? "Enforced" : plan.confirmed && device !== undefined ? "Confirmed" : "Preparing";
  const message = sentence(plan.missing);
  return { phase, device: device ?? "None", peers: plan.reached, ...(plan.sends === undefined ? {} : { sends: plan.sends }), ...(message === "" ? {} : { message }) };
}

/** So many as a person reads. */
export function sentence(parts: readonly string[]): string {
  const more = parts.length - NAMED;
  return [...parts.slice(0, NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}
