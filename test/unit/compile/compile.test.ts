import assert from "node:assert/strict";
import { test } from "node:test";
import { ANY_PORT } from "../../../src/compile/draft.ts";
import { compileNode, compileSubject, maySelect, peerSelector, plainNumbers, selects, subjectSelector } from "../../../src/compile/index.ts";
import { draftPolicy } from "../../../src/compile/policy.ts";
import { portRange } from "../../../src/compile/ports.ts";
import { identityLabels } from "../../../src/model/index.ts";
import type { Labels, PolicyRow, Snapshot } from "../../../src/model/index.ts";

const routing = { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } as const;

function labels(namespace: string, own: Record<string, string>): Labels {
  return identityLabels({ metadata: { name: "p", namespace, labels: own } }, { metadata: { name: namespace, labels: { team: namespace } } });
}

function row(uid: string, spec: unknown, namespace = "ns", generation = 1): PolicyRow {
  return { kind: "CiliumNetworkPolicy", namespace, name: `policy-${uid}`, uid, generation, spec } as PolicyRow;
}

function snapshot(identities: Record<number, Labels>, policies: readonly PolicyRow[], nodes: Record<string, number[]> = { n1: Object.keys(identities).map(Number) }): Snapshot {
  return {
    identities: new Map(Object.entries(identities).map(([number, set]) => [Number(number), set])),
    policies: Map.groupBy(policies, (policy) => policy.namespace),
    subjects: new Map(Object.entries(nodes).map(([node, list]) => [node, new Set(list)])),
  };
}

const API = labels("ns", { app: "api" });
const ARTICLE = row("u1", {
  endpointSelector: { matchLabels: { app: "api" } },
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "frontend" } }], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }],
});

test("the article's policy becomes one rule, one default deny, one selector", () => {
  const state = compileNode(snapshot({ 256: API, 257: labels("ns", { app: "frontend" }) }, [ARTICLE]), "n1", routing);
  const set = state.ruleSets.get(state.subjects.get(256) ?? "");
  assert.equal(set?.rules.length, 1);
  assert.deepEqual(set?.rules[0]?.ports, [{ protocol: 6, port: 8080, prefix: 16 }]);
  assert.equal(set?.egressDefault, undefined);
  assert.deepEqual(state.selectors.get(set?.rules[0]?.peer ?? ""), {
    kind: "labels",
    requirements: [
      { key: "any:app", operator: "In", values: ["frontend"] },
      { key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: ["ns"] },
    ],
  });
  assert.deepEqual(state.ruleNames.get(set?.rules[0]?.id ?? 0)?.path, "spec.ingress[0].toPorts[0]");
  assert.deepEqual(state.ruleNames.get(set?.ingressDefault ?? 0)?.kind, "default-deny");
  assert.deepEqual([...state.policies], [["u1", 1]]);
  const open = state.ruleSets.get(state.subjects.get(257) ?? "");
  assert.deepEqual(open, { ingressDefault: undefined, egressDefault: undefined, rules: [] });
});

test("sections and items: what closes, what allows", () => {
  const compile = (spec: object) => compileSubject(API, draftPolicy(row("u", { endpointSelector: {}, ...spec }))).ruleSet;
  for (const spec of [{ ingress: [] }, { ingress: [{}] }, { ingress: [{ fromEndpoints: [] }] }]) {
    const set = compile(spec);
    assert.notEqual(set.ingressDefault, undefined, JSON.stringify(spec));
    assert.equal(set.egressDefault, undefined);
    assert.deepEqual(set.rules, []);
  }
  const anyPeer = compile({ egress: [{ toPorts: [{ ports: [{ port: "53" }] }] }] });
  assert.deepEqual(anyPeer.rules.map(({ peer, ports }) => [peer, ports]), [[undefined, [6, 17, 132].map((protocol) => ({ protocol, port: 53, prefix: 16 }))]]);
  assert.deepEqual(compile({ ingress: [{ fromEndpoints: [{}] }] }).rules[0]?.ports, [ANY_PORT]);
});

test("a selector means its own namespace unless it names namespaces", () => {
  const here = labels("ns", { app: "a" });
  const there = labels("other", { app: "a" });
  const of = (selector: object) => [here, there].map((set) => selects(peerSelector(selector, "ns"), set));
  assert.deepEqual(of({}), [true, false]);
  assert.deepEqual(of({ matchLabels: { app: "a" } }), [true, false]);
  assert.deepEqual(of({ matchLabels: { "k8s:io.kubernetes.pod.namespace": "other", app: "a" } }), [false, true]);
  assert.deepEqual(of({ matchLabels: { "io.kubernetes.pod.namespace": "other" } }), [false, true]);
  assert.deepEqual(of({ matchExpressions: [{ key: "any:io.kubernetes.pod.namespace", operator: "Exists" }] }), [true, true]);
  assert.deepEqual(of({ matchLabels: { "k8s:io.cilium.k8s.namespace.labels.team": "other" } }), [false, true]);
});

test("no label of a user selects what only the system may say", () => {
  const reserved: Labels = new Map([["reserved:host", ""]]);
  assert.equal(selects(peerSelector({}, "ns"), reserved), false);
  assert.equal(selects(peerSelector({ matchLabels: { host: "" } }, "ns"), reserved), false);
  assert.equal(selects({ kind: "labels", requirements: [{ key: "any:app", operator: "NotIn", values: ["a"] }] }, reserved), false);
  const forged = labels("ns", { "io.kubernetes.pod.namespace": "kube-system", "io.cilium.k8s.policy.serviceaccount": "admin" });
  assert.equal(forged.get("k8s:io.kubernetes.pod.namespace"), "ns");
  assert.equal(forged.get("k8s:io.cilium.k8s.policy.serviceaccount"), "default");
});

test("a NetworkPolicy selects by the labels that a pod itself has, also those whose key the system writes for others", () => {
  const selected = (podSelector: object, own: Record<string, string>): boolean =>
    draftPolicy({ kind: "NetworkPolicy", namespace: "ns", name: "p", uid: "u", generation: 1, spec: { podSelector } }).some(({ subject }) => selects(subject, labels("ns", own)));
  const key = "io.cilium.k8s.policy.cluster";
  for (const [podSelector, own, expected] of [
    [{ matchLabels: { [key]: "x" } }, { [key]: "x" }, true],
    [{ matchLabels: { [key]: "x" } }, { [key]: "y" }, false],
    [{ matchLabels: { [key]: "default" } }, {}, false],
    [{ matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "Exists" }] }, {}, false],
    [{ matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "NotIn", values: ["ns"] }] }, {}, true],
  ] as const) assert.equal(selected(podSelector, own), expected, JSON.stringify([podSelector, own]));
  assert.equal(selects(peerSelector({ matchLabels: { [key]: "x" } }, "ns"), labels("ns", { [key]: "x" })), false, "of ours it is the system's");
});

test("names of JavaScript's own objects are plain labels", () => {
  const set = labels("ns", JSON.parse('{"constructor": "x", "__proto__": "y"}') as Record<string, string>);
  const selector = (text: string) => peerSelector({ matchLabels: JSON.parse(text) as Record<string, string> }, "ns");
  assert.equal(selects(selector('{"constructor": "x"}'), set), true);
  assert.equal(selects(selector('{"__proto__": "y"}'), set), true);
  assert.equal(selects(selector('{"constructor": "x"}'), API), false);
  assert.equal(selects(peerSelector({ matchExpressions: [{ key: "toString", operator: "Exists" }] }, "ns"), API), false);
});

test("the hundredth replica changes nothing; the order of anything changes nothing", () => {
  const policies = [ARTICLE, row("u0", { endpointSelector: {}, egress: [] }), row("u2", { endpointSelector: {}, ingress: [{ fromEndpoints: [{}, { matchLabels: { x: "y" } }] }] })];
  const first = compileNode(snapshot({ 256: API, 300: labels("ns", { app: "b" }) }, policies), "n1", routing);
  const second = compileNode(snapshot({ 300: labels("ns", { app: "b" }), 256: API }, policies.toReversed(), { n1: [300, 256], n2: [256] }), "n1", routing);
  assert.deepEqual(first, second);
});

test("a node gets what runs there alone, and an identity without labels is left out", () => {
  const state = compileNode(snapshot({ 256: API }, [ARTICLE], { n1: [256, 999], n2: [] }), "n1", routing);
  assert.deepEqual([...state.subjects.keys()], [256]);
  assert.equal(compileNode(snapshot({ 256: API }, [ARTICLE], { n1: [256] }), "n2", routing).ruleSets.size, 0);
});

test("a present but empty list selects nobody, an item {} only closes; also after a round trip through JSON", () => {
  for (const direction of ["ingress", "egress"] as const) {
    const side = direction === "ingress" ? "from" : "to";
    for (const item of [{}, ...["Endpoints", "CIDR", "CIDRSet", "Entities"].map((kind) => ({ [`${side}${kind}`]: [] })), { [`${side}Entities`]: ["none"] }]) {
      const wire = JSON.parse(JSON.stringify({ endpointSelector: {}, [direction]: [item] })) as unknown;
      const { ruleSet } = compileSubject(API, draftPolicy(row("u", wire)));
      assert.deepEqual(ruleSet.rules, [], JSON.stringify(item));
      assert.notEqual(ruleSet[`${direction}Default`], undefined);
    }
  }
});

test("a NetworkPolicy: absent and empty lists are everybody and every port", () => {
  const compile = (spec: object) => compileSubject(API, draftPolicy({ ...row("u", { podSelector: {}, ...spec }), kind: "NetworkPolicy" } as PolicyRow)).ruleSet;
  for (const item of [{}, { from: [] }, { ports: [] }, { from: [], ports: [] }]) {
    assert.deepEqual(compile({ ingress: [item] }).rules.map(({ peer, ports }) => [peer, ports]), [[undefined, [ANY_PORT]]], JSON.stringify(item));
  }
  assert.deepEqual(compile({ ingress: [] }).rules, []);
  assert.notEqual(compile({}).ingressDefault, undefined);
  assert.equal(compile({}).egressDefault, undefined);
  assert.notEqual(compile({ egress: [{}] }).egressDefault, undefined);
  const ignored = compile({ policyTypes: ["Ingress"], egress: [{}] });
  assert.deepEqual([ignored.egressDefault, ignored.rules], [undefined, []]);
});

test("an empty selector of a policy for the whole cluster selects every pod and never a node or the world", () => {
  const [draft] = draftPolicy({ ...row("u", { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] }, ""), kind: "CiliumClusterwideNetworkPolicy" } as PolicyRow);
  assert.ok(draft);
  const peers = [...draft.selectors.values()].flatMap((selector) => (selector.kind === "labels" ? [selector] : []));
  for (const selector of [draft.subject, ...peers]) {
    for (const namespace of ["ns", "kube-system"]) assert.equal(selects(selector, labels(namespace, {})), true);
    for (const reserved of ["host", "world", "remote-node", "init", "health"]) assert.equal(selects(selector, new Map([[`reserved:${reserved}`, ""]])), false);
  }
});

test("reserved labels and the cluster's own are no user's to set", () => {
  const forged = labels("ns", { "reserved:host": "", host: "", "io.cilium.k8s.policy.cluster": "other", "io.cilium.k8s.namespace.labels.team": "admins" });
  assert.equal(forged.get("k8s:io.cilium.k8s.policy.cluster"), "default");
  assert.equal(forged.get("k8s:io.cilium.k8s.namespace.labels.team"), "ns");
  assert.equal([...forged.keys()].some((key) => key.startsWith("reserved:") || key === "k8s:io.cilium.k8s.policy.other"), false);
  for (const reserved of ["host", "init", "world"]) assert.equal(selects(peerSelector({ matchLabels: { [`reserved:${reserved}`]: "" } }, "ns"), forged), false);
});

test("of a churning label that an identity does not tell nothing is taken for true, and the node is told where they count", () => {
  const pod = (named: readonly string[], own: Record<string, string> = {}): Labels => identityLabels({ metadata: { name: "p", labels: { app: "a", ...own } } }, { metadata: { name: "ns" } }, named);
  const expressions = (["In", "NotIn", "Exists", "DoesNotExist"] as const).map((operator) => subjectSelector({ matchExpressions: [{ key: "job-name", operator, ...(operator.endsWith("In") ? { values: ["x"] } : {}) }] }, "ns"));
  const verdicts = (labels: Labels) => expressions.map((selector) => selects(selector, labels));
  assert.deepEqual(verdicts(pod([], { "job-name": "x" })), [false, false, false, false]);
  assert.deepEqual(verdicts(pod(["job-name"], { "job-name": "x" })), [true, false, true, false]);
  assert.deepEqual(verdicts(pod(["job-name"])), [false, true, false, true]);
  assert.deepEqual(expressions.map((selector) => [maySelect(selector, pod([])), maySelect(selector, pod(["job-name"]))]), expressions.map(() => [true, false]));
  assert.equal(maySelect(subjectSelector({ matchLabels: { app: "b", "job-name": "x" } }, "ns"), pod([])), false);
  const stateOf = (labels: Labels) => compileNode(snapshot({ 256: labels }, []), "n1", routing);
  assert.deepEqual(stateOf(pod(["job-name"])).named, new Map([["ns", ["job-name"]]]));
  assert.equal("named" in stateOf(pod([])), false);
});

test("a denial by a churning label means also whom it may mean: pods whose identity does not tell of it yet", () => {
  const pod = (named: readonly string[], own: Record<string, string>): Labels => identityLabels({ metadata: { name: "p", labels: own } }, { metadata: { name: "ns" } }, named);
  const peers = [{ matchLabels: { app: "a" }, matchExpressions: [{ key: "job-name", operator: "In", values: ["bad"] }] }];
  const means = (section: string, of: Labels): boolean => draftPolicy(row("u", { endpointSelector: {}, [section]: [{ fromEndpoints: peers }] }))
    .some((draft) => draft.rules.some(({ peer }) => [draft.selectors.get(peer ?? "")].some((selector) => selector?.kind === "labels" && selects(selector, of))));
  for (const [named, own, denied, allowed] of [
    [[], { app: "a", "job-name": "bad" }, true, false],
    [[], { app: "a", "job-name": "good" }, true, false],
    [[], { app: "b", "job-name": "bad" }, false, false],
    [["job-name"], { app: "a", "job-name": "bad" }, true, true],
    [["job-name"], { app: "a", "job-name": "good" }, false, false],
    [["job-name"], { app: "a" }, false, false],
  ] as const) assert.deepEqual([means("ingressDeny", pod(named, own)), means("ingress", pod(named, own))], [denied, allowed], JSON.stringify([named, own]));
  assert.equal(means("ingressDeny", new Map([["reserved:world", ""]])), false);
});

test("policies that only deny leave the rest open, unless another closes the direction", () => {
  const denial = row("u1", { endpointSelector: {}, ingressDeny: [{ fromEntities: ["world"] }], enableDefaultDeny: { ingress: false } });
  const open = compileSubject(API, draftPolicy(denial)).ruleSet.rules;
  assert.deepEqual(open.map(({ verdict, precedence }) => [verdict, precedence]), [["deny", 2000], ["allow", 100]]);
  const closed = compileSubject(API, [denial, ARTICLE].flatMap((one) => draftPolicy(one))).ruleSet.rules;
  assert.deepEqual(closed.map(({ verdict, precedence }) => [verdict, precedence]).sort(), [["allow", 1000], ["deny", 2000]]);
  const idle = compileSubject(API, draftPolicy(row("u2", { endpointSelector: {}, ingress: [{ fromEntities: ["all"] }], enableDefaultDeny: { ingress: false } })));
  assert.deepEqual(idle.ruleSet, { ingressDefault: undefined, egressDefault: undefined, rules: [] });
  assert.deepEqual([...idle.names.values()].map(({ policies }) => policies[0]?.uid), ["u2"], "the node names it, so that it can be acknowledged");
});

test("a range of ports is the fewest prefixes that hold it and nothing else", () => {
  for (const [first, last, most] of [[1, 65535, 16], [0, 65535, 1], [80, 80, 1], [1000, 1999, 7], [32768, 65535, 1], [1, 2, 2]] as const) {
    const matches = portRange(6, first, last);
    const covered = matches.flatMap(({ port, prefix }) => Array.from({ length: 1 << (16 - prefix) }, (_, at) => port + at));
    assert.deepEqual(covered, Array.from({ length: last - first + 1 }, (_, at) => first + at), `${first}-${last}`);
    assert.ok(matches.length <= most, `${first}-${last}: ${matches.length}`);
  }
});

test("policyCIDRMatchMode widens the blocks of Cilium's kinds; a block of IPv6 never means IPv4", () => {
  const scopes = (modes: ("nodes" | "pods")[]) => draftPolicy(row("u", { endpointSelector: {}, egress: [{ toCIDR: ["::/0", "10.1.2.3"] }] }), { cidrMatchMode: new Set(modes) }).flatMap(({ selectors }) => [...selectors.values()]);
  const blocks = [{ cidr: "10.1.2.3/32", except: [] }, { cidr: "::/0", except: ["0.0.0.0/0"] }];
  assert.deepEqual(scopes([]), [{ kind: "cidrs", blocks, scopes: ["world"] }]);
  assert.deepEqual(scopes(["pods", "nodes"]), [{ kind: "cidrs", blocks, scopes: ["world", "nodes", "pods"] }]);
});

test("two rules with one hash get different numbers, which do not depend on the order", () => {
  const uids = collidingUids();
  const rows = uids.map((uid) => row(uid, { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] }));
  const names = (list: readonly PolicyRow[]) => {
    const state = compileNode(snapshot({ 256: API }, list), "n1", routing);
    const ids = [...state.ruleNames].filter(([, name]) => name.kind === "rule").map(([id, name]) => [name.policies[0]?.uid, id] as const);
    const set = state.ruleSets.get(state.subjects.get(256) ?? "");
    assert.ok(set?.rules.every((rule) => state.ruleNames.has(rule.id)));
    return new Map(ids);
  };
  const numbers = names(rows);
  assert.equal(numbers.size, 2);
  assert.equal(new Set(numbers.values()).size, 2);
  assert.deepEqual(new Map([...names(rows.toReversed())].sort()), new Map([...numbers].sort()));
  assert.equal(names(rows.slice(0, 1)).get(uids[0]), plainNumbers(`${uids[0]}/spec.ingress[0]`));
});

/** Birthday search: two uids whose rule keys have one number; about 2^16 tries. */
function collidingUids(): [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const uid = `uid-${i}`;
    const id = plainNumbers(`${uid}/spec.ingress[0]`);
    const other = seen.get(id);
    if (other !== undefined) return [other, uid];
    seen.set(id, uid);
  }
}
