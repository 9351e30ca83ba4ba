/** Who is meant by the words of a command: a pod, a workload, a node, a service or an address. */
import { CodedError } from "../lib/errors.ts";
import { cidrContains, formatAddress, isAddress, parseAddress } from "../lib/ip.ts";
import { icmpType } from "../api/icmp-types.ts";
import type { NodeFacts, ServiceFacts, Workload, World } from "./world.ts";

export type Party =
  | { readonly kind: "pod"; readonly workload: Workload }
  | { readonly kind: "node"; readonly node: NodeFacts; readonly address: string | undefined }
  /** `unknown`: an address of the pods whose pod nobody knows. */
  | { readonly kind: "address"; readonly address: string; readonly unknown: boolean };

export interface PortSpec {
  /** IANA number. */
  readonly protocol: number;
  /** Of ICMP the message's type; 0 of a protocol without ports. */
  readonly port: number;
}

/** Whom the packet is for, after a service's address is translated. */
export interface Target {
  readonly party: Party;
  readonly port: PortSpec;
}

export class QuestionError extends CodedError {
  constructor(message: string) {
    super("QUESTION", message);
    this.name = "QuestionError";
  }
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
const ICMP: Readonly<Record<string, readonly ["IPv4" | "IPv6", number]>> = { ICMP: ["IPv4", 1], ICMPV4: ["IPv4", 1], ICMPV6: ["IPv6", 58] };
const WITHOUT_PORTS: Readonly<Record<string, number>> = { VRRP: 112, GRE: 47, IPIP: 4, IPV6: 41, ESP: 50 };
const LAST_PORT = 0xffff;

/** `8080`, `8080/TCP`, `53/UDP`, `8/ICMP`, `EchoRequest/ICMPv6`, and `GRE` of what has no ports. */
export function parsePort(text: string): PortSpec {
  const bare = WITHOUT_PORTS[text.toUpperCase()];
  if (bare !== undefined) return { protocol: bare, port: 0 };
  const [port = "", name = "TCP"] = text.split("/");
  const icmp = ICMP[name.toUpperCase()];
  if (icmp !== undefined) {
    const type = icmpType(icmp[0], port);
    if (type === undefined) throw new QuestionError(`--port ${text}: ${JSON.stringify(port)} is no type of message of ${icmp[0]}`);
    return { protocol: icmp[1], port: type };
  }
  const protocol = PROTOCOLS[name.toUpperCase()];
  if (protocol === undefined) throw new QuestionError(`--port ${text}: write number/PROTOCOL with TCP, UDP, SCTP, ICMP or ICMPv6`);
  if (!/^[0-9]+$/.test(port) || Number(port) < 1 || Number(port) > LAST_PORT) throw new QuestionError(`--port ${text}: ${JSON.stringify(port)} is not a number from 1 to ${LAST_PORT}`);
  return { protocol, port: Number(port) };
}

/** All that the words mean: several where a service has several pods. */
export function findParties(world: World, words: string, port: PortSpec): readonly Target[] {
  if (isAddress(words)) return atAddress(world, formatAddress(parseAddress(words)), port);
  const parts = words.split("/");
  const node = nodeOf(world, parts);
  if (node !== undefined) return [{ party: { kind: "node", node, address: node.internalIps[0] }, port }];
  const [kind, namespace, name] = parts.length === 3 ? parts : parts.length === 2 ? ["", ...parts] : ["", "default", ...parts];
  const isKind = (other: string): boolean => kind === "" || kind?.toLowerCase() === other.toLowerCase();
  const workloads = world.workloads.filter((each) => each.namespace === namespace && each.name === name && isKind(each.kind));
  const found = workloads.find((each) => each.kind === "Pod") ?? workloads[0];
  if (found !== undefined) return [{ party: partyOf(world, found), port }];
  const service = isKind("Service") ? world.services.find((each) => each.namespace === namespace && each.name === name) : undefined;
  if (service !== undefined) return behind(world, service, port);
  throw new QuestionError(`${JSON.stringify(words)} is nobody: no pod, workload or service of this name${parts.length === 1 ? ", and no node" : ""}; write namespace/name, kind/namespace/name, node/name or an address${looksLikeHost(words) ? " (names of DNS are not known here: write the address)" : ""}${similar(world, name ?? "")}`);
}

/** `NAME`, or `node/NAME`. */
function nodeOf(world: World, parts: readonly string[]): NodeFacts | undefined {
  const isNamed = parts.length === 1 || (parts.length === 2 && parts[0]?.toLowerCase() === "node");
  return isNamed ? world.nodes.get(parts.at(-1) ?? "") : undefined;
}

function looksLikeHost(words: string): boolean {
  return /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(words);
}

/** A pod of the node's own network is the node. */
export function partyOf(world: World, workload: Workload): Party {
  if (!workload.hostNetwork) return { kind: "pod", workload };
  const node = world.nodes.get(workload.node ?? "") ?? { name: workload.node ?? `the node of ${workload.name}`, addresses: workload.addresses, internalIps: workload.addresses, podCidrs: [] };
  return { kind: "node", node, address: node.internalIps[0] };
}

function atAddress(world: World, address: string, port: PortSpec): readonly Target[] {
  const service = world.services.find(({ addresses }) => addresses.includes(address));
  if (service !== undefined) return behind(world, service, port);
  return [{ party: addressParty(world, address), port }];
}

export function addressParty(world: World, address: string): Party {
  const pod = world.workloads.find((each) => !each.hostNetwork && each.addresses.includes(address));
  if (pod !== undefined) return { kind: "pod", workload: pod };
  const nodes = [...world.nodes.values()];
  const node = nodes.find(({ addresses }) => addresses.includes(address));
  if (node !== undefined) return { kind: "node", node, address };
  const bytes = parseAddress(address);
  return { kind: "address", address, unknown: nodes.some(({ podCidrs }) => podCidrs.some((cidr) => cidrContains(cidr, bytes))) };
}

/** kube-proxy gives the packet the address of one of the pods before anybody judges it. */
function behind(world: World, service: ServiceFacts, wanted: PortSpec): readonly Target[] {
  const words = `the service ${service.namespace}/${service.name}`;
  const found = service.ports.find(({ port, protocol }) => port === wanted.port && PROTOCOLS[protocol] === wanted.protocol);
  if (found === undefined) throw new QuestionError(`${words} has no such port; it has ${service.ports.map(({ port, protocol }) => `${port}/${protocol}`).join(", ") || "none"}`);
  if (service.selector === undefined) throw new QuestionError(`${words} selects no pods: ask for the address of one of its endpoints`);
  const wants = Object.entries(service.selector);
  const pods = world.workloads.filter(({ namespace, labels }) => namespace === service.namespace && wants.every(([key, value]) => labels.get(`k8s:${key}`) === value));
  if (pods.length === 0) throw new QuestionError(`no pod is behind ${words}`);
  return pods.flatMap((pod) => {
    const { targetPort } = found;
    const port = typeof targetPort === "number" ? targetPort : pod.ports.find(({ name, protocol }) => name === targetPort && protocol === wanted.protocol)?.port;
    return port === undefined ? [] : [{ party: partyOf(world, pod), port: { protocol: wanted.protocol, port } }];
  });
}

function similar({ workloads }: World, name: string): string {
  const near = workloads.filter((each) => each.name.startsWith(name) || (name !== "" && each.name.includes(name))).slice(0, 3);
  return near.length === 0 ? "" : `; there is ${near.map((each) => `${each.namespace}/${each.name}`).join(", ")}`;
}
