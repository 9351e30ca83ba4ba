/** What the operator keeps of each object that it watches. */
import { SERVICE_NAME, isFinished } from "../api/core.ts";
import type { EndpointSlice, Namespace, Node, Pod, Service } from "../api/core.ts";
import type { CiliumCIDRGroup } from "../api/gen/ciliumcidrgroups.ts";
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { CiliumIdentity } from "../api/gen/ciliumidentities.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { checkBlocks } from "../api/meaning.ts";
import type { CidrGroup, NodePeer, ServicePeer } from "../compile/index.ts";
import { isIntact } from "../feed/index.ts";
import type { ManifestHead } from "../feed/index.ts";
import { cidrContains, formatAddress, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import { churningLabels, identityLabels, identityNumber, labelsOf } from "../model/index.ts";
import type { Labels } from "../model/index.ts";

/** A pod that the agents manage: not on the host network, not finished, and scheduled. */
export interface PodRow {
  readonly namespace: string;
  readonly node: string;
  /** Security-relevant labels without those of its namespace. */
  readonly labels: Labels;
  /** Key without source -> value of those labels that count only while a policy names them. */
  readonly churning: Labels;
}

export function decodePod(pod: Pod): PodRow | undefined {
  const node = pod.spec?.nodeName;
  const namespace = pod.metadata.namespace;
  if (node === undefined || node === "" || namespace === undefined || pod.spec?.hostNetwork === true || isFinished(pod)) return undefined;
  return { namespace, node, labels: identityLabels(pod, { metadata: { name: namespace } }), churning: churningLabels(pod) };
}

export interface NamespaceRow {
  readonly labels: Readonly<Record<string, string>>;
}

export function decodeNamespace(namespace: Namespace): NamespaceRow {
  return { labels: namespace.metadata.labels ?? {} };
}

export function decodeCidrGroup({ metadata, spec }: CiliumCIDRGroup): CidrGroup {
  const { blocks, problems } = checkBlocks(spec.externalCIDRs, "spec.externalCIDRs");
  return { labels: metadata.labels ?? {}, cidrs: blocks, problems };
}

export interface NodeRow {
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Canonical text. */
  readonly addresses?: readonly string[];
  /** As the Node says them; absent when it says none. */
  readonly podCidrs?: readonly string[];
}

export function decodeNode({ metadata, spec = {}, status }: Node): NodeRow | undefined {
  const podCidrs = spec.podCIDRs ?? (spec.podCIDR === undefined ? [] : [spec.podCIDR]);
  const addresses = (status?.addresses ?? []).filter(({ type, address }) => type === "InternalIP" && isAddress(address)).map(({ address }) => formatAddress(parseAddress(address)));
  return metadata.uid === undefined ? undefined : { uid: metadata.uid, labels: metadata.labels ?? {}, addresses, ...(podCidrs.length === 0 ? {} : { podCidrs }) };
}

/** Addresses by which policies mean the node: its own, and of those that its agent names the routers', inside its pod CIDRs. */
export function nodePeer({ labels = {}, addresses = [], podCidrs = [] }: NodeRow, said: readonly string[]): NodePeer {
  const blocks = podCidrs.map((text) => parseCidr(text, { maskHostBits: true }));
  const routers = said.filter(isAddress).map((text) => formatAddress(parseAddress(text))).filter((text) => blocks.some((block) => cidrContains(block, parseAddress(text))));
  return { labels, addresses: [...new Set([...addresses, ...routers])].sort() };
}

export type ServiceRow = Pick<ServicePeer, "labels" | "selector">;

/** An empty selector is none: nobody writes endpoints for such a service but who made it. */
export function decodeService({ metadata, spec }: Service): ServiceRow {
  const { selector = {} } = spec ?? {};
  return { labels: metadata.labels ?? {}, selector: Object.keys(selector).length === 0 ? undefined : selector };
}

export interface SliceRow {
  /** `namespace/name` of the service. */
  readonly service: string;
  /** Canonical text. */
  readonly addresses: readonly string[];
}

export function decodeSlice({ metadata, endpoints }: EndpointSlice): SliceRow | undefined {
  const name = metadata.labels?.[SERVICE_NAME];
  if (name === undefined) return undefined;
  const addresses = (endpoints ?? []).flatMap((endpoint) => endpoint.addresses ?? []).filter(isAddress).map((text) => formatAddress(parseAddress(text)));
  return { service: `${metadata.namespace ?? ""}/${name}`, addresses };
}

/** What a node's agent says of its work. */
export type CiliumNodeReport = NonNullable<CiliumNode["status"]> & { readonly addresses?: readonly string[] };

export function decodeCiliumNode({ spec, status }: CiliumNode): CiliumNodeReport {
  return { ...status, addresses: spec.addresses.map(({ ip }) => ip) };
}

export interface IdentityRow {
  readonly number: number;
  readonly labels: Labels;
  readonly uid: string;
}

export function decodeIdentity(identity: CiliumIdentity): IdentityRow | undefined {
  const number = identityNumber(identity.metadata.name);
  return number === undefined ? undefined : { number, labels: labelsOf(identity["security-labels"]), uid: identity.metadata.uid ?? "" };
}

export interface EndpointRow {
  readonly namespace: string;
  readonly node: string;
  readonly identity: number;
}

export function decodeEndpoint(endpoint: CiliumEndpoint): EndpointRow | undefined {
  const { metadata, status } = endpoint;
  if (status === undefined || status.identity.id === 0) return undefined;
  return { namespace: metadata.namespace ?? "", node: status.networking.nodeName, identity: status.identity.id };
}

/** What is kept of the objects of a node's state: whose the manifest is, the acknowledgement, or that a part exists. */
export interface NodeStateRow {
  readonly node: string;
  readonly manifest: ManifestHead | undefined;
  readonly acknowledgement: CiliumNodeState["status"];
  readonly isPart: boolean;
  /** It holds what its hashes say. */
  readonly isIntact: boolean;
}

export function decodeNodeState(object: CiliumNodeState): NodeStateRow {
  const { node, manifest, status, part } = object;
  const kept = manifest && { revision: manifest.revision, hash: manifest.hash, format: manifest.format, nodeUID: manifest.nodeUID, leaseTransitions: manifest.leaseTransitions };
  return { node, manifest: kept, acknowledgement: status, isPart: part !== undefined, isIntact: isIntact(object) };
}

/** An agent's pod. */
export interface AgentRow {
  readonly node: string;
  readonly ready: boolean;
  /** When the pod became what it is now. */
  readonly since: string;
}

export function decodeAgent(pod: Pod): AgentRow | undefined {
  const node = pod.spec?.nodeName;
  if (node === undefined || node === "") return undefined;
  const condition = pod.status?.conditions?.find(({ type }) => type === "Ready");
  return { node, ready: condition?.status === "True", since: condition?.lastTransitionTime ?? "" };
}
