import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load, loadAll } from "js-yaml";
import { readCrds, schemaOf, Validator } from "../../../src/api/index.ts";
import type { PolicyKind } from "../../../src/api/index.ts";

const validator = new Validator();
const allow = { fromEndpoints: [{ matchLabels: { app: "frontend" } }] };

function problems(spec: unknown, extra: object = {}): string[] {
  const object: unknown = JSON.parse(JSON.stringify({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "ns" }, spec, ...extra }));
  return validator.policy(object).map(({ path, message }) => `${path}: ${message}`);
}
const ingress = (item: object): string[] => problems({ endpointSelector: {}, ingress: [item] });
const selecting = (selector: object): string[] => problems({ endpointSelector: selector, ingress: [] });

test("what the language has is accepted", () => {
  for (const item of [{}, allow, { fromEndpoints: [] }, { fromEndpoints: [{}] }, { toPorts: [{ ports: [{ port: "1" }, { port: "65535", protocol: "ANY" }] }] }]) assert.deepEqual(ingress(item), []);
  assert.deepEqual(problems({ description: "d", endpointSelector: {}, egress: [] }, { status: { anything: 1 } }), []);
  assert.deepEqual(selecting({ matchExpressions: [{ key: "k8s:app", operator: "NotIn", values: ["a", ""] }, { key: "any:x.y/z", operator: "Exists" }] }), []);
  assert.deepEqual(ingress({ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "x" } }] }), []);
});

test("the article's manifests: the first is valid, the L7 placement of the second is refused by name", () => {
  const sample = (name: string): unknown => load(readFileSync(join(import.meta.dirname, "../../../samples", name), "utf8"));
  assert.deepEqual(validator.policy(sample("allow-frontend-to-api.yaml")), []);
  assert.deepEqual(validator.policy(sample("api-rate-limit.yaml")), [{ path: "spec.ingress[0].rules", message: "rules (L7) is not supported yet" }]);
});

test("the samples of every kind are valid", () => {
  const [group, importer] = loadAll(readFileSync(join(import.meta.dirname, "../../../samples/api-server-and-partners.yaml"), "utf8"));
  assert.deepEqual([validator.cidrGroup(group), validator.policy(importer)], [[], []]);
  for (const name of ["deny-metadata-service.yaml", "egress-to-the-outside.yaml", "network-policy.yaml", "watch-before-enforcing.yaml", "administrator-first.yaml", "only-from-these-nodes.yaml", "to-services.yaml"]) {
    for (const object of loadAll(readFileSync(join(import.meta.dirname, "../../../samples", name), "utf8")) as { readonly kind: PolicyKind }[]) assert.deepEqual(validator.policy(object, object.kind), [], name);
  }
});

test("an unknown field is named with its path, and its neighbour suggested", () => {
  assert.deepEqual(ingress({ ...allow, toPorts: [{ ports: [{ port: "80" }], foo: 1 }] }), ["spec.ingress[0].toPorts[0].foo: unknown field"]);
  assert.deepEqual(ingress({ fromEndpoint: [] }), ["spec.ingress[0].fromEndpoint: unknown field; did you mean fromEndpoints?"]);
  assert.deepEqual(problems({ endpointSelector: {}, ingress: [] }, { sepc: {} }), ["sepc: unknown field; did you mean spec?"]);
  assert.deepEqual(selecting({ matchLabel: {} }), ["spec.endpointSelector.matchLabel: unknown field; did you mean matchLabels?"]);
  assert.deepEqual(ingress({ constructor: [], toString: 1 }), ["spec.ingress[0].constructor: unknown field", "spec.ingress[0].toString: unknown field"]);
});

test("every field of the field's language that is not built is refused by its name, in every section", () => {
  const refused = (found: string[], path: string): void => assert.ok(found.length === 1 && found[0]?.startsWith(`${path}: `) && /not supported/.test(found[0]), `${path}: ${found.join()}`);
  for (const section of ["ingress", "ingressDeny", "egress", "egressDeny"]) {
    const isIngress = section.startsWith("ingress");
    const of = (item: object): string[] => problems({ endpointSelector: {}, [section]: [item] });
    for (const kind of ["Requires", "Groups", ...(isIngress ? [] : ["FQDNs"])]) refused(of({ [`${isIngress ? "from" : "to"}${kind}`]: [] }), `spec.${section}[0].${isIngress ? "from" : "to"}${kind}`);
    refused(of({ rules: {} }), `spec.${section}[0].rules`);
    const isDenied = section.endsWith("Deny");
    for (const mode of ["required", "test-always-fail"]) refused(of({ authentication: { mode } }), `spec.${section}[0].authentication${isDenied ? "" : ".mode"}`);
    assert.deepEqual(of({ authentication: { mode: "disabled" } }).length, isDenied ? 1 : 0, "which is what it is without the field");
    const nodes = (selector: object): string => of({ [`${isIngress ? "from" : "to"}Nodes`]: [selector] }).join().replace(`spec.${section}[0].${isIngress ? "from" : "to"}Nodes[0]`, "");
    for (const selector of [{}, { matchLabels: { "kubernetes.io/hostname": "a" } }, { matchExpressions: [{ key: "k8s:zone", operator: "NotIn", values: ["a"] }] }]) assert.equal(nodes(selector), "");
    assert.equal(nodes({ matchLabels: { "reserved:host": "" } }), ": reserved:host: labels of nodes are of source k8s");
    assert.equal(nodes({ matchExpressions: [{ key: "zone", operator: "In" }] }), ".matchExpressions[0].values: In needs at least one value");
    const sets = `${isIngress ? "from" : "to"}CIDRSet`;
    assert.deepEqual(of({ [sets]: [{ cidrGroupRef: "g.h-1", except: ["10.0.0.0/8"] }, { cidrGroupSelector: {} }, { cidrGroupSelector: { matchLabels: { "a.b/c": "x" }, matchExpressions: [{ key: "d", operator: "Exists" }] } }] }), []);
    const set = (one: object): string => of({ [sets]: [one] }).join().replace(`spec.${section}[0].${sets}[0]`, "");
    assert.equal(set({ cidrGroupRef: "No_Name" }), ".cidrGroupRef: is not the name of a CiliumCIDRGroup");
    assert.equal(set({ cidrGroupRef: "g", cidr: "10.0.0.0/8" }), ": a set has one of cidr, cidrGroupRef and cidrGroupSelector; write one set for each");
    assert.match(set({ cidrGroupRef: "g", except: ["10.0.0.0/99"] }), /^\.except\[0\]: .*is not a block/);
    assert.equal(set({ cidrGroupSelector: { matchLabels: { "k8s:app": "a" } } }), ".cidrGroupSelector.matchLabels.k8s:app: is not a label key");
    assert.equal(set({ cidrGroupSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }), ".cidrGroupSelector.matchExpressions[0].values: In needs at least one value");
    assert.deepEqual(of({ [`${isIngress ? "from" : "to"}Entities`]: ["kube-apiserver"] }), []);
  }
  for (const name of ["rules", "serverNames", "listener", "terminatingTLS", "originatingTLS"]) {
    refused(ingress({ toPorts: [{ ports: [{ port: "80" }], [name]: {} }] }), `spec.ingress[0].toPorts[0].${name}`);
  }
  for (const section of ["ingressDeny", "egressDeny"]) {
    for (const name of ["rules", "serverNames", "listener", "terminatingTLS", "originatingTLS"]) {
      assert.deepEqual(problems({ endpointSelector: {}, [section]: [{ toPorts: [{ ports: [{ port: "80" }], [name]: {} }] }] }), [`spec.${section}[0].toPorts[0].${name}: unknown field`]);
    }
  }
  for (const protocol of ["VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH"]) {
    const [told = "", ...more] = ingress({ toPorts: [{ ports: [{ port: "0", protocol }] }] });
    assert.match(told, /^spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.protocol: .*(of pods is always dropped|is not supported in a policy)/);
    const ofNodes = (port: object): string => validator.policy({ metadata: { name: "p" }, spec: { nodeSelector: {}, egressDeny: [{ toPorts: [{ ports: [{ port: "0", protocol, ...port }] }] }] } }, "CiliumClusterwideNetworkPolicy").map(({ path, message }) => `${path}: ${message}`).join();
    assert.match(ofNodes({}), ["IGMP", "AH"].includes(protocol) ? /^spec\.egressDeny\[0\]\.toPorts\[0\]\.ports\[0\]\.protocol: .*not supported/ : /^$/);
    if (!["IGMP", "AH"].includes(protocol)) assert.match(ofNodes({ port: "1" }), /\.ports\[0\]\.port: .* has no ports: write port "0"$/);
    assert.deepEqual(more, []);
  }
  for (const key of ["cidr:10.0.0.0/8", "container:a", "node:b"]) assert.match(ingress({ fromEndpoints: [{ matchLabels: { [key]: "" } }] }).join(), /labels of source .* are not supported yet/);
});

test("a clusterwide policy selects either pods or nodes, a namespaced one pods", () => {
  const of = (kind: PolicyKind, selection: object, more: object = { ingress: [] }): string[] => validator.policy({ metadata: { name: "p" }, spec: { ...selection, ...more } }, kind).map(({ path, message }) => `${path}: ${message}`);
  const wide = (selection: object, more?: object): string[] => of("CiliumClusterwideNetworkPolicy", selection, more);
  assert.deepEqual(wide({ nodeSelector: {} }), []);
  assert.deepEqual(wide({ nodeSelector: { matchLabels: { "kubernetes.io/os": "linux", "k8s:role": "a" }, matchExpressions: [{ key: "x", operator: "DoesNotExist" }] } }), []);
  assert.deepEqual(wide({}), ["spec.endpointSelector: required, or nodeSelector"]);
  assert.deepEqual(of("CiliumNetworkPolicy", {}), ["spec.endpointSelector: required"]);
  assert.match(wide({ endpointSelector: {}, nodeSelector: {} }).join(), /^spec\.nodeSelector: .*either pods or nodes/);
  assert.deepEqual(of("CiliumNetworkPolicy", { endpointSelector: {}, nodeSelector: {} }), ["spec.nodeSelector: nodes are selected by a CiliumClusterwideNetworkPolicy"]);
  assert.match(wide({ nodeSelector: { matchLabel: {} } }).join(), /nodeSelector\.matchLabel: unknown field; did you mean matchLabels/);
  assert.match(wide({ nodeSelector: { matchLabels: { "reserved:host": "" } } }).join(), /spec\.nodeSelector\.matchLabels\.reserved:host/);
  assert.match(wide({ nodeSelector: {} }, { ingress: [{ toPorts: [{ ports: [{ port: "http" }] }] }] }).join(), /^spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port: only pods name their ports/);
  assert.deepEqual(wide({ nodeSelector: {} }, { egress: [{ toEndpoints: [{}], toPorts: [{ ports: [{ port: "http" }] }] }] }), []);
});

test("what denies, opens and describes is accepted; blocks, entities, messages, names and ranges are", () => {
  const peers = ["all", "world", "world-ipv4", "world-ipv6", "cluster", "host", "remote-node", "health", "init", "ingress", "unmanaged", "none"];
  const items: object[] = [
    { fromCIDR: [] },
    { fromCIDR: ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "10.1.2.3/8"] },
    { fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "10.0.0.0/8"] }, { cidr: "::/0", except: ["2001:db8::/32"] }] },
    { fromEntities: peers },
    { fromEntities: [], toPorts: [{ ports: [{ port: "0", protocol: "SCTP" }, { port: "http" }, { port: "1", endPort: 65535 }, { port: "80", endPort: 80, protocol: "TCP" }, { port: "80", endPort: 0 }] }] },
    { icmps: [{ fields: [{ type: 8 }, { type: "EchoRequest" }, { family: "IPv6", type: "128" }, { family: "IPv6", type: "NeighborSolicitation" }] }] },
    { fromEndpoints: [{ matchLabels: { "reserved:host": "" } }, { matchExpressions: [{ key: "reserved:world", operator: "Exists" }] }] },
  ];
  for (const section of ["ingress", "ingressDeny"]) for (const item of items) assert.deepEqual(problems({ endpointSelector: {}, [section]: [item] }), [], JSON.stringify(item));
  assert.deepEqual(problems({ endpointSelector: {}, egressDeny: [{}], enableDefaultDeny: { egress: false }, labels: [{ key: "owner", source: "k8s", value: "x" }], description: "d" }), []);
});

test("a service is named by its name or by labels, in egress alone", () => {
  const services = (reference: object, rest: object = {}): string => problems({ endpointSelector: {}, egressDeny: [{ toServices: [reference], ...rest }] }).join().replace("spec.egressDeny[0].toServices[0]", "");
  for (const reference of [{ k8sService: { serviceName: "web" } }, { k8sService: { serviceName: "web", namespace: "other" } }, { k8sServiceSelector: { selector: {} } }, { k8sServiceSelector: { selector: { matchLabels: { "k8s:a.b/c": "x" } }, namespace: "other" } }]) assert.equal(services(reference, { toPorts: [{ ports: [{ port: "80" }] }] }), "");
  assert.notEqual(services({}), "");
  assert.notEqual(services({ k8sService: { serviceName: "web" }, k8sServiceSelector: { selector: {} } }), "");
  assert.equal(services({ k8sService: {} }), ".k8sService.serviceName: required");
  assert.equal(services({ k8sService: { serviceName: "web", name: "web" } }), ".k8sService.name: unknown field");
  assert.equal(services({ k8sServiceSelector: { selector: { matchLabels: { "reserved:host": "" } } } }), ".k8sServiceSelector.selector: reserved:host: labels of services are of source k8s");
  assert.match(services({ k8sService: { serviceName: "web" } }, { toPorts: [{ ports: [{ port: "http" }] }] }), /toPorts\[0\]\.ports\[0\]\.port: only pods name their ports/);
  assert.match(problems({ endpointSelector: {}, ingress: [{ toServices: [] }] }).join(), /^spec\.ingress\[0\]\.toServices: unknown field/);
  assert.deepEqual(problems({ endpointSelector: {}, egress: [{ toServices: [], toEndpoints: [] }] }), ["spec.egress[0]: an item has one kind of peers; write one item for each"]);
});

test("each of specs is checked, with its path", () => {
  const good = { endpointSelector: {}, ingress: [] };
  assert.deepEqual(problems(undefined, { specs: [good, good] }), []);
  assert.deepEqual(problems(good, { specs: [good, { endpointSelector: {}, ingress: [{ fromCIDR: ["10.0.0.300"] }] }] }), ['specs[1].ingress[0].fromCIDR[0]: "10.0.0.300" is not a block of addresses']);
  assert.deepEqual(problems(undefined, { specs: [good, { endpointSelector: {}, ingress: [{ fromGroups: [] }] }] }), ["specs[1].ingress[0].fromGroups: fromGroups is not supported yet"]);
  assert.deepEqual(problems(undefined, { specs: [] }), ["specs: spec or specs is required"]);
});

test("a port of peers that name no ports is a number", () => {
  const toPorts = [{ ports: [{ port: "80" }, { port: "http" }] }];
  for (const section of ["egress", "egressDeny"]) {
    const of = (peers: object): string[] => problems({ endpointSelector: {}, [section]: [{ ...peers, toPorts }] });
    for (const peers of [{ toCIDR: ["10.0.0.0/8"] }, { toCIDRSet: [{ cidr: "10.0.0.0/8" }] }, { toEntities: ["world"] }, { toEntities: ["all", "host"] }]) {
      assert.deepEqual(of(peers), [`spec.${section}[0].toPorts[0].ports[1].port: only pods name their ports: write a number for peers that are addresses, entities, nodes or services`]);
    }
    for (const peers of [{}, { toEndpoints: [{}] }, { toEntities: ["all"] }, { toEntities: ["cluster"] }]) assert.deepEqual(of(peers), []);
  }
  // What comes in is for the pod itself, which names its own.
  assert.deepEqual(ingress({ fromCIDR: ["10.0.0.0/8"], toPorts }), []);
});

test("what contradicts itself is told with its path", () => {
  const of = (item: object): string[] => ingress(item);
  assert.deepEqual(of({ fromEndpoints: [], fromCIDR: [] }), ["spec.ingress[0]: an item has one kind of peers; write one item for each"]);
  assert.deepEqual(of({ toPorts: [{ ports: [{ port: "80" }] }], icmps: [{ fields: [{ type: 8 }] }] }), ["spec.ingress[0]: an item has either toPorts or icmps; write one item for each"]);
  assert.deepEqual(of({ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/16"] }] }), ["spec.ingress[0].fromCIDRSet[0].except[0]: 11.0.0.0/16 is not inside 10.0.0.0/8"]);
  assert.deepEqual(of({ fromCIDRSet: [{ cidr: "::/0", except: ["10.0.0.0/8"] }] }), ["spec.ingress[0].fromCIDRSet[0].except[0]: 10.0.0.0/8 is not inside ::/0"]);
  assert.deepEqual(of({ fromCIDRSet: [{}] }), ["spec.ingress[0].fromCIDRSet[0].cidr: required, or cidrGroupRef, or cidrGroupSelector"]);
  assert.deepEqual(of({ fromCIDR: ["10.0.0.0/33"] }), ['spec.ingress[0].fromCIDR[0]: "10.0.0.0/33" is not a block of addresses']);
  assert.deepEqual(of({ fromCIDR: ["example.org"] }), ["spec.ingress[0].fromCIDR[0]: is not a block of addresses"]);
  const range = (port: string, endPort: number): string[] => of({ toPorts: [{ ports: [{ port, endPort }] }] });
  assert.deepEqual(range("90", 80), ["spec.ingress[0].toPorts[0].ports[0].endPort: 80 is less than port 90"]);
  assert.deepEqual(range("http", 80), ["spec.ingress[0].toPorts[0].ports[0].endPort: a range begins with a number, not with a name"]);
  assert.deepEqual(range("0", 80), ["spec.ingress[0].toPorts[0].ports[0].endPort: port 0 is every port already"]);
  for (const type of ["Nonsense", "constructor", 256, -1, "0x8"]) assert.match(of({ icmps: [{ fields: [{ type }] }] })[0] ?? "", /^spec\.ingress\[0\]\.icmps\[0\]\.fields\[0\]\.type: .* is no type of message of IPv4$/);
  assert.match(of({ icmps: [{ fields: [{ family: "IPv6", type: "Redirect" }] }] })[0] ?? "", /is no type of message of IPv6/);
});

test("an edit that is tried only watches, and is no edit of itself", () => {
  const of = (spec: object): string[] => validator.policy({ metadata: { name: "p", namespace: "ns" }, spec: { endpointSelector: {}, ingress: [], ...spec } }, "CiliumNetworkPolicy").map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual(of({ stages: "api", enforcement: "Audit" }), []);
  assert.deepEqual(of({ stages: "api" }), ["spec.stages: an edit that is tried enforces nothing: write enforcement: Audit beside it"]);
  assert.deepEqual(of({ stages: "p", enforcement: "Audit" }), ["spec.stages: a policy is no edit of itself: write it under another name"]);
});

test("a NetworkPolicy that names no block of addresses is refused by path, any other is accepted", () => {
  const of = (spec: object): string[] => validator.policy({ metadata: { name: "p", namespace: "ns" }, spec }, "NetworkPolicy").map(({ path, message }) => `${path}: ${message}`);
  const peers = [{ podSelector: {} }, { namespaceSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }];
  assert.deepEqual(of({ podSelector: {}, policyTypes: ["Ingress", "Egress"], ingress: [{}, { from: peers, ports: [{ port: "http" }, { port: 1, endPort: 9, protocol: "SCTP" }] }], egress: [{ to: peers }] }), []);
  assert.deepEqual(of({ podSelector: { matchLabels: { "pod-template-hash": "x" } } }), [], "a label that churns may be named");
  assert.deepEqual(of({ podSelector: {}, ingress: [{ from: [{ podSelector: { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "Exists" }] } }] }] }), [], "and what only the system writes elsewhere");
  assert.deepEqual(of({ podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "010.0.0.0/8" } }] }] }), ['spec.ingress[0].from[0].ipBlock.cidr: "010.0.0.0/8" is not a block of addresses']);
});

test("a group of blocks: each of its blocks by its path", () => {
  const of = (spec: unknown): string[] => validator.cidrGroup({ apiVersion: "cilium.io/v2", kind: "CiliumCIDRGroup", metadata: { name: "g" }, ...(spec === undefined ? {} : { spec }) }).map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual(of({ externalCIDRs: ["10.0.0.0/8", "2001:db8::1", "192.0.2.7"] }), []);
  assert.deepEqual(of({ externalCIDRs: [] }), []);
  assert.deepEqual(of({ externalCIDRs: ["10.0.0.0/8", "10.0.0.0/99"] }), ['spec.externalCIDRs[1]: "10.0.0.0/99" is not a block of addresses']);
  assert.deepEqual(of({ externalCIDRs: ["x.y"] }), ["spec.externalCIDRs[0]: is not a block of addresses"]);
  assert.deepEqual(of({ externalCidrs: [] }), ["spec.externalCidrs: unknown field; did you mean externalCIDRs?", "spec.externalCIDRs: required"]);
  assert.deepEqual(of(undefined), ["spec: required"]);
});

test("a policy of the whole cluster may name any namespace, and selects pods only", () => {
  const of = (endpointSelector: object): string[] => validator.policy({ metadata: { name: "p" }, spec: { endpointSelector, ingress: [] } }, "CiliumClusterwideNetworkPolicy").map(({ path, message }) => `${path}: ${message}`);
  for (const selector of [{}, { matchLabels: { "k8s:io.kubernetes.pod.namespace": "other" } }, { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "NotIn", values: ["kube-system"] }] }]) assert.deepEqual(of(selector), []);
  assert.deepEqual(of({ matchLabels: { "reserved:host": "" } }), ["spec.endpointSelector.matchLabels.reserved:host: a policy selects pods; they have no reserved labels"]);
});

test("wrong forms are told with their path", () => {
  for (const port of ["65536", "08", "-1", "", "HTTP", "a_b"]) {
    assert.deepEqual(ingress({ toPorts: [{ ports: [{ port }] }] }), ["spec.ingress[0].toPorts[0].ports[0].port: must be a number from 0 to 65535 in quotes, or the name of a port"]);
  }
  assert.deepEqual(ingress({ toPorts: [{ ports: [{ port: 80 }] }] }), ["spec.ingress[0].toPorts[0].ports[0].port: must be string"]);
  assert.deepEqual(ingress({ toPorts: [{ ports: [{ port: "80", protocol: "QUIC" }] }] }), ["spec.ingress[0].toPorts[0].ports[0].protocol: must be one of TCP, UDP, SCTP, ANY, VRRP, IGMP, GRE, IPIP, IPV6, ESP, AH"]);
  assert.deepEqual(ingress({ fromEntities: ["World"] })[0]?.slice(0, 54), "spec.ingress[0].fromEntities[0]: must be one of all, w");
  assert.deepEqual(ingress({ toPorts: [] }), ["spec.ingress[0].toPorts: must not be empty; leave it out to allow all"]);
  assert.deepEqual(ingress({ toPorts: [{}] }), ["spec.ingress[0].toPorts[0].ports: required"]);
  assert.deepEqual(problems({ ingress: [] }), ["spec.endpointSelector: required"]);
  assert.deepEqual(problems({ endpointSelector: {} }), ["spec: the policy says nothing; write ingress, egress, ingressDeny or egressDeny"]);
  assert.deepEqual(problems(undefined), ["spec: spec or specs is required"]);
  assert.deepEqual(problems({ endpointSelector: {}, ingress: null }), ["spec.ingress: must be array"]);
});

test("selectors that cannot mean what they say are refused", () => {
  assert.match(selecting({ matchLabels: { "reserved:host": "" } })[0] ?? "", /a policy selects pods; they have no reserved labels/);
  assert.match(selecting({ matchLabels: { "container:x": "" } })[0] ?? "", /labels of source "container" are not supported yet/);
  const peer = (key: string, operator = "Exists"): string => ingress({ fromEndpoints: [{ matchExpressions: [{ key, operator }] }] }).join();
  assert.match(peer("reserved:nobody"), /reserved:nobody is not supported/);
  assert.match(peer("reserved:host", "DoesNotExist"), /would mean everything else/);
  assert.deepEqual(selecting({ matchLabels: { "pod-template-hash": "x", "batch.kubernetes.io/job-name": "x" } }), [], "labels that churn may be named");
  assert.match(peer("named:pod-template-hash"), /labels of source "named" are not supported/);
  assert.match(selecting({ matchLabels: { app: "not a value" } })[0] ?? "", /is not a label value/);
  assert.match(selecting({ matchLabels: { __proto__x: "a", "-a": "b" } }).join(), /-a: is not a label key/);
  assert.match(selecting({ matchExpressions: [{ key: "app", operator: "In" }] })[0] ?? "", /In needs at least one value/);
  assert.match(selecting({ matchExpressions: [{ key: "app", operator: "Exists", values: ["a"] }] })[0] ?? "", /Exists takes no values/);
  for (const selector of [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "other" } }, { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "In", values: ["other"] }] }]) {
    assert.match(selecting(selector)[0] ?? "", /pods of its own namespace only/);
  }
  assert.deepEqual(selecting({ matchLabels: { "k8s:io.kubernetes.pod.namespace": "ns" } }), []);
});

test("the validator knows every CEL rule of the policy's schema", () => {
  const text = JSON.stringify(schemaOf(readCrds().find((crd) => crd.spec.names.kind === "CiliumNetworkPolicy") ?? assert.fail()));
  const rules = new Set([...text.matchAll(/"rule":"([^"]*)"/g)].map((match) => match[1] ?? ""));
  const count = (side: string): string => `${["Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", ...(side === "to" ? ["Services"] : [])].map((kind) => `(has(self.${side}${kind}) ? 1 : 0)`).join(" + ")} <= 1`;
  /** Each of these has its words in another test of this file. */
  const others = ["has(self.spec) || has(self.specs)", "has(self.ingress) || has(self.egress) || has(self.ingressDeny) || has(self.egressDeny)", count("from"), count("to"), "!(has(self.toPorts) && has(self.icmps))", "has(self.endpointSelector)"];
  assert.ok(rules.size > 15);
  for (const rule of rules) assert.ok(/^!has\(self\.[A-Za-z]+\)$/.test(rule) || others.includes(rule), rule);
});

test("every field of every schema has a sentence, and none a default but a status that nobody has written yet", () => {
  const walk = (schema: object, path: string): void => {
    if (/^[^.]+\.status$/.test(path)) assert.equal((schema as { default?: { observedGeneration: number } }).default?.observedGeneration ?? -1, -1);
    else assert.ok(!("default" in schema), `${path} has a default`);
    for (const [name, inner] of Object.entries((schema as { properties?: Record<string, object> }).properties ?? {})) {
      if (!(path === "" && name === "metadata") && !path.endsWith("metadata")) assert.ok("description" in inner || name === "metadata", `${path}.${name} has no description`);
      walk(inner, `${path}.${name}`);
    }
    const { items } = schema as { items?: object };
    if (items !== undefined) walk(items, `${path}[]`);
  };
  for (const crd of readCrds()) walk(schemaOf(crd), crd.spec.names.kind);
});
