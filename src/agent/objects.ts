/** The Kubernetes objects that the agent follows, cut down to what it uses. */
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import type { CiliumIdentity } from "../api/gen/ciliumidentities.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import { KEYS_NOT_BEFORE } from "../compile/index.ts";
import type { NodeLabels } from "../compile/index.ts";
import { isFinished } from "../api/core.ts";
import type { EndpointSlice, Node, Pod } from "../api/core.ts";
import { PORT_PROTOCOLS, identityNumber, labelsOf, portNames } from "../model/index.ts";
import type { Labels, PortName } from "../model/index.ts";
import type { NamedPorts } from "../targets/index.ts";
import { formatAddress, isAddress, parseAddress } from "../lib/ip.ts";

/** A pod of this node. */
export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** What the runtime calls its UID: of a static pod the kubelet's own, as its object is only a mirror. */
  readonly sandboxUid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  /** Succeeded or Failed: it has no network any more. */
  readonly finished: boolean;
  readonly ips: readonly string[];
  /** Absent when it names none. */
  readonly namedPorts?: NamedPorts;
}

export function decodePod(pod: Pod): PodRow {
  const { name, namespace = "", uid = "", labels = {}, annotations = {} } = pod.metadata;
  return {
    namespace, name, uid, labels,
    sandboxUid: annotations["kubernetes.io/config.mirror"] ?? uid,
    serviceAccount: pod.spec?.serviceAccountName ?? "default",
    hostNetwork: pod.spec?.hostNetwork === true,
    finished: isFinished(pod),
    ips: (pod.status?.podIPs ?? []).map((item) => item.ip ?? "").filter((ip) => ip !== ""),
    ...namesOf(portNumbers(portNames(pod))),
  };
}

/** The field, absent when there is none. */
export function namesOf(namedPorts: NamedPorts | undefined): { readonly namedPorts?: NamedPorts } {
  return namedPorts === undefined ? {} : { namedPorts };
}

/** undefined: there is none. */
export function portNumbers(names: readonly PortName[]): NamedPorts | undefined {
  return names.length === 0 ? undefined : names.map(({ name, port, protocol }) => ({ name, port, protocol: PORT_PROTOCOLS[protocol] }));
}

/** As CiliumEndpoint has them. */
export function formatPorts(ports: NamedPorts): PortName[] {
  const text = (number: number): PortName["protocol"] => (Object.keys(PORT_PROTOCOLS) as PortName["protocol"][]).find((name) => PORT_PROTOCOLS[name] === number) ?? "TCP";
  return ports.map(({ name, port, protocol }) => ({ name, port, protocol: text(protocol) }));
}

/** Address → UID of the pod that has it, whichever network gave it. */
export function podAddresses(pods: Iterable<PodRow>): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const { hostNetwork, finished, ips, uid } of pods) {
    if (hostNetwork || finished) continue;
    for (const ip of ips) if (isAddress(ip)) owners.set(formatAddress(parseAddress(ip)), uid);
  }
  return owners;
}

/** Addresses of one slice, in canonical text. */
export function decodeAddresses({ endpoints }: EndpointSlice): readonly string[] {
  const texts = (endpoints ?? []).flatMap(({ addresses = [] }) => addresses);
  return texts.filter(isAddress).map((text) => formatAddress(parseAddress(text)));
}

export interface IdentityRow {
  readonly id: number;
  readonly labels: Labels;
}

export function decodeIdentity(object: CiliumIdentity): IdentityRow {
  const id = identityNumber(object.metadata.name);
  if (id === undefined) throw new Error(`${object.metadata.name} is no number of an identity`);
  return { id, labels: labelsOf(object["security-labels"]) };
}

/** What other nodes must know of a node. */
export interface CiliumNodeRow {
  readonly name: string;
  readonly internalIps: readonly string[];
  readonly routerIps: readonly string[];
  readonly podCidrs: readonly string[];
  /** Absent while it does not encrypt. */
  readonly keys?: PublishedKeys;
  readonly encryption?: EncryptionStatus;
  readonly routing?: RoutingStatus;
}

export type RoutingStatus = NonNullable<NonNullable<CiliumNode["status"]>["routing"]>;

/** The node's key, and the one that replaces it while both are in use. */
export type PublishedKeys = NonNullable<CiliumNode["spec"]["encryption"]>;

/** What users say of encryption beside the settings. */
export interface EncryptionRow {
  readonly metadata: Pick<CiliumEncryption["metadata"], "name" | "creationTimestamp" | "generation">;
  readonly spec: CiliumEncryption["spec"];
  /** RFC 3339, unless it is wrong. */
  readonly keysNotBefore?: string;
}

export function decodeEncryption({ metadata, spec }: CiliumEncryption): EncryptionRow {
  const { name, creationTimestamp, generation } = metadata;
  const keysNotBefore = metadata.annotations?.[KEYS_NOT_BEFORE];
  return { metadata: { name, ...withoutAbsent({ creationTimestamp, generation }) }, spec, ...withoutAbsent({ keysNotBefore }) };
}

export type EncryptionStatus = NonNullable<NonNullable<CiliumNode["status"]>["encryption"]>;

export function decodeCiliumNode({ metadata, spec, status }: CiliumNode): CiliumNodeRow {
  const of = (type: string): string[] => spec.addresses.filter((address) => address.type === type).map((address) => address.ip);
  return {
    name: metadata.name, internalIps: of("InternalIP"), routerIps: of("CiliumInternalIP"), podCidrs: spec.ipam.podCIDRs,
    ...(spec.encryption === undefined ? {} : { keys: publishedKeys(spec.encryption) }),
    ...(status?.encryption === undefined ? {} : { encryption: encryptionStatus(status.encryption) }),
    ...(status?.routing === undefined ? {} : { routing: routingStatus(status.routing) }),
  };
}

/** Both, or neither, are there, with the same addresses and pod CIDRs, and route by one mode. */
export function isPlacedAlike(a: CiliumNodeRow | undefined, b: CiliumNodeRow | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const place = ({ internalIps, routerIps, podCidrs, routing }: CiliumNodeRow): string => JSON.stringify([internalIps, routerIps, podCidrs, routing?.mode]);
  return place(a) === place(b);
}

/** One order of the fields, so that equal ones are equal as text. */
function encryptionStatus({ phase, device, peers, object, objectGeneration, sends, rotation, message }: EncryptionStatus): EncryptionStatus {
  return { phase, device, peers, ...withoutAbsent({ object, objectGeneration, sends, rotation, message }) };
}

function publishedKeys({ publicKey, port, epoch, created, next }: PublishedKeys): PublishedKeys {
  const after = next === undefined ? undefined : { publicKey: next.publicKey, port: next.port, epoch: next.epoch, created: next.created };
  return { publicKey, ...withoutAbsent({ port, epoch, created, next: after }) };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutAbsent<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}

function routingStatus({ settings, mode, message }: RoutingStatus): RoutingStatus {
  return { settings, mode, ...(message === undefined ? {} : { message }) };
}

export interface NodeRow {
  readonly name: string;
  readonly uid: string;
  readonly podCidrs: readonly string[];
  readonly internalIps: readonly string[];
  /** Absent in what an earlier version kept on disk. */
  readonly labels?: NodeLabels;
}

export function decodeNode(object: Node): NodeRow {
  const single = object.spec?.podCIDR === undefined ? [] : [object.spec.podCIDR];
  return {
    name: object.metadata.name,
    uid: object.metadata.uid ?? "",
    podCidrs: object.spec?.podCIDRs ?? single,
    internalIps: (object.status?.addresses ?? []).filter((address) => address.type === "InternalIP").map((address) => address.address),
    labels: object.metadata.labels ?? {},
  };
}
