import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "../../../src/api/index.ts";
import type { CiliumNetworkPolicy } from "../../../src/api/index.ts";
import { draftPolicy } from "../../../src/compile/index.ts";
import { NAMESPACE_QUOTA, PolicyQuota } from "../../../src/operator/policy-quota.ts";
import { PolicyBook } from "../../../src/operator/policies.ts";
import { decodeService, decodeSlice, nodePeer } from "../../../src/operator/rows.ts";
import { ServiceBook } from "../../../src/operator/services.ts";
import { policyStatus, transitions } from "../../../src/operator/policy-status.ts";
import { PolicyWarnings } from "../../../src/operator/policy-warnings.ts";
import type { NodeStanding, PolicyStatus } from "../../../src/operator/policy-status.ts";

type Spec = NonNullable<CiliumNetworkPolicy["spec"]>;
const validator = new Validator();
const GOOD = { endpointSelector: { matchLabels: { app: "api" } }, ingress: [] };
const BAD = { endpointSelector: {}, ingress: [{ fromGroups: [] }] } as unknown as Spec;
const T1 = "2026-01-01T00:00:00Z";
const T2 = "2026-01-02T00:00:00Z";

function book(): { policies: PolicyBook; changes: string[] } {
  const changes: string[] = [];
  const policies = new PolicyBook(validator, { policiesChanged: (namespace) => changes.push(namespace), policyChanged: () => undefined });
  return { policies, changes };
}

function object(spec: Spec, generation: number, uid = "u", status?: PolicyStatus): CiliumNetworkPolicy {
  return { metadata: { name: "p", namespace: "ns", uid, generation }, spec, ...(status === undefined ? {} : { status }) };
}

test("an invalid edit keeps the last valid version of that object alone", () => {
  const { policies, changes } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object(GOOD, 1));
  policies.changed("CiliumNetworkPolicy", "ns/p", object(BAD, 2));
  assert.equal(policies.effective.get("ns")?.[0]?.generation, 1);
  assert.deepEqual(changes, ["ns"]);
  policies.changed("CiliumNetworkPolicy", "ns/p", object(GOOD, 3));
  assert.equal(policies.effective.get("ns")?.[0]?.generation, 3);
  policies.changed("CiliumNetworkPolicy", "ns/p", object(BAD, 1, "another"));
  assert.equal(policies.effective.has("ns"), false);
  policies.changed("CiliumNetworkPolicy", "ns/p", undefined);
  assert.equal(policies.get("CiliumNetworkPolicy:ns/p"), undefined);
});

test("after a restart the last valid version comes from the status", () => {
  const { policies } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object(BAD, 7, "u", { lastValid: { generation: 5, spec: JSON.stringify(GOOD) } }));
  assert.deepEqual(policies.effective.get("ns")?.[0], { kind: "CiliumNetworkPolicy", namespace: "ns", name: "p", uid: "u", generation: 5, spec: GOOD });
  for (const spec of ["{", JSON.stringify(BAD)]) {
    const other = book().policies;
    other.changed("CiliumNetworkPolicy", "ns/p", object(BAD, 7, "u", { lastValid: { generation: 5, spec } }));
    assert.equal(other.effective.has("ns"), false);
  }
});

test("a change of the status alone compiles nothing", () => {
  const { policies, changes } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object(GOOD, 1));
  policies.changed("CiliumNetworkPolicy", "ns/p", object(GOOD, 1, "u", { enforced: "1/1" }));
  assert.deepEqual(changes, ["ns"]);
});

test("a group of blocks stands where a policy names it, changes with the group, and is told when it is missing", () => {
  const { policies, changes } = book();
  const spec: Spec = { endpointSelector: {}, egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8" }, { cidrGroupRef: "offices", except: ["192.0.2.1/32"] }] }], egressDeny: [{ toCIDRSet: [{ cidrGroupSelector: { matchLabels: { bad: "yes" } } }] }] };
  policies.groupChanged("others", { labels: {}, cidrs: ["203.0.113.0/24"], problems: [] });
  policies.changed("CiliumNetworkPolicy", "ns/p", object(spec, 1));
  const said = () => policies.get("CiliumNetworkPolicy:ns/p")?.unresolved?.map(({ path, message }) => `${path}: ${message}`);
  const now = (): Spec | undefined => (policies.effective.get("ns")?.[0] as { readonly spec?: Spec } | undefined)?.spec;
  assert.deepEqual([now()?.egress?.[0]?.toCIDRSet, now()?.egressDeny?.[0]?.toCIDRSet], [[{ cidr: "10.0.0.0/8" }], []]);
  assert.deepEqual(said(), ["spec.egress[0].toCIDRSet[1].cidrGroupRef: there is no CiliumCIDRGroup offices: it means nobody", "spec.egressDeny[0].toCIDRSet[0].cidrGroupSelector: no CiliumCIDRGroup has these labels: it means nobody"]);
  policies.groupChanged("offices", { labels: { bad: "yes" }, cidrs: ["192.0.2.0/24", "2001:db8::/32"], problems: [] });
  assert.deepEqual(now()?.egress?.[0]?.toCIDRSet, [{ cidr: "10.0.0.0/8" }, { cidr: "192.0.2.0/24", except: ["192.0.2.1/32"] }, { cidr: "2001:db8::/32", except: ["192.0.2.1/32"] }]);
  assert.deepEqual(now()?.egressDeny?.[0]?.toCIDRSet, [{ cidr: "192.0.2.0/24" }, { cidr: "2001:db8::/32" }]);
  assert.deepEqual(said(), []);
  const told = changes.length;
  policies.groupChanged("others", { labels: {}, cidrs: [], problems: [] });
  policies.changed("CiliumNetworkPolicy", "ns/p", object(spec, 1, "u", { enforced: "1/1" }));
  assert.equal(changes.length, told, "another group, or a status, compiles nothing");
  policies.groupChanged("offices", { labels: {}, cidrs: ["192.0.2.0/24"], problems: [{ path: "spec.externalCIDRs[1]", message: "x is not a block of addresses" }] });
  assert.deepEqual(now()?.egressDeny?.[0]?.toCIDRSet, []);
  assert.match(said()?.[0] ?? "", /CiliumCIDRGroup offices: spec\.externalCIDRs\[1\]: x is not a block/);
  const entry = policies.get("CiliumNetworkPolicy:ns/p") ?? assert.fail();
  const first = policyStatus(entry, { endpoints: 0, nodes: [] }, T1);
  const condition = first.conditions?.find(({ type }) => type === "Resolved");
  assert.deepEqual([condition?.status, condition?.reason], ["False", "NotResolved"]);
  assert.deepEqual(first.conditions?.filter(({ type }) => type === "Ready").map(({ status, reason }) => [status, reason]), [["False", "NotResolved"]], "who waits for Ready waits for the group");
  assert.deepEqual(JSON.parse(first.lastValid?.spec ?? ""), spec, "what is remembered is the policy as it was written");
  assert.ok(transitions(undefined, first).some(({ severity, reason }) => severity === "Warning" && reason === "NotResolved"));
  policies.groupChanged("offices", undefined);
  assert.deepEqual(now()?.egress?.[0]?.toCIDRSet, [{ cidr: "10.0.0.0/8" }]);
});

function statusOf(spec: Spec, nodes: readonly NodeStanding[], before?: PolicyStatus, now = T1): PolicyStatus {
  const { policies } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object(spec, 4, "u", before));
  const entry = policies.get("CiliumNetworkPolicy:ns/p");
  assert.ok(entry);
  return policyStatus(entry, { endpoints: nodes.length, nodes }, now);
}
const node = (name: string, standing: NodeStanding["standing"]): NodeStanding => ({ node: name, standing, message: standing === "enforced" ? "" : `why ${name}` });
const words = (status: PolicyStatus): string[] => (status.conditions ?? []).map(({ type, status: value, reason }) => `${type} ${value} ${reason}`);

test("conditions for each way the nodes can stand", () => {
  assert.deepEqual(words(statusOf(GOOD, [])), ["Enforced True NoEndpoints", "Ready True NoEndpoints", "Valid True Valid"]);
  assert.deepEqual(words(statusOf(GOOD, [node("a", "enforced")])), ["Enforced True Enforced", "Ready True Enforced", "Valid True Valid"]);
  assert.deepEqual(words(statusOf(GOOD, [node("a", "enforced"), node("b", "pending")])), ["Enforced False Pending", "Ready False Pending", "Valid True Valid"]);
  assert.deepEqual(words(statusOf(GOOD, [node("a", "unheard"), node("b", "pending")])), ["Enforced Unknown NodesNotHeardFrom", "Ready Unknown NodesNotHeardFrom", "Valid True Valid"]);
  assert.deepEqual(words(statusOf(GOOD, [node("a", "failing"), node("b", "unheard")])), ["Enforced False NodesFailing", "Ready False NodesFailing", "Valid True Valid"]);
  assert.deepEqual(words(statusOf(BAD, [])), ["Enforced False Invalid", "Ready False Invalid", "Valid False Invalid"]);
});

test("what a valid policy probably does not mean is a condition with paths, in every item of specs, and no condition when there is nothing", () => {
  const { policies } = book();
  const shadowed = { ...GOOD, ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" as const }] }] }], ingressDeny: [{ fromEntities: ["all" as const] }] };
  policies.changed("CiliumNetworkPolicy", "ns/p", { metadata: { name: "p", namespace: "ns", uid: "u", generation: 1 }, specs: [GOOD, shadowed, { ...GOOD, egress: [{ toCIDR: ["10.0.3.4"] }] }] });
  const entry = policies.get("CiliumNetworkPolicy:ns/p") ?? assert.fail();
  const warnings = new PolicyWarnings({ policyOptions: { cidrMatchMode: new Set() }, policies: () => policies.effective, onDenials: () => undefined });
  const of = (unselected: string[]): PolicyStatus => policyStatus(entry, { endpoints: 1, unselected, nodes: [] }, T1, warnings.of(entry.effective));
  const said = ({ conditions = [] }: PolicyStatus): string[] => conditions.filter(({ type }) => type === "Warnings").map(({ status, reason, message }) => `${status} ${reason} ${message.split("; ").map((text) => text.split(":")[0]).join(" ")}`);
  assert.deepEqual(said(of([])), ["True ShadowedByDeny specs[1].ingress[0].toPorts[0]"]);
  assert.deepEqual(said(of(["specs[0]"])), ["True Several specs[1].ingress[0].toPorts[0] specs[0]"]);
  warnings.nodeChanged("n", { uid: "n", labels: {}, podCidrs: ["10.0.3.0/24"] });
  assert.deepEqual(said(of([])), ["True Several specs[1].ingress[0].toPorts[0] specs[2].egress[0]"]);
  assert.equal(warnings.of(entry.effective), warnings.of(entry.effective), "found once");
  warnings.nodeChanged("n", undefined);
  assert.deepEqual(said(of([])), ["True ShadowedByDeny specs[1].ingress[0].toPorts[0]"]);
  assert.deepEqual(words(statusOf(GOOD, [])).filter((text) => text.startsWith("Warnings")), []);
  policies.changed("CiliumNetworkPolicy", "ns/p", object(BAD, 2));
  assert.deepEqual(said(policyStatus(policies.get("CiliumNetworkPolicy:ns/p") ?? assert.fail(), { endpoints: 0, unselected: ["spec"], nodes: [] }, T1)), [], "what is not valid says that first");
});

test("what another policy denies is told of the one that allows it, as long as it denies; whom it may concern is looked at again", () => {
  const { policies } = book();
  const again: string[] = [];
  const warnings = new PolicyWarnings({ policyOptions: { cidrMatchMode: new Set() }, policies: () => policies.effective, onDenials: (namespace) => again.push(namespace) });
  const put = (kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy", name: string, spec: Spec | undefined, generation = 1, namespace = "ns"): void =>
    policies.changed(kind, kind === "CiliumNetworkPolicy" ? `${namespace}/${name}` : name, spec && { metadata: { name, ...(kind === "CiliumNetworkPolicy" ? { namespace } : {}), uid: name, generation }, spec });
  const said = (): string[] => warnings.of(policies.get("CiliumNetworkPolicy:ns/allow")?.effective).map(({ reason, path, message }) => `${reason} ${path} ${message.split(" ").at(-1)}`);
  const allow: Spec = { ...GOOD, ingress: [{ fromEndpoints: [{ matchLabels: { app: "web" } }] }] };
  put("CiliumNetworkPolicy", "allow", allow);
  assert.deepEqual(said(), []);
  put("CiliumNetworkPolicy", "other", { ...GOOD, ingress: [] });
  put("CiliumNetworkPolicy", "elsewhere", { endpointSelector: {}, ingressDeny: [{ fromEntities: ["all"] }] }, 1, "other");
  assert.deepEqual([said(), again], [[], []], "one that denies nothing concerns nobody, nor does one of another namespace");
  put("CiliumNetworkPolicy", "deny", { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{}] }] });
  assert.deepEqual([said(), again], [["ShadowedByDeny spec.ingress[0] ns/deny"], ["ns"]]);
  put("CiliumNetworkPolicy", "deny", { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: "db" } }] }] }, 2);
  assert.deepEqual([said(), again], [[], ["ns", "ns"]]);
  put("CiliumClusterwideNetworkPolicy", "all", { endpointSelector: {}, ingressDeny: [{ fromEntities: ["all"] }] });
  assert.deepEqual([said(), again], [["ShadowedByDeny spec.ingress[0] all"], ["ns", "ns", ""]]);
  put("CiliumClusterwideNetworkPolicy", "all", undefined);
  warnings.denialsIn("");
  assert.deepEqual([said(), again], [[], ["ns", "ns", "", ""]], "and when it is gone");
});

test("failing nodes are the first ten, the count is of all", () => {
  const nodes = Array.from({ length: 12 }, (_, index) => node(`n${String(index).padStart(2, "0")}`, "failing"));
  const status = statusOf(GOOD, [...nodes, node("z", "enforced")]);
  assert.equal(status.enforced, "1/13");
  assert.equal(status.failingNodes?.length, 10);
  assert.match(status.conditions?.[0]?.message ?? "", /1 of 13 nodes enforce it; failing: n00 \(why n00\).* and 2 more$/);
});

test("the time of a condition moves with its status only", () => {
  const before = statusOf(GOOD, [node("a", "pending")]);
  const same = statusOf(GOOD, [node("a", "failing")], before, T2);
  assert.equal(same.conditions?.[0]?.lastTransitionTime, T1);
  const moved = statusOf(GOOD, [node("a", "enforced")], before, T2);
  assert.deepEqual(moved.conditions?.map(({ lastTransitionTime }) => lastTransitionTime), [T2, T2, T1]);
});

test("events tell transitions once, and never the way there", () => {
  const pending = statusOf(GOOD, [node("a", "pending")]);
  const enforced = statusOf(GOOD, [node("a", "enforced")], pending);
  const reasons = (from: PolicyStatus | undefined, to: PolicyStatus): string[] => transitions(from, to).map(({ severity, reason }) => `${severity} ${reason}`);
  assert.deepEqual(reasons(undefined, pending), ["Normal Valid"]);
  assert.deepEqual(reasons(pending, enforced), ["Normal Enforced"]);
  assert.deepEqual(reasons(enforced, enforced), []);
  assert.deepEqual(reasons(enforced, statusOf(GOOD, [node("a", "unheard")], enforced)), ["Warning NodesNotHeardFrom"]);
  assert.deepEqual(reasons(enforced, statusOf(BAD, [], enforced)), ["Warning Invalid"]);
});

test("what of one namespace is too much is left out, the largest first, and told with the numbers; the others feel nothing", () => {
  const changes: string[] = [];
  const told: string[] = [];
  const policies = new PolicyBook(validator, { policiesChanged: (namespace) => changes.push(namespace), policyChanged: (key) => told.push(key) }, new PolicyQuota({ rules: 10, blocks: 10 }));
  const from = (blocks: number, at = 0): Spec => ({ endpointSelector: {}, ingress: [{ fromCIDR: Array.from({ length: blocks }, (_, index) => `10.${at}.${index}.0/24`) }], egress: [] });
  const put = (namespace: string, name: string, spec: Spec | undefined): void => policies.changed("CiliumNetworkPolicy", `${namespace}/${name}`, spec && { metadata: { name, namespace, uid: `${namespace}-${name}`, generation: 1 }, spec });
  const state = (namespace: string): string => (policies.effective.get(namespace) ?? []).map(({ name, ...row }) => `${name}:${draftPolicy({ name, ...row }).map(({ rules, enforces }) => `${rules.length}/${[...enforces].join("+")}`).join()}`).sort().join(" ");
  put("a", "small", from(4));
  put("b", "other", from(9));
  const others = changes.length;
  put("a", "large", from(11, 1));
  put("a", "medium", from(6, 2));
  assert.deepEqual([state("a"), state("b")], ["large:0/ingress+egress medium:1/ingress+egress small:1/ingress+egress", "other:1/ingress+egress"], "it closes what it closes and allows nothing");
  assert.deepEqual(changes.slice(others), ["a", "a"]);
  const entry = policies.get("CiliumNetworkPolicy:a/large") ?? assert.fail();
  const status = policyStatus(entry, { endpoints: 1, nodes: [node("n", "enforced")] }, T1);
  assert.deepEqual(words(status), ["Enforced False CapacityExceeded", "Ready False CapacityExceeded", "Valid True Valid"]);
  assert.match(status.conditions?.[0]?.message ?? "", /11 blocks of addresses; the policies of namespace a ask for more than 20 blocks, and may have 10 and 10/);
  assert.ok(transitions(undefined, status).some(({ severity, reason }) => severity === "Warning" && reason === "CapacityExceeded"));
  told.length = 0;
  put("a", "large", from(5, 1));
  assert.equal(state("a"), "large:1/ingress+egress medium:0/ingress+egress small:1/ingress+egress", "now another is the largest");
  assert.deepEqual([...new Set(told)].sort(), ["CiliumNetworkPolicy:a/large", "CiliumNetworkPolicy:a/medium"]);
  put("a", "small", undefined);
  assert.equal(state("a"), "large:1/ingress+egress medium:0/ingress+egress");
  put("a", "large", undefined);
  assert.equal(state("a"), "medium:1/ingress+egress");
  assert.equal(policies.get("CiliumNetworkPolicy:a/medium")?.refusal, undefined);
});

test("blocks of groups, times their exceptions, are counted before anything is made of them", () => {
  const { policies } = book();
  policies.groupChanged("g", { labels: {}, cidrs: Array.from({ length: 20_000 }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`), problems: [] });
  const except = Array.from({ length: 100 }, (_, at) => `10.0.0.${at}/32`);
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, ingress: [{ fromCIDRSet: Array.from({ length: 500 }, () => ({ cidrGroupRef: "g", except })) }] }, 1));
  assert.deepEqual(policies.get("CiliumNetworkPolicy:ns/p")?.problems, []);
  assert.match(policies.get("CiliumNetworkPolicy:ns/p")?.refusal ?? "", /1010000000 blocks of addresses; .* may have 65536 and 65536/);
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, ingress: [{ fromCIDRSet: [{ cidrGroupRef: "g" }, { cidrGroupRef: "g" }, { cidrGroupRef: "g" }] }] }, 2));
  assert.equal(policies.get("CiliumNetworkPolicy:ns/p")?.refusal, undefined, "three groups of the most that one can have");
  const ports = Array.from({ length: 40 }, (_, at) => ({ port: String(at + 1), protocol: "TCP" as const }));
  const many = Array.from({ length: 40 }, (_, at) => ({ fromEndpoints: Array.from({ length: 50 }, () => ({ matchLabels: { at: String(at) } })), toPorts: [{ ports }] }));
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, ingress: many }, 3));
  assert.match(policies.get("CiliumNetworkPolicy:ns/p")?.refusal ?? "", /it asks for 80000 rules/);
  assert.ok(NAMESPACE_QUOTA.rules < 80_000);
  policies.changed("NetworkPolicy", "ns/n", { metadata: { name: "n", namespace: "ns", uid: "n", generation: 1 }, spec: { podSelector: {}, egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: Array.from({ length: 70_000 }, (_, at) => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}/32`) } }] }] } });
  const left = policies.effective.get("ns")?.find(({ kind }) => kind === "NetworkPolicy") ?? assert.fail();
  assert.deepEqual(draftPolicy(left).map(({ rules, enforces }) => [rules.length, [...enforces]]), [[0, ["ingress", "egress"]]]);
});

test("a port without a protocol counts as its three, and a range as the prefixes that hold it", () => {
  const { policies } = book();
  const refusalOf = (ports: readonly { port: string; endPort?: number; protocol?: "TCP" }[], peers: number): string | undefined => {
    generation++;
    const fromEndpoints = Array.from({ length: peers / 10 }, (_, at) => ({ matchLabels: { at: String(at) } }));
    const ingress = Array.from({ length: 10 }, () => ({ fromEndpoints, toPorts: [{ ports: [...ports] }] }));
    policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, ingress }, generation));
    assert.deepEqual(policies.get("CiliumNetworkPolicy:ns/p")?.problems, []);
    return policies.get("CiliumNetworkPolicy:ns/p")?.refusal;
  };
  let generation = 0;
  const ports = Array.from({ length: 40 }, (_, at) => ({ port: String(at + 1) }));
  assert.match(refusalOf(ports, 600) ?? "", /it asks for 72000 rules/);
  assert.equal(refusalOf(ports.map((port) => ({ ...port, protocol: "TCP" as const })), 600), undefined);
  assert.match(refusalOf([{ port: "1", endPort: 65_534, protocol: "TCP" }], 2200) ?? "", /it asks for 66000 rules/);
  assert.equal(refusalOf([{ port: "1024", endPort: 65_535, protocol: "TCP" }], 2200), undefined);
});

test("of a policy that is left out the directions that it denies in are closed, whatever enableDefaultDeny says, and it says so", () => {
  const policies = new PolicyBook(validator, { policiesChanged: () => undefined, policyChanged: () => undefined }, new PolicyQuota({ rules: 10, blocks: 10 }));
  policies.groupChanged("bad", { labels: {}, cidrs: ["10.0.0.0/24"], problems: [] });
  const open = { ingress: false, egress: false };
  const list: Spec = { endpointSelector: {}, enableDefaultDeny: open, ingress: [{ fromCIDR: ["10.9.0.0/16"] }], egressDeny: [{ toCIDRSet: [{ cidrGroupRef: "bad" }] }] };
  policies.changed("CiliumNetworkPolicy", "ns/p", object(list, 1));
  const enforced = (): unknown => policies.effective.get("ns")?.flatMap((row) => draftPolicy(row)).map(({ rules, enforces }) => [rules.length, [...enforces]]);
  assert.deepEqual(enforced(), [[2, []]], "with room for it, it closes nothing");
  policies.groupChanged("bad", { labels: {}, cidrs: Array.from({ length: 11 }, (_, at) => `10.0.${at}.0/24`), problems: [] });
  assert.deepEqual(enforced(), [[0, ["egress"]]]);
  assert.match(policies.get("CiliumNetworkPolicy:ns/p")?.refusal ?? "", /It allows and denies nothing, and closes the directions that it closed and, whatever enableDefaultDeny says, those that it denied in: what other policies allow there passes/);
  policies.groupChanged("bad", { labels: {}, cidrs: ["10.0.0.0/24"], problems: [] });
  assert.deepEqual(enforced(), [[2, []]]);
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, enableDefaultDeny: open, ingress: [{ fromCIDR: Array.from({ length: 11 }, (_, at) => `10.0.${at}.0/24`) }], egressDeny: [] }, 2));
  assert.deepEqual(enforced(), [[0, []]], "no denial is left out");
});

test("a policy that only watches says so: its nodes judge by it, nothing is enforced, it is ready", () => {
  const { policies } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object(GOOD, 4));
  const entry = policies.get("CiliumNetworkPolicy:ns/p") ?? assert.fail();
  const of = (standing: NodeStanding["standing"], isWhole = true): PolicyStatus => policyStatus(entry, { endpoints: 1, nodes: [node("a", standing)], audited: { paths: ["spec"], isWhole } }, T1);
  assert.deepEqual(words(of("enforced")), ["Audit True Audit", "Enforced False Audited", "Ready True Enforced", "Valid True Valid"]);
  assert.equal(of("enforced").enforced, "audit 1/1");
  assert.deepEqual(words(of("pending")), ["Audit True Audit", "Enforced False Pending", "Ready False Pending", "Valid True Valid"]);
  assert.deepEqual(words(of("enforced", false)).slice(0, 2), ["Audit True Audit", "Enforced True Enforced"]);
  assert.deepEqual(transitions(undefined, of("enforced")).map(({ severity, reason }) => `${severity} ${reason}`), ["Normal Valid", "Normal Audited"]);
});

test("the annotation of a NetworkPolicy says whether it is enforced; a word that is none weakens nothing and is told", () => {
  const { policies } = book();
  const change = (text: string) => policies.changed("NetworkPolicy", "ns/n", { metadata: { namespace: "ns", name: "n", uid: "n", generation: 1, annotations: { "cilium.io/enforcement": text } }, spec: { podSelector: {} } });
  const now = () => (policies.effective.get("ns")?.[0] as { readonly enforcement?: string } | undefined)?.enforcement;
  change("Audit");
  assert.equal(now(), "Audit");
  change("Off");
  assert.deepEqual([policies.effective.get("ns")?.length, now()], [1, undefined]);
  assert.match(policies.get("NetworkPolicy:ns/n")?.problems[0]?.message ?? "", /Enforce, Audit/);
  change("Enforce");
  assert.equal(now(), "Enforce");
});

test("by a label of single pods a policy of one namespace means pods of namespaces that it names, or it is left out and closes", () => {
  const { policies } = book();
  const byPod = { "statefulset.kubernetes.io/pod-name": "p-0" };
  const everywhere = { key: "io.kubernetes.pod.namespace", operator: "Exists" as const };
  const refusalOf = (spec: Spec): string | undefined => {
    policies.changed("CiliumNetworkPolicy", "ns/p", object(spec, (generation += 1)));
    return policies.get("CiliumNetworkPolicy:ns/p")?.refusal;
  };
  let generation = 0;
  assert.match(refusalOf({ endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: byPod, matchExpressions: [everywhere] }] }] }) ?? "", /by statefulset\.kubernetes\.io\/pod-name it means pods of namespaces that it does not name/);
  assert.deepEqual(policies.effective.get("ns")?.flatMap((row) => draftPolicy(row)).map(({ rules, enforces }) => [rules.length, [...enforces]]), [[0, ["ingress"]]]);
  const ofNamespaces = "k8s:io.cilium.k8s.namespace.labels.";
  for (const matchExpressions of [
    [{ key: `${ofNamespaces}pod-security.kubernetes.io/enforce`, operator: "In" as const, values: ["baseline", "privileged", "restricted"] }],
    [{ key: `${ofNamespaces}team`, operator: "In" as const, values: ["a"] }],
    [{ key: `${ofNamespaces}kubernetes.io/metadata.name`, operator: "NotIn" as const, values: ["ns"] }, { key: `${ofNamespaces}team`, operator: "In" as const, values: ["a"] }],
  ]) assert.match(refusalOf({ endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: byPod, matchExpressions }] }] }) ?? "", /does not name/, "labels may be of every namespace");
  for (const spec of [
    { endpointSelector: { matchLabels: byPod }, ingress: [{ fromEndpoints: [{ matchLabels: byPod }] }] },
    { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: { ...byPod, "k8s:io.kubernetes.pod.namespace": "other" } }] }] },
    { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: { ...byPod, "io.kubernetes.pod.namespace": "other" } }] }] },
    { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: byPod, matchExpressions: [{ key: `${ofNamespaces}kubernetes.io/metadata.name`, operator: "In" as const, values: ["other", "third"] }] }] }] },
    { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchExpressions: [everywhere] }] }] },
  ]) assert.equal(refusalOf(spec), undefined, JSON.stringify(spec));
  policies.changed("NetworkPolicy", "ns/n", { metadata: { name: "n", namespace: "ns", uid: "n", generation: 1 }, spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: byPod }, namespaceSelector: {} }] }] } });
  assert.match(policies.get("NetworkPolicy:ns/n")?.refusal ?? "", /Name the namespaces/);
  policies.changed("NetworkPolicy", "ns/n", { metadata: { name: "n", namespace: "ns", uid: "n", generation: 2 }, spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: byPod }, namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "other" } } }] }] } });
  assert.equal(policies.get("NetworkPolicy:ns/n")?.refusal, undefined);
  policies.changed("CiliumClusterwideNetworkPolicy", "w", { metadata: { name: "w", uid: "w", generation: 1 }, spec: { endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: byPod }] }] } });
  assert.equal(policies.get("CiliumClusterwideNetworkPolicy:w")?.refusal, undefined, "who may write those answers for the cluster");
});

test("nodes that a policy names by their labels are their addresses, and follow them; what no node has is told", () => {
  const { policies } = book();
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, egress: [{ toNodes: [{ matchLabels: { zone: "a" } }] }] } as Spec, 1));
  const peers = () => (policies.effective.get("ns") ?? []).flatMap((row) => draftPolicy(row)).flatMap(({ selectors }) => [...selectors.values()]);
  const said = () => policies.get("CiliumNetworkPolicy:ns/p")?.unresolved?.map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual([peers(), said()], [[], ["spec.egress[0].toNodes[0]: no Node has these labels: it means nobody"]]);
  const node = { uid: "n", labels: { zone: "a" }, addresses: ["192.168.0.2", "fd00::2"], podCidrs: ["10.1.0.0/16"] };
  policies.nodeChanged("n", nodePeer(node, ["192.168.0.2", "10.1.0.1", "10.9.0.1", "nonsense"]));
  assert.deepEqual(peers(), [{ kind: "cidrs", scopes: ["nodes"], blocks: ["10.1.0.1/32", "192.168.0.2/32", "fd00::2/128"].map((cidr) => ({ cidr, except: [] })) }], "a router's address is believed inside the node's pod CIDRs only");
  assert.deepEqual(said(), []);
  policies.nodeChanged("n", nodePeer({ ...node, labels: { zone: "b" } }, []));
  assert.deepEqual(peers(), []);
  policies.changed("ClusterNetworkPolicy", "c", { metadata: { name: "c", uid: "c", generation: 1 }, spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, egress: [{ action: "Deny", to: [{ nodes: { matchLabels: { zone: "b" } } }, { nodes: { matchLabels: { zone: "c" } } }] }] } });
  assert.deepEqual([...draftPolicy(policies.effective.get("")?.[0] ?? assert.fail())[0]?.selectors.values() ?? []], [{ kind: "cidrs", scopes: ["nodes"], blocks: [{ cidr: "192.168.0.2/32", except: [] }, { cidr: "fd00::2/128", except: [] }] }]);
  assert.deepEqual(policies.get("ClusterNetworkPolicy:c")?.unresolved?.map(({ path }) => path), ["spec.egress[0].to[1].nodes"]);
});

test("a service that a policy names is its pods by their labels, or where its endpoints are; both are followed, and what means nobody is told", () => {
  const { policies } = book();
  const services = new ServiceBook((...change) => policies.serviceChanged(...change));
  const service = (selector?: Record<string, string>) => decodeService({ metadata: { name: "web", namespace: "shop", labels: { tier: "x" } }, ...(selector === undefined ? {} : { spec: { selector } }) });
  const slice = (...addresses: string[]) => decodeSlice({ metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } }, endpoints: [{ addresses }] });
  const peers = () => (policies.effective.get("ns") ?? []).flatMap((row) => draftPolicy(row)).flatMap(({ selectors }) => [...selectors.values()]);
  const said = () => policies.get("CiliumNetworkPolicy:ns/p")?.unresolved?.map(({ path, message }) => `${path}: ${message}`);
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, egress: [{ toServices: [{ k8sService: { serviceName: "web", namespace: "shop" } }] }] } as Spec, 1));
  assert.deepEqual([peers(), said()], [[], ["spec.egress[0].toServices[0]: there is no Service web: it means nobody"]]);
  services.sliceChanged("shop/web-1", slice("192.0.2.7", "nonsense"), undefined);
  services.serviceChanged("shop/web", service({ app: "web" }));
  const ofPods = [{ kind: "labels", requirements: [{ key: "k8s:app", operator: "In", values: ["web"] }, { key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: ["shop"] }] }];
  assert.deepEqual([peers(), said()], [ofPods, []], "its pods have addresses, which count for nothing");
  services.serviceChanged("shop/web", service());
  const at = (cidr: string) => [{ kind: "cidrs", scopes: ["world", "nodes"], blocks: [{ cidr, except: [] }] }];
  assert.deepEqual([peers(), said()], [at("192.0.2.7/32"), []]);
  services.sliceChanged("shop/web-1", slice("2001:db8::7"), slice("192.0.2.7"));
  assert.deepEqual(peers(), at("2001:db8::7/128"));
  services.sliceChanged("shop/web-1", undefined, slice("2001:db8::7"));
  assert.deepEqual([peers(), said()], [[], ["spec.egress[0].toServices[0]: Service shop/web selects no pods and has no endpoints: it means nobody"]]);
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, egress: [{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { tier: "x" } } } }] }] } as Spec, 2));
  assert.deepEqual(said(), ["spec.egress[0].toServices[0]: no Service has these labels: it means nobody"], "of the policy's own namespace");
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, egress: [{ toServices: [{ k8sServiceSelector: { namespace: "shop", selector: { matchLabels: { tier: "x" } } } }] }] } as Spec, 3));
  services.serviceChanged("shop/web", service({ app: "web" }));
  assert.deepEqual([peers(), said()], [ofPods, []]);
  services.serviceChanged("shop/web", undefined);
  assert.deepEqual([peers(), said()], [[], ["spec.egress[0].toServices[0]: no Service has these labels: it means nobody"]]);
});

test("services count in what the policies of a namespace may ask for", () => {
  const policies = new PolicyBook(validator, { policiesChanged: () => undefined, policyChanged: () => undefined }, new PolicyQuota({ rules: 10, blocks: 10 }));
  policies.changed("CiliumNetworkPolicy", "ns/p", object({ endpointSelector: {}, egress: [{ toServices: [{ k8sServiceSelector: { selector: {} } }] }] } as Spec, 1));
  const refusal = (): string => policies.get("CiliumNetworkPolicy:ns/p")?.refusal ?? "";
  for (let at = 0; at < 10; at++) policies.serviceChanged("ns", `s${at}`, { labels: {}, selector: { app: `a${at}` }, addresses: [] });
  assert.equal(refusal(), "");
  policies.serviceChanged("ns", "s10", { labels: {}, selector: { app: "a10" }, addresses: [] });
  assert.match(refusal(), /asks for 11 rules/);
  policies.serviceChanged("ns", "s10", { labels: {}, selector: undefined, addresses: Array.from({ length: 11 }, (_, index) => `192.0.2.${index}`) });
  assert.match(refusal(), /11 blocks/);
  policies.serviceChanged("ns", "s10", undefined);
  assert.equal(refusal(), "");
});
