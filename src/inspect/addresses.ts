/** `ipcache`, `cidr`, `node`, `endpoint`, `interface`, `underlay`: who has an address, and where. */
import { ENCRYPTION_RECEIPT, ENCRYPTION_SENDING, ENDPOINT_READY, HOST_TRACKED, PEER_BARE, PEER_DIRECT, PEER_OWN, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL, addressCodec, cidrKeyCodec, endpointCodec, hostCodec, nodeCodec, peerCodec } from "../kernel/gen/types.ts";
import type { Peer } from "../kernel/gen/types.ts";
import { formatAddress, formatCidr } from "../lib/ip.ts";
import type { IdentityWords, Names } from "./names.ts";
import { mapTable, viewOf } from "./table.ts";
import type { Column } from "./table.ts";
import { NONE, flagWords, labelsText, listText, macText } from "./text.ts";

const FLAGS = [[PEER_TUNNEL, "tunnel"], [PEER_POD_CIDR, "pod-cidr"], [PEER_ROUTER, "router"], [PEER_DIRECT, "direct"], [PEER_BARE, "bare"], [PEER_OWN, "own"]] as const;

const addressOrNone = (bytes: Uint8Array): string | undefined => (bytes.every((byte) => byte === 0) ? undefined : formatAddress(bytes));

interface PeerRow extends IdentityWords {
  /** Underlay address of the node that has it; absent: it is not reached through the tunnel. */
  readonly tunnelTo: string | undefined;
  readonly flags: readonly string[];
  readonly namedPorts: readonly string[];
}

interface AddressRow extends PeerRow {
  readonly address: string;
  /** Pod or node. */
  readonly name: string | undefined;
}

interface CidrRow extends PeerRow {
  readonly cidr: string;
}

function peerRow(names: Names, { identity, flags, ports, node }: Peer): PeerRow {
  return { ...names.identity(identity), tunnelTo: (flags & PEER_TUNNEL) === 0 ? undefined : addressOrNone(node), flags: flagWords(flags, FLAGS), namedPorts: ports === 0 ? [] : names.ports(ports) };
}

const PEER_COLUMNS: readonly Column<PeerRow>[] = [
  { head: "IDENTITY", cell: ({ identity }) => String(identity) },
  { head: "TUNNEL TO", cell: ({ tunnelTo }) => tunnelTo ?? NONE },
  { head: "FLAGS", cell: ({ flags }) => listText(flags, ",") },
  { head: "NAMED PORTS", cell: ({ namedPorts }) => listText(namedPorts, ",") },
  { head: "LABELS", cell: ({ labels }) => labelsText(labels) },
];

export const ipcache = mapTable<AddressRow>({
  name: "ipcache",
  map: "ipcache",
  about: "addresses of pods and nodes of the whole cluster, and their identities",
  columns: [{ head: "ADDRESS", cell: ({ address }) => address }, { head: "NAME", cell: ({ name }) => name ?? NONE }, ...PEER_COLUMNS],
  row: (names) => (key, value) => {
    const address = formatAddress(addressCodec.decode(key).bytes);
    return { address, name: names.holder(address), ...peerRow(names, peerCodec.decode(viewOf(value))) };
  },
});

export const cidr = mapTable<CidrRow>({
  name: "cidr",
  map: "cidrs",
  about: "pod CIDRs of all nodes: an address in one without an entry of ipcache is nobody, never the world",
  columns: [{ head: "CIDR", cell: ({ cidr: text }) => text }, ...PEER_COLUMNS],
  row: (names) => (key, value) => ({ cidr: formatCidr(cidrKeyCodec.decode(key)), ...peerRow(names, peerCodec.decode(viewOf(value))) }),
});

interface NodeRow {
  readonly address: string;
  readonly name: string | undefined;
  /** The one of its addresses that entries of ipcache name. */
  readonly knownAs: string | undefined;
  readonly routers: readonly string[];
}

export const node = mapTable<NodeRow>({
  name: "node",
  map: "nodes",
  about: "underlay addresses of other nodes: what the tunnel accepts packets from",
  columns: [
    { head: "ADDRESS", cell: ({ address }) => address },
    { head: "NAME", cell: ({ name }) => name ?? NONE },
    { head: "KNOWN AS", cell: ({ knownAs }) => knownAs ?? NONE },
    { head: "ROUTERS", cell: ({ routers }) => listText(routers, ",") },
  ],
  row: (names) => (key, value) => {
    const address = formatAddress(addressCodec.decode(key).bytes);
    const { routerIpv4, routerIpv6, address: known } = nodeCodec.decode(viewOf(value));
    return { address, name: names.holder(address), knownAs: addressOrNone(known), routers: [routerIpv4, routerIpv6].map(addressOrNone).filter((each) => each !== undefined) };
  },
});

interface EndpointRow extends IdentityWords {
  readonly endpoint: number;
  readonly pod: string | undefined;
  readonly ready: boolean;
  /** Slot of the map subjects; 0: closed. */
  readonly subject: number;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly ifindex: number;
  readonly device: string | undefined;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
  readonly namedPorts: readonly string[];
}

function endpointRow(names: Names, value: Uint8Array): EndpointRow {
  const { id, identity, flags, ports, subject, ifindex, mtu, mac, hostMac, ipv4, ipv6 } = endpointCodec.decode(viewOf(value));
  return {
    endpoint: id, pod: names.pod(id), ready: (flags & ENDPOINT_READY) !== 0, ...names.identity(identity), subject,
    ipv4: addressOrNone(ipv4), ipv6: addressOrNone(ipv6), ifindex, device: names.facts.device(ifindex),
    mac: macText(mac), hostMac: macText(hostMac), mtu, namedPorts: ports === 0 ? [] : names.ports(ports),
  };
}

const ENDPOINT_COLUMNS: readonly Column<EndpointRow>[] = [
  { head: "ENDPOINT", cell: ({ endpoint }) => String(endpoint) },
  { head: "POD", cell: ({ pod }) => pod ?? NONE },
  { head: "STATE", cell: ({ ready }) => (ready ? "ready" : "closed") },
  { head: "IDENTITY", cell: ({ identity }) => String(identity) },
  { head: "SUBJECT", cell: ({ subject }) => String(subject) },
  { head: "DEVICE", cell: ({ device, ifindex }) => (device === undefined ? String(ifindex) : `${device} (${ifindex})`) },
  { head: "MAC", cell: ({ mac }) => mac },
  { head: "MTU", cell: ({ mtu }) => String(mtu) },
  { head: "NAMED PORTS", cell: ({ namedPorts }) => listText(namedPorts, ",") },
];

interface EndpointAddressRow extends EndpointRow {
  readonly address: string;
}

export const endpoint = mapTable<EndpointAddressRow>({
  name: "endpoint",
  map: "endpoints",
  about: "pods of the node by address: how packets are delivered to them",
  columns: [{ head: "ADDRESS", cell: ({ address }) => address }, ...ENDPOINT_COLUMNS],
  row: (names) => (key, value) => ({ address: formatAddress(addressCodec.decode(key).bytes), ...endpointRow(names, value) }),
});

export const iface = mapTable<EndpointRow>({
  name: "interface",
  map: "interfaces",
  about: "pods of the node by device: who a packet is from",
  columns: [...ENDPOINT_COLUMNS, { head: "IPV4", cell: ({ ipv4 }) => ipv4 ?? NONE }, { head: "IPV6", cell: ({ ipv6 }) => ipv6 ?? NONE }],
  row: (names) => (_, value) => endpointRow(names, value),
});

interface UnderlayRow {
  readonly ifindex: number;
  readonly device: string | undefined;
}

export const underlay = mapTable<UnderlayRow>({
  name: "underlay",
  map: "underlays",
  about: "devices of the node on which other nodes are believed",
  columns: [{ head: "IFINDEX", cell: ({ ifindex }) => String(ifindex) }, { head: "DEVICE", cell: ({ device }) => device ?? NONE }],
  row: (names) => (key) => {
    const ifindex = key.getUint32(0, true);
    return { ifindex, device: names.facts.device(ifindex) };
  },
});

interface HostRow {
  /** Flows of the node itself are remembered. */
  readonly tracked: boolean;
  /** By which it is judged; 0: by none. */
  readonly slot: number;
}

export const host = mapTable<HostRow>({
  name: "host",
  map: "host",
  about: "whether and by which slot of rules the node itself is judged (policies with a nodeSelector)",
  columns: [
    { head: "TRACKED", cell: ({ tracked }) => (tracked ? "yes" : "no") },
    { head: "SLOT", cell: ({ slot }) => (slot === 0 ? NONE : String(slot)) },
  ],
  row: () => (_, value) => {
    const { flags, subject } = hostCodec.decode(viewOf(value));
    return { tracked: (flags & HOST_TRACKED) !== 0, slot: subject };
  },
});

interface EncryptionRow {
  /** What would leave for another node's pods without it is dropped. */
  readonly inForce: boolean;
  /** What comes from them without it is dropped. */
  readonly inForceOnReceipt: boolean;
}

export const encryption = mapTable<EncryptionRow>({
  name: "encryption",
  map: "encryption",
  about: "whether what leaves for another node's pods, and what comes from them, must be encrypted",
  columns: [{ head: "WHEN SENT", cell: ({ inForce }) => (inForce ? "yes" : "no") }, { head: "WHEN RECEIVED", cell: ({ inForceOnReceipt }) => (inForceOnReceipt ? "yes" : "no") }],
  row: () => (_, value) => {
    const flags = viewOf(value).getUint32(0, true);
    return { inForce: (flags & ENCRYPTION_SENDING) !== 0, inForceOnReceipt: (flags & ENCRYPTION_RECEIPT) !== 0 };
  },
});
