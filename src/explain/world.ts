/** What questions are asked of: workloads, nodes, services and policies, read from objects of the API server or of files. Pure. */
import type { EndpointSlice, Namespace, Node, Pod, Service } from "../api/core.ts";
import { SERVICE_NAME, isFinished } from "../api/core.ts";
import type { CiliumCIDRGroup } from "../api/gen/ciliumcidrgroups.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import type { KubeObject } from "../api/meta.ts";
import { checkBlocks } from "../api/meaning.ts";
import type { PolicyKind } from "../api/policy-kinds.ts";
import { formatProblems } from "../api/problem.ts";
import type { Validator } from "../api/validate.ts";
import { NamedKeys, resolveReferences, withoutRules } from "../compile/index.ts";
import type { CidrGroup, Directory, ServicePeer } from "../compile/index.ts";
import { formatAddress, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { PORT_PROTOCOLS, identityLabels, portNames, versionOf } from "../model/index.ts";
import type { Labels, PolicyObject, PolicyRow } from "../model/index.ts";
import type { NamedPorts } from "../targets/index.ts";

/** The line of a path such as `spec.ingress[0]` in the file that the object comes from. */
export type LineOf = (path: string) => number;

/** An object, and where it was written. */
export interface Sourced {
  readonly object: KubeObject;
  /** Absent: the API server's. */
  readonly file?: string;
  readonly line?: LineOf;
}

/** A pod, or what a Deployment or the like makes pods of. */
export interface Workload {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Of its identity. */
  readonly labels: Labels;
  readonly ports: NamedPorts;
  /** Canonical text; empty where none is known yet. */
  readonly addresses: readonly string[];
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
}

export interface NodeFacts {
  readonly name: string;
  /** Of its Node object; absent: of an address alone. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Canonical text, those of its router too. */
  readonly addresses: readonly string[];
  readonly internalIps: readonly string[];
  readonly podCidrs: readonly Cidr[];
}

export interface ServiceFacts {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  /** Never empty. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly ports: readonly { readonly port: number; readonly protocol: string; readonly targetPort: number | string }[];
}

export interface PolicySource extends Sourced {
  readonly kind: PolicyKind;
}

export interface World {
  readonly workloads: readonly Workload[];
  readonly nodes: ReadonlyMap<string, NodeFacts>;
  readonly services: readonly ServiceFacts[];
  /** Addresses of the API server, canonical text. */
  readonly apiServers: readonly string[];
  /** Namespace -> policies in the version that counts, "" -> those of the whole cluster. */
  readonly policies: ReadonlyMap<string, readonly PolicyRow[]>;
  /** uid of a policy -> where it was written. */
  readonly sources: ReadonlyMap<string, PolicySource>;
  /** What was left out or taken for granted, for people. */
  readonly notes: readonly string[];
  /** What it was made of. */
  readonly objects: readonly Sourced[];
  readonly live: boolean;
}

export interface WorldOptions {
  readonly validator: Validator;
  /** The objects are all that the API server has; else what some files say. */
  readonly live: boolean;
}

export const POLICY_KINDS: readonly PolicyKind[] = ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy", "ClusterNetworkPolicy"];
const TEMPLATES: readonly string[] = ["Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "ReplicationController"];
const CLUSTER_KINDS: readonly string[] = ["Namespace", "Node", "CiliumNode", "CiliumClusterwideNetworkPolicy", "ClusterNetworkPolicy", "CiliumCIDRGroup"];
/** Labels that the API server gives every namespace. */
const NAMESPACE_NAME = "kubernetes.io/metadata.name";

interface Templated extends KubeObject {
  readonly spec?: { readonly template?: { readonly metadata?: Partial<Pod["metadata"]>; readonly spec?: Pod["spec"] }; readonly jobTemplate?: Templated };
}

export function worldOf(given: readonly Sourced[], options: WorldOptions): World {
  const objects = given.map(placed);
  const of = (kind: string): readonly KubeObject[] => objects.filter(({ object }) => object.kind === kind).map(({ object }) => object);
  const notes: string[] = [];
  const slices = of("EndpointSlice") as readonly EndpointSlice[];
  const ciliumNodes = new Map((of("CiliumNode") as readonly CiliumNode[]).map((node) => [node.metadata.name, node]));
  const nodes = new Map((of("Node") as readonly Node[]).map((node) => [node.metadata.name, nodeFacts(node, ciliumNodes.get(node.metadata.name))]));
  const services = (of("Service") as readonly Service[]).map(serviceFacts);
  const directory = directoryOf(of("CiliumCIDRGroup") as readonly CiliumCIDRGroup[], nodes, services, slices);
  const { rows, sources } = readPolicies(objects, directory, options, notes);
  const policies = Map.groupBy(rows, (row) => row.namespace);
  notes.push(...objects.filter(isUnknownPolicy).map(({ object }) => `${nameOf(object)}: policies of this kind are not built yet: it counts for nothing`));
  return {
    workloads: workloadsOf(objects, of("Namespace"), policies, options.live, notes),
    nodes, services,
    apiServers: slices.filter(isOfApiServer).flatMap(addressesOf),
    policies, sources, notes, objects, live: options.live,
  };
}

/** The world with these policies and groups put in, in the place of those of the same name, and without those whose name is deleted. */
export function withPolicies(world: World, given: readonly Sourced[], deleted: (object: KubeObject) => boolean, validator: Validator): World {
  const put = given.map(placed);
  const replaced = new Set(put.map(({ object }) => nameOf(object)));
  const kept = world.objects.filter(({ object }) => !replaced.has(nameOf(object)) && !deleted(object));
  return worldOf([...kept, ...put], { validator, live: world.live });
}

/** `Kind namespace/name`. */
export function nameOf({ kind = "", metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`;
}

/** Files leave the namespace out where it is `default`. */
function placed(given: Sourced): Sourced {
  const { object } = given;
  if (object.metadata.namespace !== undefined || CLUSTER_KINDS.includes(object.kind ?? "")) return given;
  return { ...given, object: { ...object, metadata: { ...object.metadata, namespace: "default" } } };
}

function isUnknownPolicy({ object: { kind = "" } }: Sourced): boolean {
  return kind.endsWith("NetworkPolicy") && !POLICY_KINDS.some((known) => known === kind);
}

function directoryOf(groups: readonly CiliumCIDRGroup[], nodes: World["nodes"], services: World["services"], slices: readonly EndpointSlice[]): Directory {
  const endpoints = Map.groupBy(slices, ({ metadata }) => `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME]}`);
  const peer = ({ namespace, name, labels, selector }: ServiceFacts): ServicePeer => ({ labels, selector, addresses: selector === undefined ? (endpoints.get(`${namespace}/${name}`) ?? []).flatMap(addressesOf) : [] });
  return {
    groups: new Map(groups.map((group) => [group.metadata.name, cidrGroup(group)])),
    nodes: new Map([...nodes].map(([name, { labels = {}, addresses }]) => [name, { labels, addresses }])),
    services: new Map([...Map.groupBy(services, ({ namespace }) => namespace)].map(([namespace, all]) => [namespace, new Map(all.map((service) => [service.name, peer(service)]))])),
  };
}

function addressesOf({ endpoints }: EndpointSlice): readonly string[] {
  return (endpoints ?? []).flatMap(({ addresses = [] }) => addresses.filter(isAddress).map(canonical));
}

function readPolicies(objects: readonly Sourced[], directory: Directory, { validator }: WorldOptions, notes: string[]): { readonly rows: readonly PolicyRow[]; readonly sources: World["sources"] } {
  const sources = new Map<string, PolicySource>();
  const rows: PolicyRow[] = [];
  for (const source of objects) {
    const kind = POLICY_KINDS.find((each) => each === source.object.kind);
    if (kind === undefined) continue;
    const uid = source.object.metadata.uid ?? nameOf(source.object);
    const object = { ...source.object, metadata: { ...source.object.metadata, uid } };
    const { problems, effective } = versionOf(kind, object, validator);
    if (problems.length > 0) notes.push(`${nameOf(object)} is not valid (${formatProblems(problems)})${effective === undefined ? " and counts for nothing" : `; its generation ${effective.generation} counts`}`);
    if (effective === undefined) continue;
    const resolved = resolveReferences(effective, directory);
    for (const { path, message } of resolved.unresolved ?? []) notes.push(`${nameOf(object)}: ${path}: ${message}`);
    const refusal = refusalOf(object);
    if (refusal !== undefined) notes.push(`${nameOf(object)}: ${refusal}: its rules count for nothing, and it closes what it closes`);
    rows.push(refusal === undefined ? resolved.row : withoutRules(resolved.row));
    sources.set(uid, { ...source, kind });
  }
  return { rows, sources };
}

/** Why the operator leaves out the policy's rules, as it says in the status. NetworkPolicy has none to say it in. */
function refusalOf(object: PolicyObject): string | undefined {
  const conditions = "status" in object ? (object.status?.conditions ?? []) : [];
  return conditions.find(({ type, reason }) => type === "Enforced" && reason === "CapacityExceeded")?.message;
}

function cidrGroup({ metadata, spec }: CiliumCIDRGroup): CidrGroup {
  const { blocks, problems } = checkBlocks(spec.externalCIDRs, "spec.externalCIDRs");
  return { labels: metadata.labels ?? {}, cidrs: blocks, problems };
}

function workloadsOf(objects: readonly Sourced[], namespaces: readonly Namespace[], policies: World["policies"], live: boolean, notes: string[]): readonly Workload[] {
  const known = new Map(namespaces.map((namespace) => [namespace.metadata.name, namespace]));
  const named = new NamedKeys();
  const pods = objects.flatMap(({ object }) => podOf(object) ?? []);
  for (const { pod } of pods) {
    const name = pod.metadata.namespace ?? "";
    if (known.has(name)) continue;
    known.set(name, { metadata: { name } });
    notes.push(`the namespace ${name} is not ${live ? "there" : "among the files: it is taken to have no labels but its name"}`);
  }
  for (const [name, { metadata }] of known) {
    const labels = { [NAMESPACE_NAME]: name, ...metadata.labels };
    known.set(name, { metadata: { ...metadata, labels } });
    named.namespaceChanged(name, labels);
  }
  for (const row of [...policies.values()].flat()) named.policyChanged(undefined, row);
  return pods.flatMap(({ kind, pod }) => {
    const { name, namespace = "" } = pod.metadata;
    const of = known.get(namespace);
    return of === undefined ? [] : [workload(kind, pod, name, identityLabels(pod, of, named.of(namespace)))];
  });
}

/** The pod itself, or one as the template makes it. What is finished has no network any more. */
function podOf(object: KubeObject): { readonly kind: string; readonly pod: Pod } | undefined {
  const kind = object.kind ?? "";
  if (kind === "Pod") return isFinished(object) ? undefined : { kind, pod: object };
  const owner = kind === "CronJob" ? (object as Templated).spec?.jobTemplate : TEMPLATES.includes(kind) ? (object as Templated) : undefined;
  const template = owner?.spec?.template;
  if (template === undefined) return undefined;
  const { name, namespace } = object.metadata;
  const metadata = { ...template.metadata, name, ...(namespace === undefined ? {} : { namespace }) };
  return { kind, pod: { metadata, ...(template.spec === undefined ? {} : { spec: template.spec }) } };
}

function workload(kind: string, pod: Pod, name: string, labels: Labels): Workload {
  const addresses = [...(pod.status?.podIPs ?? []).map(({ ip = "" }) => ip), pod.status?.podIP ?? ""].filter(isAddress).map(canonical);
  return {
    kind, name, labels,
    namespace: pod.metadata.namespace ?? "",
    ports: portNames(pod).map(({ name: called, port, protocol }) => ({ name: called, port, protocol: PORT_PROTOCOLS[protocol] })),
    addresses: [...new Set(addresses)],
    node: pod.spec?.nodeName,
    hostNetwork: pod.spec?.hostNetwork === true,
  };
}

function nodeFacts({ metadata, spec, status }: Node, own: CiliumNode | undefined): NodeFacts {
  const internalIps = (status?.addresses ?? []).filter(({ type, address }) => type === "InternalIP" && isAddress(address)).map(({ address }) => canonical(address));
  const further = (own?.spec.addresses ?? []).map(({ ip }) => ip).filter(isAddress).map(canonical);
  const podCidrs = spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR]);
  return { name: metadata.name, labels: metadata.labels ?? {}, internalIps, addresses: [...new Set([...internalIps, ...further])], podCidrs: podCidrs.map((text) => parseCidr(text, { maskHostBits: true })) };
}

function serviceFacts({ metadata, spec = {} }: Service): ServiceFacts {
  const addresses = [...(spec.clusterIPs ?? []), spec.clusterIP ?? ""].filter(isAddress).map(canonical);
  const ports = (spec.ports ?? []).map(({ port, protocol = "TCP", targetPort = port }) => ({ port, protocol, targetPort }));
  const { selector = {} } = spec;
  return { namespace: metadata.namespace ?? "", name: metadata.name, labels: metadata.labels ?? {}, addresses: [...new Set(addresses)], selector: Object.keys(selector).length === 0 ? undefined : selector, ports };
}

function isOfApiServer({ metadata }: EndpointSlice): boolean {
  return metadata.namespace === "default" && metadata.labels?.[SERVICE_NAME] === "kubernetes";
}

function canonical(ip: string): string {
  return formatAddress(parseAddress(ip));
}
