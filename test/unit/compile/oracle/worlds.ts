/** Random policies, pods and packets, small enough to meet one another. */
import fc from "fast-check";
import type { PolicyRow } from "../../../../src/model/index.ts";
import { resolveReferences } from "../../../../src/compile/index.ts";
import type { Directory } from "../../../../src/compile/index.ts";
import { GROUPS, NAMESPACES, NODES, SERVICES } from "./language.ts";
import { tierSpec } from "./tier-worlds.ts";
import type { CidrSet, Expression, NamedPort, Packet, Peer, Policy, Selector, Workload } from "./language.ts";

const keys = ["app", "job-name", "constructor", "toString", "host"];
const values = ["a", "b", ""];
const namespaces = Object.keys(NAMESPACES);
const optional = { requiredKeys: [] };

const dictionary = (key: fc.Arbitrary<string>): fc.Arbitrary<Record<string, string>> => fc.dictionary(key, fc.constantFrom(...values), { maxKeys: 2 });
const namedPort: fc.Arbitrary<NamedPort> = fc.record({ name: fc.constantFrom("http", "dns"), protocol: fc.constantFrom("TCP", "UDP"), port: fc.constantFrom(80, 53, 8080) });
/** A pod says a name once for each protocol (Kubernetes checks it). */
const namedPorts = fc.uniqueArray(namedPort, { maxLength: 2, selector: ({ name, protocol }) => `${name}/${protocol}` });
export const workload: fc.Arbitrary<Workload> = fc.record({
  kind: fc.constant("pod" as const),
  namespace: fc.constantFrom(...namespaces),
  labels: dictionary(fc.constantFrom(...keys)),
  named: namedPorts,
});

const expression = (key: fc.Arbitrary<string>): fc.Arbitrary<Expression> =>
  fc.oneof(
    fc.record({ key, operator: fc.constantFrom("In" as const, "NotIn" as const), values: fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }) }),
    fc.record({ key, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) }),
  );
const selector = (key: fc.Arbitrary<string>): fc.Arbitrary<Selector> => fc.record({ matchLabels: dictionary(key), matchExpressions: fc.array(expression(key), { maxLength: 1 }) }, optional);
const ownKey = fc.tuple(fc.constantFrom("", "k8s:", "any:"), fc.constantFrom(...keys)).map(([source, key]) => source + key);
const peerKey = fc.oneof({ weight: 4, arbitrary: ownKey }, { weight: 1, arbitrary: fc.constantFrom("k8s:io.cilium.k8s.namespace.labels.team") });
const otherPeers: fc.Arbitrary<Selector> = fc.oneof(
  fc.record({ matchLabels: fc.record({ "k8s:io.kubernetes.pod.namespace": fc.constantFrom(...namespaces) }) }),
  fc.constantFrom<Selector>(
    { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "Exists" }] },
    { matchExpressions: [{ key: "k8s:io.kubernetes.pod.namespace", operator: "NotIn", values: ["red"] }] },
    { matchLabels: { "reserved:host": "" } },
    { matchExpressions: [{ key: "reserved:world", operator: "Exists" }] },
    { matchLabels: { "reserved:host": "", app: "a" } },
  ),
);
const endpoint = fc.oneof({ weight: 3, arbitrary: selector(peerKey) }, { weight: 1, arbitrary: otherPeers });

const cidr = fc.constantFrom("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1", "10.1.9.9/16", "fd00::/8");
const cidrSet = fc.constantFrom(
  { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] },
  { cidr: "10.1.0.0/16", except: ["10.1.2.3/32", "10.1.3.0/24"] },
  { cidr: "0.0.0.0/0", except: ["10.0.0.0/8"] },
  { cidr: "::/0", except: ["2001:db8::/32"] },
  { cidr: "2001:db8::/32" },
);
const groupSet = fc.constantFrom<CidrSet[]>(
  { cidrGroupRef: "offices" },
  { cidrGroupRef: "offices", except: ["10.1.2.0/24", "192.0.2.0/24"] },
  { cidrGroupRef: "absent" },
  { cidrGroupSelector: {} },
  { cidrGroupSelector: { matchLabels: { kind: "vpn" } } },
  { cidrGroupSelector: { matchExpressions: [{ key: "site", operator: "NotIn", values: ["a"] }] } },
  { cidrGroupSelector: { matchExpressions: [{ key: "site", operator: "In", values: ["a", "c"] }, { key: "kind", operator: "DoesNotExist" }] } },
);
const entity = fc.constantFrom("all", "world", "world-ipv4", "world-ipv6", "cluster", "host", "remote-node", "health", "init", "ingress", "unmanaged", "none");
const nodeSelector = fc.constantFrom<Selector[]>({}, { matchLabels: { zone: "a" } }, { matchLabels: { "k8s:kubernetes.io/hostname": "one" } }, { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["a"] }] }, { matchLabels: { zone: "c" } });
const serviceSpace = fc.constantFrom({}, {}, ...namespaces.map((namespace) => ({ namespace })));
const serviceReference = fc.oneof(
  fc.tuple(fc.constantFrom("web", "legacy", "jobs", "db", "empty", "absent"), serviceSpace).map(([serviceName, where]) => ({ k8sService: { serviceName, ...where } })),
  fc.tuple(fc.constantFrom<Selector[]>({}, { matchLabels: { tier: "x" } }, { matchExpressions: [{ key: "tier", operator: "Exists" }] }, { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["x"] }] }), serviceSpace).map(([own, where]) => ({ k8sServiceSelector: { selector: own, ...where } })),
);
const port = fc.oneof(
  fc.record({ port: fc.constantFrom("80", "53", "0", "http", "dns"), protocol: fc.constantFrom("TCP", "UDP", "SCTP", "ANY") }, { requiredKeys: ["port"] }),
  fc.record({ port: fc.constantFrom("1", "53", "79"), endPort: fc.constantFrom(0, 79, 80, 8080, 65535), protocol: fc.constantFrom("TCP", "UDP") }, { requiredKeys: ["port", "endPort"] }),
);
const toPorts = fc.array(fc.record({ ports: fc.array(port, { minLength: 1, maxLength: 2 }) }), { minLength: 1, maxLength: 2 });
const icmp = fc.oneof(
  fc.record({ family: fc.constantFrom("IPv4"), type: fc.constantFrom<(string | number)[]>(8, "8", "EchoRequest", "EchoReply") }, { requiredKeys: ["type"] }),
  fc.record({ family: fc.constant("IPv6"), type: fc.constantFrom<(string | number)[]>(128, "EchoRequest", "129") }),
);
const icmps = fc.array(fc.record({ fields: fc.array(icmp, { minLength: 1, maxLength: 2 }) }), { minLength: 1, maxLength: 1 });

/** An item with at most one kind of peers, and either ports or messages. */
function item(side: "from" | "to"): fc.Arbitrary<Record<string, unknown>> {
  const some = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 2 });
  const field = <T>(name: string, value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, unknown>> => value.map((found) => ({ [name]: found }));
  const peers = fc.oneof(
    { weight: 3, arbitrary: field(`${side}Endpoints`, some(endpoint)) },
    field(`${side}CIDR`, some(cidr)),
    field(`${side}CIDRSet`, some(fc.oneof(cidrSet, groupSet))),
    field(`${side}Entities`, some(entity)),
    field(`${side}Nodes`, some(nodeSelector)),
    ...(side === "to" ? [field("toServices", some(serviceReference))] : []),
    fc.constant({}),
  );
  const ports = fc.oneof({ weight: 2, arbitrary: field("toPorts", toPorts) }, field("icmps", icmps), { weight: 2, arbitrary: fc.constant({}) });
  return fc.tuple(peers, ports).map(([left, right]) => ({ ...left, ...(side === "to" && hasNoNames(left) ? withNumbers(right) : right) }));
}

/** Peers that name no ports: with a name such an item is not valid. */
function hasNoNames(peers: Record<string, unknown>): boolean {
  return "toCIDR" in peers || "toCIDRSet" in peers || "toEntities" in peers || "toNodes" in peers || "toServices" in peers;
}

function withNumbers({ toPorts: named, ...rest }: { toPorts?: readonly { readonly ports: readonly { readonly port: string }[] }[] }): Record<string, unknown> {
  const numbered = named?.map(({ ports }) => ({ ports: ports.map((each) => ({ ...each, port: /^\d/.test(each.port) ? each.port : "80" })) }));
  return numbered === undefined ? rest : { ...rest, toPorts: numbered };
}
const section = (side: "from" | "to"): fc.Arbitrary<Record<string, unknown>[]> => fc.array(item(side), { maxLength: 2 });
const ciliumSpec = fc
  .record(
    {
      endpointSelector: selector(ownKey),
      ingress: section("from"),
      egress: section("to"),
      ingressDeny: section("from"),
      egressDeny: section("to"),
      enforcement: fc.constantFrom(undefined, undefined, undefined, "Audit", "Enforce"),
      enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, optional),
    },
    { requiredKeys: ["endpointSelector"] },
  )
  .map(({ enforcement, ...spec }) => (enforcement === undefined ? spec : { ...spec, enforcement }))
  .filter((spec) => [spec.ingress, spec.egress, spec.ingressDeny, spec.egressDeny].some((items) => items !== undefined));

const nativeKey = fc.constantFrom(...keys);
const nativePeer = fc.oneof(
  { weight: 3, arbitrary: fc.record({ podSelector: selector(nativeKey), namespaceSelector: selector(fc.constantFrom("team", "constructor")) }, optional) },
  { weight: 1, arbitrary: cidrSet.map((ipBlock) => ({ ipBlock })) },
);
const nativePort = fc.oneof(
  fc.record({ port: fc.constantFrom<(string | number)[]>(80, 53, "http", "dns"), protocol: fc.constantFrom("TCP", "UDP", "SCTP") }, optional),
  fc.record({ port: fc.constantFrom(1, 79), endPort: fc.constantFrom(79, 80, 8080), protocol: fc.constantFrom("TCP", "UDP") }, { requiredKeys: ["port", "endPort"] }),
);
const nativeItem = (side: string): fc.Arbitrary<Record<string, unknown>> => fc.record({ [side]: fc.array(nativePeer, { maxLength: 2 }), ports: fc.array(nativePort, { maxLength: 2 }) }, optional);
const nativeSpec = fc.record(
  {
    podSelector: selector(nativeKey),
    policyTypes: fc.constantFrom(["Ingress"], ["Egress"], ["Ingress", "Egress"]),
    ingress: fc.array(nativeItem("from"), { maxLength: 2 }),
    egress: fc.array(nativeItem("to"), { maxLength: 2 }),
  },
  { requiredKeys: ["podSelector"] },
);

const content = fc.oneof({ weight: 3, arbitrary: fc.record({ spec: ciliumSpec }) }, { weight: 1, arbitrary: fc.record({ spec: ciliumSpec, specs: fc.array(ciliumSpec, { minLength: 1, maxLength: 2 }) }, { requiredKeys: ["specs"] }) });
const policy = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom(...namespaces), content).map(([namespace, rest]) => ({ kind: "CiliumNetworkPolicy", namespace, ...rest }) as Policy) },
  { weight: 1, arbitrary: content.map((rest) => ({ kind: "CiliumClusterwideNetworkPolicy", namespace: "", ...rest }) as Policy) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...namespaces), nativeSpec, fc.constantFrom(undefined, undefined, "Audit", "Enforce")).map(([namespace, spec, enforcement]) => ({ kind: "NetworkPolicy", namespace, spec, ...(enforcement === undefined ? {} : { enforcement }) }) as Policy) },
);
const tiered = tierSpec({ ownSelector: selector(nativeKey), namespaceSelector: selector(fc.constantFrom("team", "constructor")) }).map((spec) => ({ kind: "ClusterNetworkPolicy", namespace: "", spec: spec as unknown as Policy["spec"] }) as Policy);
/** A list without tiers, or with about as many of them. */
export const policies: fc.Arbitrary<Policy[]> = fc.oneof(fc.array(policy, { maxLength: 4 }), fc.array(fc.oneof({ weight: 2, arbitrary: policy }, { weight: 3, arbitrary: tiered }), { minLength: 1, maxLength: 6 }));

const directory: Directory = {
  groups: new Map(Object.entries(GROUPS).map(([name, group]) => [name, { ...group, problems: [] }])),
  nodes: new Map(Object.entries(NODES)),
  services: new Map(Object.entries(SERVICES).map(([namespace, services]) => [namespace, new Map(Object.entries(services).map(([name, { labels, selector, addresses = [] }]) => [name, { labels, selector, addresses }]))])),
};

export function rowsOf(list: readonly Policy[]): PolicyRow[] {
  return list.map((one, index) => resolveReferences({ ...one, name: `p${index}`, uid: `uid-${index}`, generation: 1 } as unknown as PolicyRow, directory).row);
}

const peer: fc.Arbitrary<Peer> = fc.oneof({ weight: 4, arbitrary: workload as fc.Arbitrary<Peer> }, { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("world" as const, "host" as const, "remote-node" as const) }) });
const header = fc.oneof(
  { weight: 5, arbitrary: fc.record({ protocol: fc.constantFrom<Packet["protocol"][]>("TCP", "UDP", "SCTP"), port: fc.constantFrom(1, 53, 79, 80, 81, 8080, 65535) }) },
  fc.record({ protocol: fc.constant<Packet["protocol"]>("ICMP"), port: fc.constantFrom(0, 8) }),
  fc.record({ protocol: fc.constant<Packet["protocol"]>("ICMPv6"), port: fc.constantFrom(128, 129) }),
  fc.record({ protocol: fc.constant<Packet["protocol"]>("GRE"), port: fc.constant(0) }),
);
const address = fc.constantFrom("10.1.2.3", "10.1.3.9", "10.2.0.1", "192.0.2.1", "2001:db8::1", "2001:db8:1::2", "fd00::1", "2001:4860::8");
export const packet: fc.Arbitrary<Packet> = fc.tuple(fc.constantFrom("ingress" as const, "egress" as const), peer, address, header).map(([direction, from, ip, rest]) => ({ direction, peer: from, address: ip, ...rest }));

/** The same policies where all of them select the subject: else most random ones are about others. */
export function aimed(list: readonly Policy[], { namespace }: Workload): Policy[] {
  const everybody = { CiliumNetworkPolicy: { endpointSelector: {} }, CiliumClusterwideNetworkPolicy: { endpointSelector: {} }, NetworkPolicy: { podSelector: {} }, ClusterNetworkPolicy: { subject: { namespaces: {} } } };
  return list.map(({ spec, specs, ...rest }) => ({
    ...rest,
    namespace: rest.namespace === "" ? "" : namespace,
    ...(spec === undefined ? {} : { spec: { ...spec, ...everybody[rest.kind] } }),
    ...(specs === undefined ? {} : { specs: specs.map((one) => ({ ...one, ...everybody[rest.kind] })) }),
  }));
}

/** Policies and the pod that they are asked about. */
export const aboutSomebody: fc.Arbitrary<{ readonly list: Policy[]; readonly subject: Workload }> = fc
  .record({ list: policies, subject: workload, isAimed: fc.boolean() })
  .map(({ list, subject, isAimed }) => ({ list: isAimed ? aimed(list, subject) : list, subject }));
