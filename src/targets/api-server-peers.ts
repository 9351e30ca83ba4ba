/**
 * Who the API server is among the peers. On a node it is that node, under all its addresses, as it speaks to pods under
 * the router's; elsewhere it is the outside, known by name. Pure. Addresses are in canonical text.
 */
import { Identity } from "../kernel/gen/types.ts";
import { cidrContains, formatAddress, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { PeerRow } from "./desired.ts";

type Labels = ReadonlyMap<number, readonly string[]>;

/** Numbers of this node's own, as they travel nowhere. */
const OUTSIDE = { ipv4: Identity.FIRST_LOCAL, ipv6: Identity.FIRST_LOCAL + 1 } as const;
const LABELS: Labels = new Map([
  [OUTSIDE.ipv4, ["reserved:kube-apiserver", "reserved:world", "reserved:world-ipv4"]],
  [OUTSIDE.ipv6, ["reserved:kube-apiserver", "reserved:world", "reserved:world-ipv6"]],
]);
const LABELS_BESIDE_IT: Labels = new Map([...LABELS, [Identity.HOST, ["reserved:host", "reserved:kube-apiserver"]]]);

/** Identity of another node with these addresses. */
export function identityOfNode(ips: readonly string[], apiServers: readonly string[]): number {
  return runsApiServer(ips, apiServers) ? Identity.KUBE_APISERVER : Identity.REMOTE_NODE;
}

/** Labels of this node's own identities, and of the host where it is more than that. Equal answers are one object. */
export function ownLabels(ips: readonly string[], apiServers: readonly string[]): Labels {
  return runsApiServer(ips, apiServers) ? LABELS_BESIDE_IT : LABELS;
}

/** API servers that are no node's. An address inside a pod CIDR is a pod's, whatever a slice says. */
export function outsideApiServers(apiServers: readonly string[], known: ReadonlySet<string>, podCidrs: readonly string[]): readonly (readonly [string, PeerRow])[] {
  const pods = podCidrs.map((text) => parseCidr(text));
  const outside = apiServers.filter((ip) => !known.has(ip) && !pods.some((cidr) => cidrContains(cidr, parseAddress(ip))));
  return outside.map((ip) => [ip, { identity: OUTSIDE[ip.includes(":") ? "ipv6" : "ipv4"], node: undefined, flags: 0 }]);
}

function runsApiServer(ips: readonly string[], apiServers: readonly string[]): boolean {
  return ips.some((ip) => isAddress(ip) && apiServers.includes(formatAddress(parseAddress(ip))));
}
