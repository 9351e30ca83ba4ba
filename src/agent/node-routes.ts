/** The routes that the agent keeps on its node: to its own pods, and to those of other nodes. Pure. */
import type { Attachment } from "../cni/index.ts";
import { HOST_DEVICE } from "../kernel/index.ts";
import type { Neighbour, Route, Way } from "../kernel/index.ts";
import { cidrContains, familyOf, formatCidr, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { RemoteCidr } from "./peers.ts";
import { Claims } from "./pod-blocks.ts";

/** Of the other nodes' pods: the routes, and in a sentence each why one cannot be. */
export interface RemoteRoutes {
  readonly routes: readonly Route[];
  readonly failures: readonly string[];
}

type Source = (destination: string) => string | undefined;

export function routerOf(routerIps: readonly string[]): Source {
  return (destination) => routerIps.find((ip) => ip.includes(":") === destination.includes(":"));
}

/** Through the tunnel: to cilium_host, whose program finds the node, or drops and says so. */
export function tunnelRoutes(remote: readonly RemoteCidr[], source: Source, mtu: number): RemoteRoutes {
  const unreached = remote.filter(({ tunnelIp }) => tunnelIp === undefined);
  return {
    routes: remote.map(({ cidr }) => ({ destination: cidr, device: HOST_DEVICE, source: source(cidr), mtu })),
    failures: unreached.map(({ cidr, nodeName }) => `no tunnel to ${cidr} of ${nodeName}: that node has no InternalIP of the family that this node's first one has, over which its tunnels go`),
  };
}

/**
 * By the underlay: to the node's own address, which must be on a segment that both nodes share. Beyond a gateway the
 * route would end at a router that does not know the pods.
 */
export function directRoutes(remote: readonly RemoteCidr[], ways: ReadonlyMap<string, Way>, underlay: readonly string[], mtu: number): RemoteRoutes {
  const routes: Route[] = [];
  const failures: string[] = [];
  for (const one of remote) {
    const { cidr, nodeIp } = one;
    const way = nodeIp === undefined ? undefined : ways.get(nodeIp);
    const reason = refusal(one, ways, underlay);
    if (reason === undefined && way !== undefined) routes.push({ destination: cidr, device: way.device, via: nodeIp, source: undefined, mtu });
    else failures.push(reason ?? "");
  }
  return { routes, failures };
}

/** Whether routes to these destinations lead to addresses of a block: to all of it, or to parts, as some networks have a route for each. */
export function routedBy(destinations: readonly string[]): (cidr: string) => boolean {
  const known = new Claims();
  for (const text of destinations) known.take({ name: "routes", cidr: parseCidr(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`, { maskHostBits: true }) });
  return (text) => known.meets(parseCidr(text));
}

/**
 * The first of the node's addresses that is in one of these blocks, of each family that the blocks are of and that is masqueraded.
 * Without one pods leave under the address of the device, and that is said.
 */
export function masqueradeSources(cidrs: readonly string[] = [], own: readonly string[], masquerade: { readonly ipv4: boolean; readonly ipv6: boolean }): { readonly sources: readonly string[]; readonly failures: readonly string[] } {
  const sources: string[] = [];
  const failures: string[] = [];
  for (const [family, isOn] of [[4, masquerade.ipv4], [6, masquerade.ipv6]] as const) {
    const blocks = cidrs.map((text) => parseCidr(text)).filter(({ address }) => familyOf(address) === family);
    if (!isOn || blocks.length === 0) continue;
    const ofFamily = own.filter((ip) => isAddress(ip) && familyOf(parseAddress(ip)) === family);
    const source = ofFamily.find((ip) => blocks.some((block) => cidrContains(block, parseAddress(ip))));
    if (source === undefined) failures.push(`no address of the node (${ofFamily.join(", ")}) is in the source CIDRs ${blocks.map(formatCidr).join(", ")} of the masquerade: pods leave under that of the device`);
    else sources.push(source);
  }
  return { sources, failures };
}

/** Why there can be no direct route, in a sentence; undefined: there can. */
export function refusal({ cidr, nodeName, nodeIp }: RemoteCidr, ways: ReadonlyMap<string, Way>, underlay: readonly string[]): string | undefined {
  const reason = obstacle(nodeIp, nodeIp === undefined ? undefined : ways.get(nodeIp), underlay);
  return reason === undefined ? undefined : `no direct route to ${cidr} of ${nodeName}: ${reason}`;
}

function obstacle(nodeIp: string | undefined, way: Way | undefined, underlay: readonly string[]): string | undefined {
  if (nodeIp === undefined) return "the node has no InternalIP of that family";
  if (way === undefined) return `no route leads to its address ${nodeIp}`;
  if (way.gateway !== undefined) return `its address ${nodeIp} is behind the gateway ${way.gateway}, on no segment that both nodes share`;
  if (!underlay.includes(way.device)) return `its address ${nodeIp} is on ${way.device}, which is no underlay device (${underlay.join(", ")})`;
  return undefined;
}

/**
 * What no pod has of this node's CIDRs is nowhere: by the default route it would go to the outside, which would send it
 * back, and who asks an address of a pod that is gone would wait.
 */
export function unusedRoutes(podCidrs: readonly string[]): Route[] {
  return podCidrs.map((destination) => ({ destination, device: undefined, source: undefined }));
}

/** Of pods whose link is there. */
export function podRoutes(attachments: Iterable<Attachment>, source: Source): Route[] {
  return [...attachments].flatMap((one) => addressesOf(one).map((ip) => ({ destination: ip, device: one.hostIfname, source: source(ip) })));
}

export function podNeighbours(attachments: Iterable<Attachment>): Neighbour[] {
  return [...attachments].flatMap((one) => addressesOf(one).map((address) => ({ address, device: one.hostIfname, mac: one.mac })));
}

const addressesOf = ({ ipv4, ipv6 }: Attachment): string[] => [ipv4, ipv6].filter((ip) => ip !== undefined);
