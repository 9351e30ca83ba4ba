/** What a policy's schema cannot check: the meaning of selectors, blocks, ports and messages. The form is right already. */
import type { CiliumNetworkPolicy } from "./gen/ciliumnetworkpolicies.ts";
import { checkAnnotation } from "./enforcement.ts";
import { icmpType } from "./icmp-types.ts";
import { isReserved, splitLabelKey } from "./label-keys.ts";
import { cidrContains, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import type { Problem } from "./problem.ts";

export type PolicySpec = NonNullable<CiliumNetworkPolicy["spec"]>;
type LabelSelector = NonNullable<PolicySpec["endpointSelector"]>;
type IngressItem = NonNullable<PolicySpec["ingress"]>[number];
type EgressItem = NonNullable<PolicySpec["egress"]>[number];
type CidrSet = NonNullable<IngressItem["fromCIDRSet"]>[number];
/** A service by its name, or services by their labels. */
export type ServiceReference = NonNullable<EgressItem["toServices"]>[number];
type Icmp = NonNullable<IngressItem["icmps"]>[number];
type Port = NonNullable<IngressItem["toPorts"]>[number]["ports"][number];

/** One item of a section, with either direction's field names taken off. */
export interface SectionItem {
  readonly endpoints: readonly LabelSelector[] | undefined;
  readonly cidrs: readonly string[] | undefined;
  readonly cidrSets: readonly CidrSet[] | undefined;
  readonly entities: readonly string[] | undefined;
  /** Nodes by the labels of their objects. */
  readonly nodes: readonly LabelSelector[] | undefined;
  /** Of egress alone. */
  readonly services: readonly ServiceReference[] | undefined;
  /** Of egress alone: names of DNS (application-rules.ts). */
  readonly names: readonly object[] | undefined;
  readonly toPorts: readonly Ports[] | undefined;
  readonly icmps: readonly Icmp[] | undefined;
}

/** `rules` are on requests (application-rules.ts). */
interface Ports {
  readonly ports: readonly Port[];
  readonly rules?: object;
}

type Item = Omit<Partial<IngressItem & EgressItem>, "toPorts" | "authentication"> & { readonly toPorts?: readonly Ports[] };

export interface Section {
  readonly name: "ingress" | "ingressDeny" | "egress" | "egressDeny";
  readonly direction: "ingress" | "egress";
  readonly verdict: "allow" | "deny";
  readonly items: readonly SectionItem[];
}

/** The sections that the policy has, in one order. */
export function sectionsOf(spec: PolicySpec): readonly Section[] {
  const section = (name: Section["name"], items: readonly Item[] | undefined): Section[] => {
    const direction = name.startsWith("ingress") ? "ingress" : "egress";
    return items === undefined ? [] : [{ name, direction, verdict: name.endsWith("Deny") ? "deny" : "allow", items: items.map((item) => sectionItem(item, direction)) }];
  };
  return [...section("ingress", spec.ingress), ...section("ingressDeny", spec.ingressDeny), ...section("egress", spec.egress), ...section("egressDeny", spec.egressDeny)];
}

function sectionItem(item: Item, direction: "ingress" | "egress"): SectionItem {
  const isIngress = direction === "ingress";
  return {
    endpoints: isIngress ? item.fromEndpoints : item.toEndpoints,
    cidrs: isIngress ? item.fromCIDR : item.toCIDR,
    cidrSets: isIngress ? item.fromCIDRSet : item.toCIDRSet,
    entities: isIngress ? item.fromEntities : item.toEntities,
    nodes: isIngress ? item.fromNodes : item.toNodes,
    services: isIngress ? undefined : item.toServices,
    names: isIngress ? undefined : item.toFQDNs,
    toPorts: item.toPorts,
    icmps: item.icmps,
  };
}

/** `spec`, then each of `specs`, with their paths. */
export function specsOf(policy: Pick<CiliumNetworkPolicy, "spec" | "specs">): readonly { readonly path: string; readonly spec: PolicySpec }[] {
  const several = (policy.specs ?? []).map((spec, index) => ({ path: `specs[${index}]`, spec }));
  return policy.spec === undefined ? several : [{ path: "spec", spec: policy.spec }, ...several];
}

/** `namespace` is undefined where the kind has none, or the object does not say it. */
export function checkMeaning(policy: CiliumNetworkPolicy, isNamespaced: boolean, problems: Problem[]): void {
  const specs = specsOf(policy);
  checkAnnotation(policy, true, problems);
  if (specs.length === 0) problems.push({ path: policy.specs === undefined ? "spec" : "specs", message: "spec or specs is required" });
  for (const { path, spec } of specs) {
    const sections = sectionsOf(spec);
    if (sections.length === 0) problems.push({ path, message: "the policy says nothing; write ingress, egress, ingressDeny or egressDeny" });
    checkSelection(spec, path, isNamespaced ? { namespace: policy.metadata.namespace } : undefined, problems);
    checkProtocols(spec, path, problems);
    checkStaging(spec, `${path}.stages`, policy.metadata.name, problems);
    for (const section of sections) section.items.forEach((item, index) => checkItem(item, section, `${path}.${section.name}[${index}]`, problems));
  }
}

/** @param scope of a namespaced kind. */
function checkSelection({ endpointSelector, nodeSelector, ...spec }: PolicySpec, path: string, scope: { readonly namespace: string | undefined } | undefined, problems: Problem[]): void {
  if (endpointSelector !== undefined) {
    checkSelector(endpointSelector, `${path}.endpointSelector`, false, problems);
    if (scope !== undefined) checkSubject(endpointSelector, path, scope.namespace, problems);
  }
  if (endpointSelector === undefined && nodeSelector === undefined) problems.push({ path: `${path}.endpointSelector`, message: scope === undefined ? "required, or nodeSelector" : "required" });
  if (nodeSelector === undefined) return;
  if (endpointSelector !== undefined) problems.push({ path: `${path}.nodeSelector`, message: "a policy selects either pods or nodes: write one for each" });
  checkSelector(nodeSelector, `${path}.nodeSelector`, false, problems);
  for (const { name, direction, items } of sectionsOf(spec)) {
    if (direction === "egress") continue;
    items.forEach((item, index) => item.toPorts?.forEach(({ ports }, at) => ports.forEach(({ port }, number) => {
      if (!IS_NUMBER.test(port)) problems.push({ path: `${path}.${name}[${index}].toPorts[${at}].ports[${number}].port`, message: "only pods name their ports: write a number for those of nodes" });
    })));
  }
}

/** What is tried enforces nothing, whatever its namespace says, and stands in the place of another. */
function checkStaging({ stages, enforcement }: PolicySpec, path: string, name: string | undefined, problems: Problem[]): void {
  if (stages === undefined) return;
  if (enforcement !== "Audit") problems.push({ path, message: "an edit that is tried enforces nothing: write enforcement: Audit beside it" });
  if (stages === name) problems.push({ path, message: "a policy is no edit of itself: write it under another name" });
}

/** Refused wherever they stand: a rule of theirs could not be what it says. */
const NEVER_BY_NUMBER: Readonly<Record<string, string>> = {
  IGMP: "IGMP is sent to groups, which is never judged: it is not supported in a policy",
  AH: "AH is judged by what it carries: it is not supported in a policy; write what is inside",
};
const WITH_PORTS: readonly string[] = ["TCP", "UDP", "SCTP", "ANY"];

/** What has no ports is exchanged by nodes alone: of pods it is dropped, whatever policies say. */
function checkProtocols(spec: PolicySpec, path: string, problems: Problem[]): void {
  for (const { name, items } of sectionsOf(spec)) {
    const ports = items.flatMap((item, index) => (item.toPorts ?? []).flatMap((list, at) => list.ports.map((port, number) => ({ port, at: `${path}.${name}[${index}].toPorts[${at}].ports[${number}]` }))));
    for (const { port: { port, protocol = "ANY", endPort = 0 }, at } of ports) {
      if (WITH_PORTS.includes(protocol)) continue;
      const never = NEVER_BY_NUMBER[protocol];
      if (never !== undefined) problems.push({ path: `${at}.protocol`, message: never });
      else if (spec.nodeSelector === undefined) problems.push({ path: `${at}.protocol`, message: `${protocol} of pods is always dropped: only a policy with nodeSelector has it` });
      else if (port !== "0" || endPort !== 0) problems.push({ path: `${at}.port`, message: `${protocol} has no ports: write port "0"` });
    }
  }
}

function checkItem(item: SectionItem, { direction }: Section, path: string, problems: Problem[]): void {
  const field = direction === "ingress" ? "from" : "to";
  const kinds = [item.endpoints, item.cidrs, item.cidrSets, item.entities, item.nodes, item.services, item.names].filter((peers) => peers !== undefined);
  if (kinds.length > 1) problems.push({ path, message: "an item has one kind of peers; write one item for each" });
  if (item.toPorts !== undefined && item.icmps !== undefined) problems.push({ path, message: "an item has either toPorts or icmps; write one item for each" });
  item.endpoints?.forEach((peer, at) => checkSelector(peer, `${path}.${field}Endpoints[${at}]`, true, problems));
  item.cidrs?.forEach((block, at) => checkBlock(block, `${path}.${field}CIDR[${at}]`, problems));
  item.nodes?.forEach((selector, at) => checkObjectSelector(selector, "nodes", `${path}.${field}Nodes[${at}]`, problems));
  item.services?.forEach(({ k8sServiceSelector }, at) => {
    if (k8sServiceSelector !== undefined) checkObjectSelector(k8sServiceSelector.selector, "services", `${path}.toServices[${at}].k8sServiceSelector.selector`, problems);
  });
  item.cidrSets?.forEach((set, at) => checkCidrSet(set, `${path}.${field}CIDRSet[${at}]`, problems));
  const namesNothing = direction === "egress" && hasPeersWithoutNames(item);
  item.toPorts?.forEach(({ ports }, at) =>
    ports.forEach((port, index) => {
      const here = `${path}.toPorts[${at}].ports[${index}]`;
      checkPort(port, here, problems);
      if (namesNothing && !IS_NUMBER.test(port.port)) problems.push({ path: `${here}.port`, message: "only pods name their ports: write a number for peers that are addresses, entities, nodes or services" });
    }),
  );
  item.icmps?.forEach(({ fields }, at) =>
    fields.forEach(({ family = "IPv4", type }, index) => {
      if (icmpType(family, type) === undefined) problems.push({ path: `${path}.icmps[${at}].fields[${index}].type`, message: `${JSON.stringify(type)} is no type of message of ${family}` });
    }),
  );
}

/** What a port's name means is said by the pod that receives: an address, the world or a node has no names. */
function hasPeersWithoutNames({ cidrs, cidrSets, entities, nodes, services, names }: SectionItem): boolean {
  return cidrs !== undefined || nodes !== undefined || services !== undefined || names !== undefined || cidrSets !== undefined || (entities?.some((entity) => entity !== "all" && entity !== "cluster") ?? false);
}

function checkBlock(text: string, path: string, problems: Problem[]): Cidr | undefined {
  try {
    return parseBlock(text);
  } catch {
    problems.push({ path, message: `${JSON.stringify(text)} is not a block of addresses` });
    return undefined;
  }
}

/** An address alone is a block of one. Bits after the prefix do not count. */
export function parseBlock(text: string): Cidr {
  return parseCidr(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`, { maskHostBits: true });
}

function checkCidrSet(set: CidrSet, path: string, problems: Problem[]): void {
  const named = [set.cidr, set.cidrGroupRef, set.cidrGroupSelector].filter((each) => each !== undefined);
  if (named.length > 1) return void problems.push({ path, message: "a set has one of cidr, cidrGroupRef and cidrGroupSelector; write one set for each" });
  if (set.cidr === undefined) {
    if (named.length === 0) problems.push({ path: `${path}.cidr`, message: "required, or cidrGroupRef, or cidrGroupSelector" });
    if (set.cidrGroupSelector !== undefined) checkKubernetesSelector(set.cidrGroupSelector, `${path}.cidrGroupSelector`, problems);
    set.except?.forEach((text, at) => checkBlock(text, `${path}.except[${at}]`, problems));
    return;
  }
  const block = checkBlock(set.cidr, `${path}.cidr`, problems);
  set.except?.forEach((text, at) => {
    const inner = checkBlock(text, `${path}.except[${at}]`, problems);
    const isInside = inner !== undefined && block !== undefined && inner.prefix >= block.prefix && cidrContains(block, inner.address) && text.includes(":") === set.cidr?.includes(":");
    if (inner !== undefined && block !== undefined && !isInside) problems.push({ path: `${path}.except[${at}]`, message: `${text} is not inside ${set.cidr}` });
  });
}

/** By the labels of objects of `kind`, whose keys need no source. */
function checkObjectSelector(selector: LabelSelector, kind: string, path: string, problems: Problem[]): void {
  const keys = [...Object.keys(selector.matchLabels ?? {}), ...(selector.matchExpressions ?? []).map(({ key }) => key)];
  for (const key of keys) {
    const [source, name] = splitLabelKey(key);
    if (source !== "k8s" && source !== "any") problems.push({ path, message: `${key}: labels of ${kind} are of source k8s` });
    else if (!isLabelKey(name)) problems.push({ path, message: `${key} is not a label key` });
  }
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) checkValue(value, `${path}.matchLabels.${key}`, problems);
  selector.matchExpressions?.forEach((expression, index) => checkValues(expression, `${path}.matchExpressions[${index}]`, problems));
}

/** By the own labels of objects, whose keys have no source. */
export function checkKubernetesSelector(selector: NonNullable<CidrSet["cidrGroupSelector"]>, path: string, problems: Problem[]): void {
  const keys = [...Object.keys(selector.matchLabels ?? {}).map((key) => [key, `${path}.matchLabels.${key}`] as const), ...(selector.matchExpressions ?? []).map(({ key }, at) => [key, `${path}.matchExpressions[${at}].key`] as const)];
  for (const [key, at] of keys) if (!isLabelKey(key)) problems.push({ path: at, message: "is not a label key" });
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) checkValue(value, `${path}.matchLabels.${key}`, problems);
  selector.matchExpressions?.forEach((expression, index) => checkValues(expression, `${path}.matchExpressions[${index}]`, problems));
}

/** Blocks of a CiliumCIDRGroup: each, and what is wrong with the others. */
export function checkBlocks(texts: readonly string[], path: string): { readonly blocks: readonly string[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const blocks = texts.filter((text, at) => checkBlock(text, `${path}[${at}]`, problems) !== undefined);
  return { blocks, problems };
}

const IS_NUMBER = /^[0-9]+$/;

function checkPort({ port, endPort = 0 }: Port, path: string, problems: Problem[]): void {
  if (endPort === 0) return;
  if (!IS_NUMBER.test(port)) problems.push({ path: `${path}.endPort`, message: "a range begins with a number, not with a name" });
  else if (port === "0") problems.push({ path: `${path}.endPort`, message: "port 0 is every port already" });
  else if (endPort < Number(port)) problems.push({ path: `${path}.endPort`, message: `${endPort} is less than port ${port}` });
}

function checkSelector(selector: LabelSelector, path: string, mayBeReserved: boolean, problems: Problem[]): void {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    checkKey(key, `${path}.matchLabels.${key}`, mayBeReserved, problems);
    checkValue(value, `${path}.matchLabels.${key}`, problems);
  }
  selector.matchExpressions?.forEach(({ key, operator, values }, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    checkKey(key, `${at}.key`, mayBeReserved, problems);
    if (key.startsWith("reserved:") && (operator === "NotIn" || operator === "DoesNotExist")) {
      problems.push({ path: `${at}.operator`, message: `${operator} of a reserved label would mean everything else, in and outside of the cluster; name the peers instead` });
    }
    checkValues({ operator, values }, at, problems);
  });
}

function checkValues({ operator, values }: { readonly operator: string; readonly values?: readonly string[] | undefined }, path: string, problems: Problem[]): void {
  const compares = operator === "In" || operator === "NotIn";
  if (compares && (values === undefined || values.length === 0)) problems.push({ path: `${path}.values`, message: `${operator} needs at least one value` });
  if (!compares && values !== undefined && values.length > 0) problems.push({ path: `${path}.values`, message: `${operator} takes no values` });
  values?.forEach((value, at) => checkValue(value, `${path}.values[${at}]`, problems));
}

/** Kubernetes' own forms of label keys and values; a selector that can match nothing is a mistake to tell. */
const KEY_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
const KEY_PREFIX = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
const RESERVED_NAMES: readonly string[] = ["host", "world", "world-ipv4", "world-ipv6", "remote-node", "kube-apiserver", "health", "init", "unmanaged", "ingress"];

function checkKey(key: string, path: string, mayBeReserved: boolean, problems: Problem[]): void {
  const [source, name] = splitLabelKey(key);
  if (source === "reserved") {
    if (!mayBeReserved) problems.push({ path, message: "a policy selects pods; they have no reserved labels" });
    else if (!RESERVED_NAMES.includes(name)) problems.push({ path, message: `${key} is not supported; reserved labels are ${RESERVED_NAMES.join(", ")}` });
    return;
  }
  if (source !== "k8s" && source !== "any") {
    problems.push({ path, message: `labels of source ${JSON.stringify(source)} are not supported yet; sources are k8s, any and reserved` });
    return;
  }
  if (!isLabelKey(name.replace(/^io\.cilium\.k8s\.namespace\.labels\.(?=[^/]*\/)/, ""))) problems.push({ path, message: "is not a label key" });
}

function isLabelKey(name: string): boolean {
  const slash = name.lastIndexOf("/");
  return slash < 0 ? KEY_NAME.test(name) : KEY_NAME.test(name.slice(slash + 1)) && KEY_PREFIX.test(name.slice(0, slash));
}

function checkValue(value: string, path: string, problems: Problem[]): void {
  if (!VALUE.test(value)) problems.push({ path, message: `${JSON.stringify(value)} is not a label value` });
}

/** A namespaced policy cannot select pods of another namespace: refused, or it would protect nothing without a word. */
function checkSubject(selector: LabelSelector, path: string, namespace: string | undefined, problems: Problem[]): void {
  const isForeign = (key: string, values: readonly string[]): boolean =>
    splitLabelKey(key)[1] === "io.kubernetes.pod.namespace" && namespace !== undefined && !values.includes(namespace);
  const message = "a CiliumNetworkPolicy selects pods of its own namespace only";
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (isForeign(key, [value])) problems.push({ path: `${path}.endpointSelector.matchLabels.${key}`, message });
  }
  selector.matchExpressions?.forEach(({ key, operator, values }, index) => {
    const excludes = operator === "NotIn" || operator === "DoesNotExist";
    const refused = splitLabelKey(key)[1] === "io.kubernetes.pod.namespace" && (excludes || (operator === "In" && isForeign(key, values ?? [])));
    if (refused && isReserved(splitLabelKey(key)[1])) problems.push({ path: `${path}.endpointSelector.matchExpressions[${index}]`, message });
  });
}
