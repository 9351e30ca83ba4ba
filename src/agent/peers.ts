/**
 * Which address is whom: nodes, routers and pods of the cluster, from CiliumNode and CiliumEndpoint objects and
 * from this node's own attachments. Pure.
 */
import { Identity, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL } from "../kernel/gen/types.ts";
import { cidrContains, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import type { NamedPorts, NodeRow as NodeTarget, PeerRow } from "../targets/index.ts";
import type { CiliumNodeRow, EndpointObjectRow } from "./objects.ts";

export interface LocalNode {
  readonly name: string;
  readonly uid: string;
  readonly internalIps: readonly string[];
  readonly routerIps: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface NodeTables {
  /** Node and router addresses. */
  readonly peers: ReadonlyMap<string, PeerRow>;
  readonly cidrs: ReadonlyMap<string, PeerRow>;
  readonly nodes: ReadonlyMap<string, NodeTarget>;
  /** Node name -> what its pods are reached by. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
}

export interface Tunnel {
  readonly address: string;
  readonly podCidrs: readonly Cidr[];
}

const isIPv6 = (ip: string): boolean => ip.includes(":");

/** The outer address towards a node: of the family that this node's own first address has, when there is one. */
function underlayOf(node: { readonly internalIps: readonly string[] }, local: LocalNode): string | undefined {
  const wantIPv6 = isIPv6(local.internalIps[0] ?? "");
  return node.internalIps.find((ip) => isIPv6(ip) === wantIPv6) ?? node.internalIps[0];
}

function validCidrs(texts: readonly string[]): string[] {
  return texts.filter((text) => {
    try {
      parseCidr(text);
      return true;
    } catch {
      return false;
    }
  });
}

function isOn(tunnel: Tunnel, ip: string): boolean {
  const address = parseAddress(ip);
  return tunnel.podCidrs.some((cidr) => cidrContains(cidr, address));
}

/**
 * The API server lets an agent write for its own node only (the chart's admission policies). A router address is believed
 * inside the pod CIDRs of its node only, as a pod's is.
 */
export function nodeTables(local: LocalNode, others: Iterable<CiliumNodeRow>): NodeTables {
  const peers = new Map<string, PeerRow>();
  const cidrs = new Map<string, PeerRow>();
  const nodes = new Map<string, NodeTarget>();
  const tunnels = new Map<string, Tunnel>();
  for (const node of others) {
    if (node.name === local.name) continue;
    const underlay = underlayOf(node, local);
    if (underlay === undefined) continue;
    const podCidrs = validCidrs(node.podCidrs);
    const tunnel = { address: underlay, podCidrs: podCidrs.map((text) => parseCidr(text)) };
    const routers = node.routerIps.filter((ip) => isAddress(ip) && isOn(tunnel, ip));
    tunnels.set(node.name, tunnel);
    for (const cidr of podCidrs) cidrs.set(cidr, { identity: Identity.UNKNOWN, node: underlay, flags: PEER_POD_CIDR | PEER_TUNNEL });
    for (const ip of routers) peers.set(ip, { identity: Identity.REMOTE_NODE, node: underlay, flags: PEER_ROUTER | PEER_TUNNEL });
    const row = { routerIpv4: routers.find((ip) => !isIPv6(ip)), routerIpv6: routers.find(isIPv6) };
    for (const ip of node.internalIps.filter(isAddress)) {
      peers.set(ip, { identity: Identity.REMOTE_NODE, node: undefined, flags: 0 });
      nodes.set(ip, row);
    }
  }
  // Last: whatever another node's object claims, these addresses are our own.
  for (const cidr of local.podCidrs) cidrs.set(cidr, { identity: Identity.UNKNOWN, node: undefined, flags: PEER_POD_CIDR });
  for (const ip of local.internalIps) {
    peers.set(ip, { identity: Identity.HOST, node: undefined, flags: 0 });
    nodes.delete(ip);
  }
  for (const ip of local.routerIps) peers.set(ip, { identity: Identity.HOST, node: undefined, flags: PEER_ROUTER });
  return { peers, cidrs, nodes, tunnels };
}

/**
 * Pods of other nodes. An address is believed only inside the pod CIDRs of the node that it is said to be on: an
 * object that names another's address must not take over its traffic. Of two objects with one address the one written
 * later is right: nobody writes that of a pod that is gone.
 */
export function remotePods(localName: string, endpoints: Iterable<EndpointObjectRow>, tunnels: ReadonlyMap<string, Tunnel>): ReadonlyMap<string, PeerRow> {
  const peers = new Map<string, PeerRow>();
  const written = new Map<string, string>();
  for (const endpoint of endpoints) {
    if (endpoint.nodeName === localName || endpoint.identity === 0) continue;
    const tunnel = tunnels.get(endpoint.nodeName);
    if (tunnel === undefined) continue;
    for (const ip of endpoint.ips) {
      if (!isAddress(ip) || (written.get(ip) ?? "") > endpoint.written) continue;
      if (!isOn(tunnel, ip)) continue;
      peers.set(ip, { identity: endpoint.identity, node: tunnel.address, flags: PEER_TUNNEL, ...namesOf(endpoint) });
      written.set(ip, endpoint.written);
    }
  }
  return peers;
}

/** The field, absent when there is none. */
export function namesOf({ namedPorts }: { readonly namedPorts?: NamedPorts | undefined }): { readonly namedPorts?: NamedPorts } {
  return namedPorts === undefined ? {} : { namedPorts };
}
