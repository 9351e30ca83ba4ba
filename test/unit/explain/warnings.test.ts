/** What is valid and probably not meant. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CidrSet } from "../../../src/lib/cidr-set.ts";
import { denialsOf, nobodyWarnings, policyWarnings, shadowWarnings, stagingWarnings } from "../../../src/explain/index.ts";
import type { Warning } from "../../../src/explain/index.ts";
import { parseCidr } from "../../../src/lib/ip.ts";
import type { PolicyRow } from "../../../src/model/index.ts";

const ADDRESSES = { pods: new CidrSet([parseCidr("10.0.0.0/16"), parseCidr("fd00::/48")]) };
const row = (spec: object, name = "p", kind = "CiliumNetworkPolicy"): PolicyRow => ({ kind, namespace: kind === "CiliumClusterwideNetworkPolicy" ? "" : "ns", name, uid: name, generation: 1, spec }) as unknown as PolicyRow;
const API = { matchLabels: { app: "api" } };
const told = (warnings: readonly Warning[]): string[] => warnings.map(({ reason, path }) => `${reason} ${path}`);
const tcp = (port: string): object => ({ ports: [{ port, protocol: "TCP" }] });

test("an allow that a denial of the same policy, or of another, takes back", () => {
  const allow = { fromEndpoints: [{ matchLabels: { app: "web" } }], toPorts: [tcp("80"), tcp("443")] };
  const shadowed = row({ endpointSelector: API, ingress: [allow], ingressDeny: [{ toPorts: [tcp("80")] }] });
  assert.deepEqual(told(policyWarnings(shadowed, ADDRESSES)), ["ShadowedByDeny spec.ingress[0].toPorts[0]"]);
  const plain = row({ endpointSelector: API, ingress: [allow] });
  const denying = row({ endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{}] }] }, "deny");
  assert.deepEqual(told(shadowWarnings(plain, [denialsOf([plain, denying])])), ["ShadowedByDeny spec.ingress[0].toPorts[0]", "ShadowedByDeny spec.ingress[0].toPorts[1]"]);
  assert.match(shadowWarnings(plain, [denialsOf([denying])])[0]?.message ?? "", /denied by spec\.ingressDeny\[0\] of CiliumNetworkPolicy ns\/deny/);
  for (const narrower of [{ endpointSelector: { matchLabels: { app: "other" } }, ingressDeny: [{}] }, { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{ matchLabels: { tier: "x" } }] }] }, { endpointSelector: {}, egressDeny: [{ toEntities: ["all"] }] }]) {
    assert.deepEqual(shadowWarnings(plain, [denialsOf([row(narrower, "deny")])]), []);
  }
});

test("of a denial that only watches nothing is told, unless what allows only watches too", () => {
  const spec = (enforcement: string | undefined, rest: object): object => ({ endpointSelector: API, ...(enforcement === undefined ? {} : { enforcement }), ...rest });
  const allow = (enforcement?: string): PolicyRow => row(spec(enforcement, { ingress: [{ fromEndpoints: [{}] }] }));
  const deny = (enforcement: string | undefined, kind = "CiliumNetworkPolicy"): PolicyRow => row(spec(enforcement, { ingressDeny: [{ fromEntities: ["all"] }] }), "deny", kind);
  const isTold = (one: PolicyRow, other: PolicyRow, cluster: "Audit" | "Enforce" = "Enforce"): boolean => {
    const options = { cidrMatchMode: new Set<never>(), enforcement: cluster };
    return shadowWarnings(one, [denialsOf([other], options)], options).length > 0;
  };
  assert.deepEqual([isTold(allow(), deny(undefined)), isTold(allow(), deny("Enforce")), isTold(allow(), deny("Audit")), isTold(allow("Audit"), deny("Audit"))], [true, true, false, true]);
  const wide = "CiliumClusterwideNetworkPolicy";
  assert.deepEqual([isTold(allow(), deny(undefined, wide)), isTold(allow("Enforce"), deny(undefined, wide)), isTold(allow("Enforce"), deny(undefined, wide), "Audit"), isTold(allow(), deny(undefined, wide), "Audit")], [true, true, false, false], "the namespace may enforce what the cluster only watches");
});

test("an item of several peers is shadowed when all of them are", () => {
  const peers = [{ matchLabels: { app: "web" } }, { matchLabels: { app: "db" } }];
  const deny = (...denied: object[]): PolicyRow => row({ endpointSelector: {}, ingress: [{ fromEndpoints: peers }], ingressDeny: [{ fromEndpoints: denied }] });
  assert.deepEqual(told(policyWarnings(deny(peers[0] ?? {}), ADDRESSES)), []);
  assert.deepEqual(told(policyWarnings(deny(...peers), ADDRESSES)), ["ShadowedByDeny spec.ingress[0]"]);
});

test("selectors that nobody can meet, and lists that mean nobody, in every item of specs", () => {
  const spec = (endpointSelector: object, ingress: object[]): object => ({ endpointSelector, ingress });
  const several = { ...row({}), spec: undefined, specs: [
    spec(API, [{ fromEndpoints: [] }]),
    spec({ matchLabels: { app: "a" }, matchExpressions: [{ key: "app", operator: "NotIn", values: ["a"] }] }, []),
    spec(API, [{ fromEndpoints: [{ matchExpressions: [{ key: "x", operator: "Exists" }, { key: "k8s:x", operator: "DoesNotExist" }] }] }]),
  ] } as unknown as PolicyRow;
  assert.deepEqual(told(policyWarnings(several, ADDRESSES)), ["UnreachableRule specs[0].ingress[0]", "SelectsNothing specs[1].endpointSelector", "UnreachableRule specs[2].ingress[0]"]);
});

test("a block of pods' addresses where it means the outside", () => {
  const spec = { endpointSelector: API, egress: [{ toCIDR: ["10.0.3.0/24"] }, { toCIDRSet: [{ cidr: "10.0.0.0/8" }] }, { toCIDR: ["fd00::5"] }] };
  assert.deepEqual(told(policyWarnings(row(spec), ADDRESSES)), ["AddressNotIdentity spec.egress[0]", "AddressNotIdentity spec.egress[2]"]);
  const nodes = new CidrSet([parseCidr("192.0.2.1/32"), parseCidr("2001:db8::1/128")]);
  const byNode = row({ endpointSelector: API, egress: [{ toCIDR: ["192.0.2.1"] }, { toCIDR: ["192.0.2.0/24"] }, { toCIDR: ["2001:db8::1/128"] }] });
  assert.deepEqual(told(policyWarnings(byNode, { ...ADDRESSES, nodes })), ["AddressNotIdentity spec.egress[0]", "AddressNotIdentity spec.egress[2]"], "a node is named as an entity");
  assert.deepEqual(policyWarnings(byNode, { ...ADDRESSES, nodes }, { cidrMatchMode: new Set(["nodes"]) }), []);
  for (const [mode, paths] of [[["nodes"], ["spec.egress[0]", "spec.egress[2]"]], [["pods"], []], [["nodes", "pods"], []]] as const) {
    assert.deepEqual(policyWarnings(row(spec), ADDRESSES, { cidrMatchMode: new Set(mode) }).map(({ path }) => path), paths, `policyCIDRMatchMode ${mode.join()}`);
  }
  assert.deepEqual(policyWarnings(row({ podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.3.0/24" } }] }] }, "np", "NetworkPolicy"), ADDRESSES), [], "there a block means pods, too");
});

test("among known pods: a policy that selects none, a peer that is none of them", () => {
  const pods = [new Map([["k8s:app", "api"], ["k8s:io.kubernetes.pod.namespace", "ns"]])];
  assert.deepEqual(told(nobodyWarnings(row({ endpointSelector: { matchLabels: { app: "apo" } }, ingress: [{}] }), pods)), ["SelectsNothing spec.endpointSelector"]);
  assert.deepEqual(told(nobodyWarnings(row({ endpointSelector: API, ingress: [{ fromEndpoints: [API, { matchLabels: { app: "wob" } }] }, { fromEntities: ["host"] }] }), pods)), ["UnreachableRule spec.ingress[0]"]);
  const named = [...pods, new Map([["k8s:app", "web"], ["k8s:job-name", "j"], ["named:job-name", ""], ["k8s:io.kubernetes.pod.namespace", "ns"]])];
  assert.deepEqual(nobodyWarnings(row({ endpointSelector: API, ingressDeny: [{ fromEndpoints: [{ matchLabels: { "job-name": "j" } }] }] }), named), [], "a label that churns");
});

test("rules that allow times rules that deny: the work is bounded, and it is told that not all were compared", () => {
  const peers = (word: string): object[] => Array.from({ length: 400 }, (_, index) => ({ matchLabels: { app: `${word}-${index}` } }));
  const ports = (first: number): object[] => Array.from({ length: 40 }, (_, index) => tcp(String(first + index)));
  const large = row({ endpointSelector: API, ingress: [{ fromEndpoints: peers("a"), toPorts: ports(1000) }], ingressDeny: [{ fromEndpoints: peers("b"), toPorts: ports(2000) }] });
  assert.deepEqual(told(policyWarnings(large, ADDRESSES)), ["NotCompared spec"]);
  const others = denialsOf(Array.from({ length: 5000 }, (_, index) => row({ endpointSelector: index % 2 === 0 ? {} : { matchLabels: { app: `app-${index}` } }, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: `b-${index}` } }] }] }, `deny-${index}`)));
  const one = (app: string): PolicyRow => row({ endpointSelector: { matchLabels: { app } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "b-4999" } }] }] });
  assert.deepEqual(told(shadowWarnings(one("app-4999"), [others])), ["ShadowedByDeny spec.ingress[0]"], "of those that mean others nothing is looked at");
  assert.deepEqual(told(shadowWarnings(one("app-4999"), [others], undefined, 100)), ["NotCompared spec"]);
  const blocks = (first: number): string[] => Array.from({ length: 4000 }, (_, index) => `${first + (index >> 8)}.0.${index & 255}.0/24`);
  const lists = row({ endpointSelector: API, egress: [{ toCIDR: blocks(20) }], egressDeny: [{ toCIDR: blocks(60) }] });
  assert.deepEqual(told(policyWarnings(lists, ADDRESSES)), ["NotCompared spec"]);
});

test("an edit of a policy that is not there is told; what is edited takes nothing back from its edit", () => {
  const edit = row({ endpointSelector: API, enforcement: "Audit", stages: "api", ingress: [{ fromEntities: ["world"] }] }, "edit");
  const inForce = row({ endpointSelector: API, enforcement: "Enforce", ingressDeny: [{ fromEntities: ["world"] }] }, "api");
  assert.deepEqual(told(stagingWarnings(edit, [edit])), ["StagesNothing spec.stages"]);
  assert.deepEqual(told(stagingWarnings(edit, [edit, { ...inForce, kind: "NetworkPolicy" } as PolicyRow])), ["StagesNothing spec.stages"]);
  assert.deepEqual(told(stagingWarnings(edit, [edit, inForce])), []);
  assert.deepEqual(told(shadowWarnings(edit, [denialsOf([inForce])])), []);
  assert.deepEqual(told(shadowWarnings(edit, [denialsOf([{ ...inForce, name: "other" } as PolicyRow])])), ["ShadowedByDeny spec.ingress[0]"]);
});
