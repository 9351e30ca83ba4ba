/** Maps `ipcache` (exact address), `cidrs` (longest prefix) and `nodes`: rows ↔ structs. */
import { nodeCodec, peerCodec } from "../kernel/gen/types.ts";
import type { BatchMap, Codec } from "../kernel/port.ts";
import { formatAddress, parseAddress } from "../lib/ip.ts";
import { MapTarget, addressKey, addressText, cidrKey, optionalAddress, optionalPorts } from "./map-target.ts";
import type { NodeRow, PeerRow } from "./desired.ts";
import type { Numbered } from "./ports.ts";

const peerRow: Codec<Numbered<PeerRow>> = {
  size: peerCodec.size,
  encode: ({ identity, flags, node, ports = 0 }, into, at) => peerCodec.encode({ identity, flags, ports, node: optionalAddress(node) }, into, at),
  decode: (from, at) => {
    const { identity, flags, ports, node } = peerCodec.decode(from, at);
    return { identity, node: addressText(node), flags, ...optionalPorts(ports) };
  },
};

const nodeRow: Codec<NodeRow> = {
  size: nodeCodec.size,
  encode: (row, into, at) =>
    nodeCodec.encode({ address: parseAddress(row.address), routerIpv4: optionalAddress(row.routerIpv4), routerIpv6: optionalAddress(row.routerIpv6) }, into, at),
  decode: (from, at) => {
    const { routerIpv4, routerIpv6, address } = nodeCodec.decode(from, at);
    return { address: formatAddress(address), routerIpv4: addressText(routerIpv4), routerIpv6: addressText(routerIpv6) };
  },
};

export const ipcacheTarget = (map: BatchMap): MapTarget<string, Numbered<PeerRow>> => new MapTarget(map, addressKey, peerRow);
export const cidrsTarget = (map: BatchMap): MapTarget<string, Numbered<PeerRow>> => new MapTarget(map, cidrKey, peerRow);
export const nodesTarget = (map: BatchMap): MapTarget<string, NodeRow> => new MapTarget(map, addressKey, nodeRow);
