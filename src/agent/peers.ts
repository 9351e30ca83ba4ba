/** Which address is a node's or a router's, and where the pods of each node are, from CiliumNode objects. Pure. */
import { Identity, PEER_BARE, PEER_DIRECT, PEER_OWN, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL } from "../kernel/gen/types.ts";
import { cidrContains, formatAddress, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { identityOfNode, outsideApiServers, ownLabels } from "../targets/index.ts";
import type { NodeRow as NodeTarget, PeerRow } from "../targets/index.ts";
import type { CiliumNodeRow, RoutingStatus } from "./objects.ts";
import type { HealthAddress, HealthPeer } from "./node-health.ts";
import { podBlocks } from "./pod-blocks.ts";
import type { PodBlocks } from "./pod-blocks.ts";
import { mayComeBare, reachOf } from "./reach.ts";
import type { Reaching } from "./reach.ts";

export interface LocalNode {
  readonly name: string;
  readonly uid: string;
  readonly internalIps: readonly string[];
  /** Further addresses of its underlay devices: other nodes do not know them. */
  readonly deviceIps?: readonly string[];
  /** What else it has, which services may have brought: what is sent there is sent to the node, and is `host` to nobody. */
  readonly guestIps?: readonly string[];
  readonly routerIps: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface NodeTables {
  /** Node and router addresses. */
  readonly peers: ReadonlyMap<string, PeerRow>;
  readonly cidrs: ReadonlyMap<string, PeerRow>;
  readonly nodes: ReadonlyMap<string, NodeTarget>;
  /** Node name -> where its pods are. */
  readonly places: ReadonlyMap<string, Place>;
  /** Pod CIDRs of the other nodes. */
  readonly remoteCidrs: readonly RemoteCidr[];
  /** Of each pod CIDR that is another node's too, and of each node's address in one, a sentence. */
  readonly refusedCidrs: readonly string[];
  /** Of identities of this node's own, and of reserved ones that are more here than everywhere. */
  readonly labels: ReadonlyMap<number, readonly string[]>;
  /** Of each other node, where it can be asked whether it answers. */
  readonly health: readonly HealthPeer[];
}

/** How the addresses of one node's pods are reached, and which those can be. */
export interface Place extends Pick<PeerRow, "node" | "flags"> {
  readonly podCidrs: readonly Cidr[];
}

export interface RemoteCidr {
  readonly cidr: string;
  readonly nodeName: string;
  /** The node's first address of the CIDR's family; undefined: it has none. */
  readonly nodeIp: string | undefined;
  /** The node's end of the tunnel; undefined: it has no address of the family over which this node's tunnel goes. */
  readonly tunnelIp: string | undefined;
  /** How the node says that it routes; undefined: it does not say it. */
  readonly mode?: RoutingStatus["mode"] | undefined;
}

const isIPv6 = (ip: string): boolean => ip.includes(":");

/** The outer address towards a node: of the family that this node's own first address has; the pods' MTU is reckoned for it. */
export function underlayOf(node: { readonly internalIps: readonly string[] }, local: LocalNode): string | undefined {
  const wantIPv6 = isIPv6(local.internalIps[0] ?? "");
  return node.internalIps.find((ip) => isAddress(ip) && isIPv6(ip) === wantIPv6);
}

export function isOn(place: Pick<Place, "podCidrs">, ip: string): boolean {
  const address = parseAddress(ip);
  return place.podCidrs.some((cidr) => cidrContains(cidr, address));
}

/** Its routers answer by the way that its pods' packets take, one of each family; its own address is the one that this node sends to. */
function healthOf(name: string, routers: readonly string[], nodeIp: string | undefined): HealthPeer {
  const address = (type: HealthAddress["type"]) => (ip: string): HealthAddress => ({ type, address: formatAddress(parseAddress(ip)) });
  const first = [routers.find((ip) => !isIPv6(ip)), routers.find(isIPv6)].flatMap((ip) => ip ?? []);
  return { name, addresses: [...first.map(address("endpoint")), ...(nodeIp === undefined ? [] : [nodeIp]).map(address("node"))] };
}

function flagsOf(reaching: Reaching, node: CiliumNodeRow): number {
  if (reachOf(reaching, node.name) === "direct") return PEER_DIRECT;
  return PEER_TUNNEL | (mayComeBare(reaching, node) ? PEER_BARE : 0);
}

/** An address of a pod CIDR is a pod's or nobody's, whatever device of this node has it. */
function withGuests({ guestIps = [] }: LocalNode, peers: ReadonlyMap<string, PeerRow>, blocks: PodBlocks): ReadonlyMap<string, PeerRow> {
  const guests = guestIps.filter((ip) => !blocks.holds(ip));
  return new Map([...peers, ...guests.map((ip) => [ip, asGuest(ip, peers.get(ip))] as const)]);
}

/** Whoever others know it for, this node has it now. */
function asGuest(ip: string, known: PeerRow | undefined): PeerRow {
  if (known?.identity === Identity.HOST) return known;
  const { flags, ...who } = known ?? { identity: isIPv6(ip) ? Identity.WORLD_IPV6 : Identity.WORLD_IPV4, node: undefined, flags: 0 };
  return { ...who, flags: flags | PEER_OWN };
}

/**
 * The API server lets an agent write for its own node only (the chart's admission policies). A router address is believed
 * inside the pod CIDRs of its node only, as a pod's is. A node that runs the API server is that under all its addresses,
 * as it speaks to pods under its router's.
 *
 * @param apiServers addresses of the API server, in canonical text
 */
export function nodeTables(local: LocalNode, others: Iterable<CiliumNodeRow>, reaching: Reaching, apiServers: readonly string[] = []): NodeTables {
  const peers = new Map<string, PeerRow>();
  const cidrs = new Map<string, PeerRow>();
  const nodes = new Map<string, NodeTarget>();
  const places = new Map<string, Place>();
  const remoteCidrs: RemoteCidr[] = [];
  const health: HealthPeer[] = [];
  const rows = [...others];
  const blocks = podBlocks(local, rows);
  for (const node of rows) {
    if (node.name === local.name) continue;
    const underlay = underlayOf(node, local);
    const podCidrs = blocks.of(node.name);
    const reach = { node: underlay, flags: flagsOf(reaching, node) };
    const place = { ...reach, podCidrs: podCidrs.map((text) => parseCidr(text)) };
    const identity = identityOfNode(node.internalIps, apiServers);
    const routers = node.routerIps.filter((ip) => isAddress(ip) && isOn(place, ip));
    places.set(node.name, place);
    health.push(healthOf(node.name, routers, underlay ?? node.internalIps.find(isAddress)));
    const nodeIp = (cidr: string): string | undefined => node.internalIps.find((ip) => isAddress(ip) && isIPv6(ip) === isIPv6(cidr));
    for (const cidr of podCidrs) cidrs.set(cidr, { identity: Identity.UNKNOWN, node: reach.node, flags: PEER_POD_CIDR | reach.flags });
    remoteCidrs.push(...podCidrs.map((cidr) => ({ cidr, nodeName: node.name, nodeIp: nodeIp(cidr), tunnelIp: underlay, mode: node.routing?.mode })));
    for (const ip of routers) peers.set(ip, { identity, node: reach.node, flags: PEER_ROUTER | reach.flags });
    const row = { routerIpv4: routers.find((ip) => !isIPv6(ip)), routerIpv6: routers.find(isIPv6), address: underlay ?? "::" };
    for (const ip of node.internalIps.filter(isAddress)) {
      peers.set(ip, { identity, node: undefined, flags: 0 });
      // Whom no tunnel leads to, none comes from.
      if (underlay !== undefined || reach.flags === PEER_DIRECT) nodes.set(ip, row);
    }
  }
  // Last: whatever another node's object claims, these addresses are our own.
  for (const cidr of local.podCidrs) cidrs.set(cidr, { identity: Identity.UNKNOWN, node: undefined, flags: PEER_POD_CIDR });
  const own = [...local.internalIps, ...(local.deviceIps ?? [])];
  for (const ip of own) {
    peers.set(ip, { identity: Identity.HOST, node: undefined, flags: 0 });
    nodes.delete(ip);
  }
  for (const ip of local.routerIps) peers.set(ip, { identity: Identity.HOST, node: undefined, flags: PEER_ROUTER });
  const outside = outsideApiServers(apiServers, new Set(peers.keys()), [...cidrs.keys()]);
  return { peers: withGuests(local, new Map([...peers, ...outside]), blocks), cidrs, nodes, places, remoteCidrs, refusedCidrs: [...blocks.refused, ...blocks.doubtful], labels: ownLabels(own, apiServers), health };
}
