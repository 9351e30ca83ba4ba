/** Policies of nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HOST_IDENTITY, SubjectCompiler, compileNode, readPolicyOptions, readRouting } from "../../../src/compile/index.ts";
import type { NodeState } from "../../../src/compile/index.ts";
import { hostLabels, identityLabels } from "../../../src/model/index.ts";
import type { PolicyRow } from "../../../src/model/index.ts";
import { policyWarnings } from "../../../src/explain/warnings.ts";
import { CidrSet } from "../../../src/lib/cidr-set.ts";

const ccnp = (uid: string, spec: object): PolicyRow => ({ kind: "CiliumClusterwideNetworkPolicy", namespace: "", name: uid, uid, generation: 1, spec }) as PolicyRow;
const ROUTING = readRouting(() => undefined);
const POD = identityLabels({ metadata: { name: "p", namespace: "ns", labels: { role: "edge" } } }, { metadata: { name: "ns" } });
const NODE = { "kubernetes.io/hostname": "n1", role: "edge", "pod-template-hash": "x" };

function compile(rows: readonly PolicyRow[], labels: Readonly<Record<string, string>> = NODE, setting: Readonly<Record<string, string>> = {}): NodeState {
  const snapshot = { identities: new Map([[300, POD]]), policies: new Map([["", rows]]), subjects: new Map([["n1", new Set([300])]]), hosts: new Map([["n1", hostLabels(labels)]]) };
  return compileNode(snapshot, "n1", ROUTING, new SubjectCompiler(readPolicyOptions((key) => setting[key])));
}
const rulesOf = (state: NodeState, identity = HOST_IDENTITY) => state.ruleSets.get(state.subjects.get(identity) ?? "");
const isOpen = (state: NodeState, direction: "ingress" | "egress", protocol: number, port: number): boolean =>
  rulesOf(state)?.rules.some((rule) => rule.direction === direction && rule.tier === "admin" && rule.verdict === "allow" && rule.ports.some((match) => "port" in match && match.protocol === protocol && match.port >> (16 - match.prefix) === port >> (16 - match.prefix))) ?? false;

test("a policy of nodes selects nodes by their labels, and never a pod; one of pods never a node", () => {
  const named = (nodeSelector: object): boolean => compile([ccnp("h", { nodeSelector, ingress: [] })]).subjects.has(HOST_IDENTITY);
  const selected = [{}, { matchLabels: { role: "edge" } }, { matchLabels: { "k8s:role": "edge", "any:kubernetes.io/hostname": "n1" } }, { matchExpressions: [{ key: "pod-template-hash", operator: "In", values: ["x"] }] }, { matchExpressions: [{ key: "absent", operator: "NotIn", values: ["x"] }, { key: "job-name", operator: "DoesNotExist" }] }];
  for (const selector of selected) assert.equal(named(selector), true, JSON.stringify(selector));
  for (const selector of [{ matchLabels: { role: "core" } }, { matchExpressions: [{ key: "role", operator: "NotIn", values: ["edge"] }] }, { matchLabels: { "io.kubernetes.pod.namespace": "ns" } }]) assert.equal(named(selector), false, JSON.stringify(selector));
  const state = compile([ccnp("h", { nodeSelector: {}, ingress: [] })]);
  assert.equal(rulesOf(state, 300)?.ingressDefault, undefined);
  assert.deepEqual([...state.policies.keys()], ["h"]);
  assert.equal(compile([ccnp("p", { endpointSelector: {}, ingress: [] })]).subjects.has(HOST_IDENTITY), false);
  assert.equal(compile([]).subjects.has(HOST_IDENTITY), false, "no node is judged that no policy selects");
});

test("a closed node keeps what it cannot live without open, before all denials, unless a setting says otherwise", () => {
  const everything = { nodeSelector: {}, ingressDeny: [{ fromEntities: ["all"] }], egressDeny: [{ toEntities: ["all"] }] };
  const state = compile([ccnp("h", everything)]);
  for (const [direction, protocol, port] of [["ingress", 6, 22], ["ingress", 6, 6443], ["ingress", 6, 10250], ["ingress", 6, 2379], ["ingress", 6, 2380], ["ingress", 17, 68], ["egress", 17, 53], ["egress", 6, 53], ["egress", 17, 67], ["egress", 6, 6443], ["egress", 6, 2380]] as const) assert.ok(isOpen(state, direction, protocol, port), `${direction} ${port}`);
  assert.equal(isOpen(state, "ingress", 6, 80), false);
  assert.equal(isOpen(state, "egress", 6, 22), false);
  const toApiServer = rulesOf(state)?.rules.filter(({ direction, tier, peer }) => direction === "egress" && tier === "admin" && peer !== undefined).map(({ peer, ports }) => [state.selectors.get(peer ?? ""), ports]);
  assert.deepEqual(toApiServer, [[{ kind: "labels", requirements: [{ key: "reserved:kube-apiserver", operator: "Exists", values: [] }] }, [{ protocol: 0, port: 0, prefix: 0 }]]]);
  const other = compile([ccnp("h", everything)], NODE, { "host-failsafe-ingress": "2222/TCP,8000-8003/UDP", "host-failsafe-egress": "" });
  assert.deepEqual([isOpen(other, "ingress", 6, 22), isOpen(other, "ingress", 6, 2222), isOpen(other, "ingress", 17, 8002), isOpen(other, "egress", 17, 53)], [false, true, true, false]);
  for (const wrong of ["22", "22/SCTP", "0/TCP", "70000/TCP", "9-8/TCP"]) assert.throws(() => compile([], NODE, { "host-failsafe-ingress": wrong }), /host-failsafe-ingress: .*no port/);
});

test("nodes that encrypt reach each other's WireGuard, whatever policies say", () => {
  const state = compile([ccnp("h", { nodeSelector: {}, ingress: [], egress: [] })], NODE, { "encryption-enabled": "true" });
  for (const direction of ["ingress", "egress"] as const) for (const port of [51_871, 51_872]) assert.ok(isOpen(state, direction, 17, port), `${direction} ${port}`);
});

test("a policy of nodes that only watches drops nothing, and nothing weakens it", () => {
  const watch = ccnp("w", { nodeSelector: {}, enforcement: "Audit", ingress: [] });
  const state = compile([watch]);
  assert.equal(rulesOf(state)?.ingressDefault, undefined);
  assert.notEqual(state.ruleSets.get(state.audits?.get(HOST_IDENTITY) ?? "")?.ingressDefault, undefined);
  const labelled = compile([ccnp("e", { nodeSelector: {}, ingress: [] })], { ...NODE, "cilium.io/enforcement": "Audit" });
  assert.notEqual(rulesOf(labelled)?.ingressDefault, undefined, "neither a label of the Node");
  assert.equal(rulesOf(compile([ccnp("e", { nodeSelector: {}, ingress: [] })], NODE, { "policy-audit-mode": "true" }))?.ingressDefault, undefined, "but the setting for all does");
});

test("policies of nodes are told apart from those of pods by who they select, whatever else there is", () => {
  fc.assert(fc.property(fc.array(fc.record({ node: fc.boolean(), deny: fc.boolean(), direction: fc.constantFrom("ingress", "egress") }), { maxLength: 5 }), (specs) => {
    const rows = specs.map(({ node, deny, direction }, i) => ccnp(`u${i}`, { [node ? "nodeSelector" : "endpointSelector"]: {}, [deny ? `${direction}Deny` : direction]: [{ [direction === "ingress" ? "fromEntities" : "toEntities"]: ["world"] }] }));
    const state = compile(rows);
    const uids = (identity: number): string[] => [...new Set((rulesOf(state, identity)?.rules ?? []).flatMap(({ id }) => state.ruleNames.get(id)?.policies.map(({ uid }) => uid) ?? []))].sort();
    const wanted = (node: boolean): string[] => specs.flatMap((spec, i) => (spec.node === node ? [`u${i}`] : []));
    // An allow without a closed direction has no rule; every policy here closes the one that it speaks of.
    assert.deepEqual(uids(HOST_IDENTITY), wanted(true));
    assert.deepEqual(uids(300), wanted(false));
  }), { numRuns: 200 });
});

test("a policy that would close what the failsafe keeps open is told so", () => {
  const warnings = (spec: object): string[] => policyWarnings(ccnp("h", spec), { pods: new CidrSet([]) }).map(({ reason, path, message }) => `${reason} ${path}: ${message}`);
  assert.match(warnings({ nodeSelector: {}, ingress: [{ fromEntities: ["all"], toPorts: [{ ports: [{ port: "80" }] }] }] })[0] ?? "", /^FailsafeHolds spec\.ingress: it would close 22\/TCP, 6443\/TCP, 10250\/TCP.* hostFirewall\.failsafe\.ingress$/);
  assert.match(warnings({ nodeSelector: {}, egressDeny: [{ toEntities: ["world"], toPorts: [{ ports: [{ port: "53", protocol: "UDP" }] }] }], enableDefaultDeny: { egress: false } }).join(), /spec\.egress: it would close 53\/UDP of/);
  assert.deepEqual(warnings({ nodeSelector: {}, egress: [{ toEntities: ["all"] }] }), []);
  assert.deepEqual(warnings({ endpointSelector: {}, ingress: [] }), []);
});

test("what has no ports is named by its protocol, of nodes", () => {
  const protocols = { VRRP: 112, GRE: 47, IPIP: 4, IPV6: 41, ESP: 50 };
  const state = compile([ccnp("h", { nodeSelector: {}, egress: [{ toPorts: Object.keys(protocols).map((protocol) => ({ ports: [{ port: "0", protocol }] })) }] })]);
  const named = rulesOf(state)?.rules.filter(({ tier }) => tier === undefined).flatMap(({ ports }) => ports);
  assert.deepEqual(named, Object.values(protocols).map((protocol) => ({ protocol, port: 0, prefix: 0 })));
});
