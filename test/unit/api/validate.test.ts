import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import { readCrds, schemaOf, Validator } from "../../../src/api/index.ts";

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

test("an unknown field is named with its path, and its neighbour suggested", () => {
  assert.deepEqual(ingress({ ...allow, toPorts: [{ ports: [{ port: "80" }], foo: 1 }] }), ["spec.ingress[0].toPorts[0].foo: unknown field"]);
  assert.deepEqual(ingress({ fromEndpoint: [] }), ["spec.ingress[0].fromEndpoint: unknown field; did you mean fromEndpoints?"]);
  assert.deepEqual(problems({ endpointSelector: {}, ingress: [] }, { sepc: {} }), ["sepc: unknown field; did you mean spec?"]);
  assert.deepEqual(selecting({ matchLabel: {} }), ["spec.endpointSelector.matchLabel: unknown field; did you mean matchLabels?"]);
  assert.deepEqual(ingress({ constructor: [], toString: 1 }), ["spec.ingress[0].constructor: unknown field", "spec.ingress[0].toString: unknown field"]);
});

test("every field of the field's language that is not built is refused by its name, in both directions", () => {
  const refused = (found: string[], path: string): void => assert.ok(found.length === 1 && found[0]?.startsWith(`${path}: `) && /not supported/.test(found[0]), `${path}: ${found.join()}`);
  const inPeers = ["Requires", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups"];
  for (const kind of inPeers) {
    refused(ingress({ [`from${kind}`]: [] }), `spec.ingress[0].from${kind}`);
    refused(problems({ endpointSelector: {}, egress: [{ [`to${kind}`]: [] }] }), `spec.egress[0].to${kind}`);
  }
  for (const name of ["toServices", "toFQDNs"]) refused(problems({ endpointSelector: {}, egress: [{ [name]: [] }] }), `spec.egress[0].${name}`);
  for (const name of ["icmps", "authentication", "rules"]) {
    refused(ingress({ [name]: {} }), `spec.ingress[0].${name}`);
    refused(problems({ endpointSelector: {}, egress: [{ [name]: {} }] }), `spec.egress[0].${name}`);
  }
  for (const name of ["rules", "serverNames", "listener", "terminatingTLS", "originatingTLS"]) {
    refused(ingress({ toPorts: [{ ports: [{ port: "80" }], [name]: {} }] }), `spec.ingress[0].toPorts[0].${name}`);
  }
  for (const name of ["nodeSelector", "ingressDeny", "egressDeny", "enableDefaultDeny", "labels", "log"]) refused(problems({ endpointSelector: {}, ingress: [], [name]: {} }), `spec.${name}`);
  refused(problems({ endpointSelector: {}, ingress: [] }, { specs: [] }), "specs");
  refused(ingress({ toPorts: [{ ports: [{ port: "80", endPort: 90 }] }] }), "spec.ingress[0].toPorts[0].ports[0].endPort");
});

test("wrong forms are told with their path", () => {
  for (const port of ["0", "65536", "http", "08", "-1", ""]) {
    assert.deepEqual(ingress({ toPorts: [{ ports: [{ port }] }] }), ["spec.ingress[0].toPorts[0].ports[0].port: must be a number from 1 to 65535 in quotes; named ports are not supported yet"]);
  }
  assert.deepEqual(ingress({ toPorts: [{ ports: [{ port: 80 }] }] }), ["spec.ingress[0].toPorts[0].ports[0].port: must be string"]);
  assert.deepEqual(ingress({ toPorts: [{ ports: [{ port: "80", protocol: "SCTP" }] }] }), ["spec.ingress[0].toPorts[0].ports[0].protocol: must be one of TCP, UDP, ANY"]);
  assert.deepEqual(ingress({ toPorts: [] }), ["spec.ingress[0].toPorts: must not be empty; leave it out to allow all"]);
  assert.deepEqual(ingress({ toPorts: [{}] }), ["spec.ingress[0].toPorts[0].ports: required"]);
  assert.deepEqual(problems({ ingress: [] }), ["spec.endpointSelector: required"]);
  assert.deepEqual(problems({ endpointSelector: {} }), ["spec: the policy says nothing; write ingress, egress or both"]);
  assert.deepEqual(problems(undefined), ["spec: required"]);
  assert.deepEqual(problems({ endpointSelector: {}, ingress: null }), ["spec.ingress: must be array"]);
});

test("selectors that cannot mean what they say are refused", () => {
  assert.match(selecting({ matchLabels: { "reserved:host": "" } })[0] ?? "", /labels of source "reserved" are not supported yet/);
  assert.match(selecting({ matchLabels: { "pod-template-hash": "x" } })[0] ?? "", /no part of an identity/);
  assert.match(selecting({ matchLabels: { "batch.kubernetes.io/job-name": "x" } })[0] ?? "", /no part of an identity/);
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
  const rules = [...text.matchAll(/"rule":"([^"]*)"/g)].map((match) => match[1] ?? "");
  assert.ok(rules.length > 30);
  for (const rule of rules) assert.ok(/^!has\(self\.[A-Za-z]+\)$/.test(rule) || rule === "has(self.ingress) || has(self.egress)", rule);
});

test("every field of every schema has a sentence, and none a default", () => {
  const walk = (schema: object, path: string): void => {
    assert.ok(!("default" in schema), `${path} has a default`);
    for (const [name, inner] of Object.entries((schema as { properties?: Record<string, object> }).properties ?? {})) {
      if (!(path === "" && name === "metadata") && !path.endsWith("metadata")) assert.ok("description" in inner || name === "metadata", `${path}.${name} has no description`);
      walk(inner, `${path}.${name}`);
    }
    const { items } = schema as { items?: object };
    if (items !== undefined) walk(items, `${path}[]`);
  };
  for (const crd of readCrds()) walk(schemaOf(crd), crd.spec.names.kind);
});
