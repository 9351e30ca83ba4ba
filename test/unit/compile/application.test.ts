/** Rules on requests and names of DNS, compiled to references by content. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PLAIN_OPTIONS, draftPolicy } from "../../../src/compile/policy.ts";
import { draftCiliumPolicy } from "../../../src/compile/cilium-policy.ts";
import type { PolicyDraft } from "../../../src/compile/index.ts";
import { SubjectCompiler, compileNode, readRouting } from "../../../src/compile/index.ts";
import { policyWarnings } from "../../../src/explain/index.ts";
import { CidrSet } from "../../../src/lib/cidr-set.ts";
import { identityLabels } from "../../../src/model/index.ts";
import type { CiliumPolicyRow } from "../../../src/model/snapshot.ts";

const row = (spec: object): CiliumPolicyRow => ({ kind: "CiliumNetworkPolicy", namespace: "ns", name: "p", uid: "p", generation: 1, spec: { endpointSelector: {}, ...spec } }) as CiliumPolicyRow;
const draft = (spec: object): PolicyDraft => {
  const [one] = draftCiliumPolicy(row(spec), new Set(["world"]));
  assert.ok(one);
  return one;
};
const ports = [{ port: "80", protocol: "TCP" }];
const behind = (rules: object): PolicyDraft => draft({ ingress: [{ toPorts: [{ ports, rules }] }] });
const only = (rules: object): readonly [string, unknown] => {
  const [entry, ...others] = behind(rules).application?.ruleSets ?? [];
  assert.ok(entry !== undefined && others.length === 0);
  return entry;
};

test("the rule of a port carries the id of its rules on requests, and other ports none", () => {
  const { rules, application } = draft({ ingress: [{ fromEndpoints: [{ matchLabels: { a: "b" } }], toPorts: [{ ports, rules: { http: [{ method: "POST", path: "/shop.Orders/Get" }] } }, { ports: [{ port: "81" }] }] }] });
  const [[id, set] = []] = application?.ruleSets ?? [];
  assert.deepEqual(set, { parser: "http", rules: [{ method: "POST", path: "/shop.Orders/Get", headers: [] }] });
  assert.match(id ?? "", /^[0-9a-f]{16}$/);
  assert.deepEqual(rules.map(({ path, application: own, ports: all }) => [path, own, all.length]), [["spec.ingress[0].toPorts[0]", { rules: id }, 1], ["spec.ingress[0].toPorts[1]", undefined, 3]]);
});

test("equal rules on requests have one id, whatever their order and spelling; other rules have another", () => {
  const equal: readonly (readonly [object, object])[] = [
    [{ http: [{ path: "/a" }, { path: "/b", headers: ["X-A:  1", "x-b"] }] }, { http: [{ path: "/b", method: "", headerMatches: [{ name: "X-B" }, { name: "x-a", value: "1" }] }, { path: "/a" }, { path: "/a" }] }],
    [{ dns: [{ matchName: "Example.COM." }] }, { dns: [{ matchName: "example.com" }] }],
    [{ kafka: [{ role: "produce" }] }, { kafka: [{ role: "produce", topic: "" }] }],
    [{ l7proto: "p", l7: [{ a: "1", b: "2" }] }, { l7proto: "p", l7: [{ b: "2", a: "1" }] }],
  ];
  for (const [a, b] of equal) assert.deepEqual(only(a), only(b));
  const all = [...equal.map(([a]) => a), { http: [{ path: "/a" }] }, { http: [{ method: "/a" }] }, { http: [{}] }, { dns: [{ matchPattern: "example.com" }] }, { kafka: [{}] }, { l7proto: "q", l7: [{ a: "1", b: "2" }] }];
  assert.equal(new Set(all.map((rules) => only(rules)[0])).size, all.length);
  assert.deepEqual(only({ kafka: [{ role: "produce" }, { apiKey: "Fetch", apiVersion: "11" }] })[1], { parser: "kafka", rules: [{ apiVersion: 11, requests: [1] }, { requests: [0, 3, 18] }] });
});

test("names of DNS are referred to beside rules on requests, and mean nobody as long as DNS has told nothing", () => {
  const { rules, selectors, application } = draft({ egress: [{ toFQDNs: [{ matchName: "b.example" }, { matchPattern: "*.A.example." }], toPorts: [{ ports, rules: { http: [{}] } }] }] });
  const [[names, told] = []] = application?.names ?? [];
  assert.deepEqual(told, [{ matchName: "b.example" }, { matchPattern: "*.a.example" }]);
  assert.deepEqual(rules.map((rule) => rule.application), [{ names, rules: [...(application?.ruleSets.keys() ?? [])][0] }]);
  assert.deepEqual(rules.map(({ peer }) => selectors.get(peer ?? "")), [{ kind: "cidrs", blocks: [], scopes: ["world"] }]);
});

test("nothing of what no proxy serves reaches a node's state: its ports stay closed", () => {
  const source = row({ ingress: [{ toPorts: [{ ports, rules: { http: [{}] } }, { ports: [{ port: "81", protocol: "TCP" }] }] }], egress: [{ toFQDNs: [{ matchName: "a.example" }] }] });
  assert.deepEqual(draftPolicy(source, PLAIN_OPTIONS).flatMap(({ rules }) => rules.map(({ path }) => path)), ["spec.ingress[0].toPorts[1]"]);
  const pod = identityLabels({ metadata: { name: "p", namespace: "ns", labels: {} } }, { metadata: { name: "ns" } });
  const state = compileNode({ identities: new Map([[300, pod]]), policies: new Map([["ns", [source]]]), subjects: new Map([["n", new Set([300])]]) }, "n", readRouting(() => undefined), new SubjectCompiler());
  const [set] = state.ruleSets.values();
  assert.ok(set?.ingressDefault !== undefined && set.egressDefault !== undefined);
  assert.deepEqual(set.rules.map(({ ports: open }) => open), [[{ protocol: 6, port: 81, prefix: 16 }]]);
  assert.doesNotMatch(JSON.stringify([...state.selectors, ...state.ruleSets, ...state.ruleNames]), /application|example/);
});

test("names of DNS without a rule that lets DNS be asked and heard are warned of", () => {
  const nowhere = { pods: new CidrSet([]) };
  const names = { toFQDNs: [{ matchName: "a.example" }] };
  const dns = { toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchPattern: "*" }] } }] };
  const told = (egress: readonly object[]): unknown => policyWarnings(row({ egress }), nowhere).map(({ reason, path }) => `${reason} ${path}`);
  assert.deepEqual(told([{}, names]), ["NamesNotLearned spec.egress[1].toFQDNs"]);
  assert.deepEqual(told([names, dns]), []);
});
