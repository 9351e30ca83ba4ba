/**
 * The policy languages read naively, from the words of their specifications alone: this shares no code with the
 * compiler. What a policy says is looked up in the object as the user wrote it.
 */
import { BlockList, isIPv6 } from "node:net";

export interface Workload {
  readonly kind: "pod";
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The names that the pod gives its ports. */
  readonly named: readonly NamedPort[];
}
export interface NamedPort {
  readonly name: string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
}
export type Peer = Workload | { readonly kind: "world" | "host" | "remote-node" };
export interface Packet {
  readonly direction: "ingress" | "egress";
  readonly peer: Peer;
  /** The peer's. */
  readonly address: string;
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP" | "ICMPv6" | "GRE";
  /** Of ICMP the message's type; of GRE 0. */
  readonly port: number;
}
export interface Expression {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values?: string[];
}
export interface Selector {
  readonly matchLabels?: Record<string, string>;
  readonly matchExpressions?: Expression[];
}
type Dictionary = Readonly<Record<string, unknown>>;
export interface Policy {
  readonly kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" | "NetworkPolicy" | "ClusterNetworkPolicy";
  readonly namespace: string;
  readonly spec?: Dictionary;
  readonly specs?: readonly Dictionary[];
  /** Annotation of a NetworkPolicy. */
  readonly enforcement?: "Enforce" | "Audit";
}
type Direction = Packet["direction"];
type PodLabels = Readonly<Record<string, string>>;

/** Groups of blocks, by name. */
export const GROUPS: Readonly<Record<string, { readonly labels: Readonly<Record<string, string>>; readonly cidrs: readonly string[] }>> = {
  offices: { labels: { site: "a" }, cidrs: ["10.1.0.0/16", "2001:db8::/32"] },
  partners: { labels: { site: "b", kind: "vpn" }, cidrs: ["192.0.2.1"] },
  nobody: { labels: { kind: "vpn" }, cidrs: [] },
};

export const NAMESPACES: Readonly<Record<string, Readonly<Record<string, string>>>> = { red: { team: "a" }, blue: { team: "b" }, green: { team: "b", "cilium.io/enforcement": "Audit" } };

/** Nodes and their addresses. */
export const NODES: Readonly<Record<string, { readonly labels: Readonly<Record<string, string>>; readonly addresses: readonly string[] }>> = {
  one: { labels: { "kubernetes.io/hostname": "one", zone: "a" }, addresses: ["192.0.2.1", "10.1.2.3"] },
  two: { labels: { zone: "b" }, addresses: ["10.2.0.1", "2001:db8:1::2"] },
};

interface Service {
  readonly labels: Readonly<Record<string, string>>;
  readonly selector?: Readonly<Record<string, string>>;
  /** Of its endpoints, where it selects no pods. */
  readonly addresses?: readonly string[];
}

/** Namespace -> name -> service. */
export const SERVICES: Readonly<Record<string, Readonly<Record<string, Service>>>> = {
  red: { web: { labels: { tier: "x" }, selector: { app: "a" } }, legacy: { labels: {}, addresses: ["10.1.2.3", "2001:db8::1"] }, jobs: { labels: {}, selector: { "job-name": "a", app: "b" } } },
  blue: { web: { labels: { tier: "y" }, selector: { app: "b" } }, db: { labels: { tier: "x" }, addresses: ["10.2.0.1"] }, empty: { labels: { tier: "z" } } },
};

// ------------------------------------------------------------------ labels

const NAMESPACE = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels.";

function namespaceLabel(namespace: string, key: string): string | undefined {
  const labels = NAMESPACES[namespace] ?? {};
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function labelOf(peer: Peer, key: string): string | undefined {
  if (key.startsWith("reserved:")) return peer.kind !== "pod" && key === `reserved:${peer.kind}` ? "" : undefined;
  if (peer.kind !== "pod") return undefined;
  const name = key.replace(/^(k8s|any):/, "");
  if (name === NAMESPACE) return peer.namespace;
  if (name.startsWith(NAMESPACE_LABELS)) return namespaceLabel(peer.namespace, name.slice(NAMESPACE_LABELS.length));
  return Object.hasOwn(peer.labels, name) ? peer.labels[name] : undefined;
}

function holds({ key, operator, values = [] }: Expression, value: (key: string) => string | undefined): boolean {
  const found = value(key);
  if (operator === "Exists") return found !== undefined;
  if (operator === "DoesNotExist") return found === undefined;
  const listed = found !== undefined && values.includes(found);
  return operator === "In" ? listed : !listed;
}

function meets(selector: Selector, value: (key: string) => string | undefined): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([key, wanted]) => value(key) === wanted) && (selector.matchExpressions ?? []).every((expression) => holds(expression, value));
}

/** Cilium's selectors: of the policy's namespace, unless it has none, or the selector names namespaces or no pod. */
function selectsPeer(selector: Selector, peer: Peer, namespace: string): boolean {
  const keys = [...Object.keys(selector.matchLabels ?? {}), ...(selector.matchExpressions ?? []).map(({ key }) => key)];
  const namesReserved = keys.some((key) => key.startsWith("reserved:"));
  if (peer.kind !== "pod") return namesReserved && meets(selector, (key) => labelOf(peer, key));
  const names = keys.map((key) => key.replace(/^(k8s|any):/, ""));
  const isLocal = namespace !== "" && !namesReserved && !names.some((key) => key === NAMESPACE || key.startsWith(NAMESPACE_LABELS));
  return (!isLocal || peer.namespace === namespace) && meets(selector, (key) => labelOf(peer, key));
}

// ------------------------------------------------------------------ addresses and ports

function inBlock(address: string, cidr: string): boolean {
  const [network = "", length] = cidr.split("/");
  const family = isIPv6(network) ? "ipv6" : "ipv4";
  if (family !== (isIPv6(address) ? "ipv6" : "ipv4")) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(length ?? (family === "ipv6" ? 128 : 32)), family);
  return list.check(address, family);
}

export interface CidrSet {
  readonly cidr?: string;
  readonly cidrGroupRef?: string;
  readonly cidrGroupSelector?: Selector;
  readonly except?: readonly string[];
}

function inSet(address: string, { cidr, cidrGroupRef, cidrGroupSelector, except }: CidrSet): boolean {
  const isMeant = (name: string, labels: Readonly<Record<string, string>>): boolean => name === cidrGroupRef || (cidrGroupSelector !== undefined && meets(cidrGroupSelector, (key) => (Object.hasOwn(labels, key) ? labels[key] : undefined)));
  const cidrs = cidr === undefined ? Object.entries(GROUPS).flatMap(([name, group]) => (isMeant(name, group.labels) ? group.cidrs : [])) : [cidr];
  return inBlocks(address, cidrs.map((each) => ({ cidr: each, ...(except === undefined ? {} : { except }) })));
}

export function inBlocks(address: string, blocks: readonly { readonly cidr: string; readonly except?: readonly string[] }[]): boolean {
  return blocks.some(({ cidr, except = [] }) => inBlock(address, cidr) && !except.some((inner) => inBlock(address, inner)));
}

interface Port {
  readonly port?: string | number;
  readonly endPort?: number;
  readonly protocol?: string;
}

/** `named` is the receiving pod's. */
function isPort({ port, endPort = 0, protocol = "ANY" }: Port, packet: Packet, named: readonly NamedPort[]): boolean {
  if (!["TCP", "UDP", "SCTP"].includes(packet.protocol) || (protocol !== "ANY" && protocol !== packet.protocol)) return false;
  if (port === undefined || port === "0") return true;
  if (/^[0-9]+$/.test(String(port))) return packet.port >= Number(port) && packet.port <= Math.max(endPort, Number(port));
  return named.some((one) => one.name === port && one.protocol === packet.protocol && one.port === packet.port);
}

const TYPES: Readonly<Record<string, Readonly<Record<string, number>>>> = { IPv4: { EchoRequest: 8, EchoReply: 0 }, IPv6: { EchoRequest: 128, EchoReply: 129 } };

function isMessage({ family = "IPv4", type }: { readonly family?: string; readonly type: number | string }, packet: Packet): boolean {
  if (packet.protocol !== (family === "IPv4" ? "ICMP" : "ICMPv6")) return false;
  return packet.port === (typeof type === "number" ? type : /^[0-9]+$/.test(type) ? Number(type) : TYPES[family]?.[type]);
}

export function receiverPorts(packet: Packet, subject: Workload): readonly NamedPort[] {
  const receiver = packet.direction === "ingress" ? subject : packet.peer;
  return receiver.kind === "pod" ? receiver.named : [];
}

// ------------------------------------------------------------------ CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy

function isEntity(entity: string, { peer, address }: Packet): boolean {
  if (entity === "all") return true;
  if (entity === "cluster") return peer.kind !== "world";
  if (entity === "world-ipv4") return peer.kind === "world" && !isIPv6(address);
  if (entity === "world-ipv6") return peer.kind === "world" && isIPv6(address);
  return entity === peer.kind && entity !== "pod";
}

/** The parts of the item that mean the packet, by their paths in it: `.toPorts[1]`, or empty for the item as a whole. */
function ciliumItem(item: Dictionary, packet: Packet, subject: Workload, namespace: string): readonly string[] {
  const side = packet.direction === "ingress" ? "from" : "to";
  const endpoints = item[`${side}Endpoints`] as readonly Selector[] | undefined;
  const cidrs = item[`${side}CIDR`] as readonly string[] | undefined;
  const sets = item[`${side}CIDRSet`] as readonly CidrSet[] | undefined;
  const nodes = item[`${side}Nodes`] as readonly Selector[] | undefined;
  const services = item["toServices"] as readonly ServiceReference[] | undefined;
  const entities = item[`${side}Entities`] as readonly string[] | undefined;
  const toPorts = item["toPorts"] as readonly { ports: readonly Port[] }[] | undefined;
  const icmps = item["icmps"] as readonly { fields: readonly { family?: string; type: number | string }[] }[] | undefined;
  if ([endpoints, cidrs, sets, entities, nodes, services, toPorts, icmps].every((part) => part === undefined)) return [];
  if (endpoints !== undefined && !endpoints.some((selector) => selectsPeer(selector, packet.peer, namespace))) return [];
  if (nodes !== undefined && !nodes.some((selector) => isNode(selector, packet))) return [];
  if (services !== undefined && !services.some((reference) => isService(reference, packet, namespace))) return [];
  if (entities !== undefined && !entities.some((entity) => isEntity(entity, packet))) return [];
  // Blocks of these kinds mean what is outside of the cluster.
  if (cidrs !== undefined && !(packet.peer.kind === "world" && inBlocks(packet.address, cidrs.map((cidr) => ({ cidr }))))) return [];
  if (sets !== undefined && !(packet.peer.kind === "world" && sets.some((set) => inSet(packet.address, set)))) return [];
  if (toPorts !== undefined) return placesOf("toPorts", toPorts, ({ ports }) => ports.some((port) => isPort(port, packet, receiverPorts(packet, subject))));
  if (icmps !== undefined) return placesOf("icmps", icmps, ({ fields }) => fields.some((field) => isMessage(field, packet)));
  return [""];
}

function placesOf<T>(name: string, list: readonly T[], isMeant: (one: T) => boolean): readonly string[] {
  return list.flatMap((one, at) => (isMeant(one) ? [`.${name}[${at}]`] : []));
}

export function isNode(selector: Selector, { peer, address }: Packet): boolean {
  if (peer.kind !== "host" && peer.kind !== "remote-node") return false;
  const bare = (labels: Readonly<Record<string, string>>) => (key: string) => labels[key.replace(/^(k8s|any):/, "")];
  return Object.values(NODES).some(({ labels, addresses }) => addresses.includes(address) && meets(selector, bare(labels)));
}

interface ServiceReference {
  readonly k8sService?: { readonly serviceName: string; readonly namespace?: string };
  readonly k8sServiceSelector?: { readonly selector: Selector; readonly namespace?: string };
}

/** The pods that it selects, or who has the addresses of its endpoints and is no pod. Of no namespace: the policy's own, if it has one. */
function isService({ k8sService, k8sServiceSelector }: ServiceReference, { peer, address }: Packet, own: string): boolean {
  const said = k8sService?.namespace ?? k8sServiceSelector?.namespace;
  return Object.entries(SERVICES).some(([namespace, services]) => {
    if (namespace !== (said ?? (own === "" ? namespace : own))) return false;
    return Object.entries(services).some(([name, { labels, selector, addresses = [] }]) => {
      const isMeant = k8sService === undefined ? meets(k8sServiceSelector?.selector ?? {}, (key) => (Object.hasOwn(labels, key) ? labels[key] : undefined)) : name === k8sService.serviceName;
      if (!isMeant) return false;
      if (selector === undefined) return peer.kind !== "pod" && addresses.includes(address);
      return peer.kind === "pod" && peer.namespace === namespace && Object.entries(selector).every(([key, value]) => Object.hasOwn(peer.labels, key) && peer.labels[key] === value);
    });
  });
}

/** What one policy says of a packet. Of what denies and allows it, the paths in the policy. */
export interface Opinion {
  readonly closes: boolean;
  readonly denies: readonly string[];
  readonly allows: readonly string[];
}

function ciliumOpinion(spec: Dictionary, path: string, packet: Packet, subject: Workload, namespace: string): Opinion {
  const { direction } = packet;
  const itemsOf = (section: string): readonly Dictionary[] | undefined => spec[section] as readonly Dictionary[] | undefined;
  const wish = (spec["enableDefaultDeny"] as Partial<Record<Direction, boolean>> | undefined)?.[direction];
  const says = (section: string): readonly string[] =>
    (itemsOf(section) ?? []).flatMap((item, index) => ciliumItem(item, packet, subject, namespace).map((part) => `${path}.${section}[${index}]${part}`));
  const closes = wish ?? (itemsOf(direction) !== undefined || itemsOf(`${direction}Deny`) !== undefined);
  return { closes, denies: says(`${direction}Deny`), allows: says(direction) };
}

// ------------------------------------------------------------------ NetworkPolicy

interface NativePeer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

function nativePeer({ podSelector, namespaceSelector, ipBlock }: NativePeer, packet: Packet, namespace: string): boolean {
  if (ipBlock !== undefined) return inBlocks(packet.address, [ipBlock]);
  const { peer } = packet;
  // A peer without any of the three is one of a later version of the API: to be taken as nobody.
  if (peer.kind !== "pod" || (podSelector === undefined && namespaceSelector === undefined)) return false;
  const isThere = namespaceSelector === undefined ? peer.namespace === namespace : meets(namespaceSelector, (key) => namespaceLabel(peer.namespace, key));
  return isThere && meets(podSelector ?? {}, (key) => (Object.hasOwn(peer.labels, key) ? peer.labels[key] : undefined));
}

function nativeOpinion(spec: Dictionary, packet: Packet, subject: Workload, namespace: string): Opinion {
  const types = (spec["policyTypes"] as readonly string[] | undefined) ?? ["Ingress", ...(spec["egress"] === undefined || (spec["egress"] as unknown[]).length === 0 ? [] : ["Egress"])];
  const closes = types.some((type) => type.toLowerCase() === packet.direction);
  const items = (spec[packet.direction] as readonly Dictionary[] | undefined) ?? [];
  const isMeantBy = (item: Dictionary): boolean => {
    const peers = (item[packet.direction === "ingress" ? "from" : "to"] as readonly NativePeer[] | undefined) ?? [];
    const ports = (item["ports"] as readonly Port[] | undefined) ?? [];
    const isMeant = ({ protocol = "TCP", ...rest }: Port): boolean => isPort({ protocol, ...rest }, packet, receiverPorts(packet, subject));
    return (peers.length === 0 || peers.some((peer) => nativePeer(peer, packet, namespace))) && (ports.length === 0 || ports.some(isMeant));
  };
  return { closes, denies: [], allows: closes ? items.flatMap((item, index) => (isMeantBy(item) ? [`spec.${packet.direction}[${index}]`] : [])) : [] };
}

// ------------------------------------------------------------------ together

export const NAMESPACE_AUDIT = "cilium.io/enforcement";

/** The policy, then its namespace, then the cluster: who speaks first. The namespace speaks for its own policies alone. */
export function watches(policy: Policy, spec: Dictionary, cluster: boolean): boolean {
  const own = policy.kind === "NetworkPolicy" || policy.kind === "ClusterNetworkPolicy" ? policy.enforcement : spec["enforcement"];
  const word = own ?? (policy.namespace === "" ? undefined : namespaceLabel(policy.namespace, NAMESPACE_AUDIT)) ?? (cluster ? "Audit" : "Enforce");
  return word === "Audit";
}

/** Of the policies that are in no tier. `enforced`: without what only watches. */
export function opinions(policy: Policy, subject: Workload, packet: Packet, enforced: boolean, cluster: boolean): readonly Opinion[] {
  if (policy.namespace !== "" && policy.namespace !== subject.namespace) return [];
  const counts = (spec: Dictionary): boolean => !enforced || !watches(policy, spec, cluster);
  if (policy.kind === "NetworkPolicy") {
    const spec = policy.spec ?? {};
    const isSelected = meets((spec["podSelector"] as Selector | undefined) ?? {}, (key) => (Object.hasOwn(subject.labels, key) ? subject.labels[key] : undefined));
    return isSelected && counts(spec) ? [nativeOpinion(spec, packet, subject, policy.namespace)] : [];
  }
  const specs = [...(policy.spec === undefined ? [] : [["spec", policy.spec] as const]), ...(policy.specs ?? []).map((spec, index) => [`specs[${index}]`, spec] as const)];
  const selecting = specs.filter(([, spec]) => counts(spec) && meets(spec["endpointSelector"] as Selector, (key) => labelOf(subject, key)));
  return selecting.map(([path, spec]) => ciliumOpinion(spec, path, packet, subject, policy.namespace));
}

/** Kubernetes' selector by the labels that a pod has itself, and by those of its namespace. */
export function selectsPod(selector: Selector, labels: PodLabels): boolean {
  return meets(selector, (key) => (Object.hasOwn(labels, key) ? labels[key] : undefined));
}
export function selectsNamespace(selector: Selector, namespace: string): boolean {
  return meets(selector, (key) => namespaceLabel(namespace, key));
}
