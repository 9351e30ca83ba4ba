import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyMark } from "../../../src/feed/index.ts";
import { identityLabels } from "../../../src/model/index.ts";
import type { Labels, PolicyRow } from "../../../src/model/index.ts";
import type { NodeStates } from "../../../src/operator/node-states.ts";
import type { PolicyEntry } from "../../../src/operator/policies.ts";
import type { AgentRow, EndpointRow, NodeRow, NodeStateRow } from "../../../src/operator/rows.ts";
import { Agents, EndpointCounts, Standings } from "../../../src/operator/standings.ts";

const UID = "u";
const NODES = ["n1", "n2"];
const NAMESPACES = { ns: { labels: {} }, watched: { labels: { "cilium.io/enforcement": "Audit" } } };

function podLabels(namespace: string, named: readonly string[], own: Record<string, string>): Labels {
  return identityLabels({ metadata: { name: "p", labels: own } }, { metadata: { name: namespace } }, named);
}

function entryOf(spec: object, generation = 1): PolicyEntry {
  const effective = { kind: "CiliumNetworkPolicy", namespace: "ns", name: "p", uid: UID, generation, spec } as PolicyRow;
  return { kind: "CiliumNetworkPolicy", object: { metadata: { name: "p" } }, problems: [], effective, unresolved: undefined } as PolicyEntry;
}

const MARK: PolicyMark = { ref: { kind: "CiliumNetworkPolicy", namespace: "ns", name: "p", uid: UID, generation: 1 }, since: 1, removed: false };

/** Every node has acknowledged revision 1. `marks`: what each node was told of the policy. */
function standingsOf(identities: Record<number, Labels>, endpoints: readonly EndpointRow[], enforcement?: "Audit", marks: Readonly<Record<string, PolicyMark>> = { n1: MARK, n2: MARK }): Standings {
  const counts = new EndpointCounts();
  for (const endpoint of endpoints) counts.changed(endpoint, undefined);
  const agents = new Agents();
  for (const node of NODES) agents.changed(node, { node, ready: true, since: "" } satisfies AgentRow, undefined);
  const records = new Map(Object.entries(marks).map(([node, mark]) => [node, { document: { marks: new Map([[UID, mark]]) } }]));
  const nodeStates = { records, holding: () => records.keys(), acknowledged: () => 1, refusal: () => undefined } as unknown as NodeStates;
  const source = <T>(objects: ReadonlyMap<string, T>): never => ({ objects }) as never;
  const labels = new Map(Object.entries(identities).map(([number, set]) => [Number(number), set]));
  return new Standings({ endpoints: counts, labels, nodeStates, nodes: source(new Map(NODES.map((node) => [node, { uid: node, labels: {} } satisfies NodeRow]))), states: source(new Map<string, NodeStateRow>()), namespaces: source(new Map(Object.entries(NAMESPACES))), policyOptions: { cidrMatchMode: new Set(), ...(enforcement === undefined ? {} : { enforcement }) }, agents });
}

const words = (standings: Standings, spec: object): string[] => standings.of(entryOf(spec)).nodes.map(({ node, standing }) => `${node} ${standing}`);
const API = { namespace: "ns", node: "n1", identity: 300 };
const DENY = { endpointSelector: { matchLabels: { app: "api" } }, ingressDeny: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "other", "pod-template-hash": "bad" } }] }] };

test("rules whose peers are named by a churning label wait until these pods, wherever they are, have an identity that tells of it", () => {
  const labels = { 300: podLabels("ns", [], { app: "api" }), 301: podLabels("other", [], { app: "x" }), 302: podLabels("other", ["pod-template-hash"], { app: "x", "pod-template-hash": "bad" }), 303: podLabels("third", [], { app: "x" }) };
  const untold = { namespace: "other", node: "n2", identity: 301 };
  const before = standingsOf(labels, [API, untold]);
  assert.deepEqual(words(before, DENY), ["n1 pending"]);
  assert.match(before.of(entryOf(DENY)).nodes[0]?.message ?? "", /peers wait for an identity with the labels that the policy names: pods on n2/);
  const { ingressDeny, ...rest } = DENY;
  assert.deepEqual(words(before, { ...rest, ingress: ingressDeny }), ["n1 pending"]);
  assert.deepEqual(words(standingsOf(labels, [API, { ...untold, identity: 302 }]), DENY), ["n1 enforced"], "they have moved");
  assert.deepEqual(words(standingsOf(labels, [API, { ...untold, namespace: "third", identity: 303 }]), DENY), ["n1 enforced"], "pods that it cannot mean");
  assert.deepEqual(words(before, { endpointSelector: { matchLabels: { app: "api" } }, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: "x" } }] }] }), ["n1 enforced"]);
});

test("a policy of nodes counts the nodes that it selects, and no pod", () => {
  const found = standingsOf({ 300: podLabels("ns", [], { app: "api" }) }, [API]).of(entryOf({ nodeSelector: {}, ingress: [] }));
  assert.deepEqual([found.endpoints, found.nodes.map(({ node, standing }) => `${node} ${standing}`), found.unselected], [0, ["n1 enforced", "n2 enforced"], []]);
  const none = standingsOf({ 300: podLabels("ns", [], { app: "api" }) }, [API]).of(entryOf({ nodeSelector: { matchLabels: { role: "none" } }, ingress: [] }));
  assert.deepEqual([none.nodes, none.unselected], [[], ["spec"]]);
});

test("who only watches: the policy says it, else its namespace, else the cluster; a clusterwide policy is no namespace's to weaken", () => {
  const audited = (namespace: string, spec: object, mode?: "Audit") => {
    const entry = entryOf({ endpointSelector: {}, ...spec });
    const kind = namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy";
    return standingsOf({}, [], mode).of({ ...entry, kind, effective: { ...entry.effective, kind, namespace } as PolicyRow }).audited?.isWhole ?? false;
  };
  assert.deepEqual(["ns", "watched", ""].map((namespace) => audited(namespace, {})), [false, true, false]);
  assert.deepEqual(["ns", "watched", ""].map((namespace) => audited(namespace, {}, "Audit")), [true, true, true]);
  assert.deepEqual(["ns", "watched", ""].map((namespace) => audited(namespace, { enforcement: "Enforce" }, "Audit")), [false, false, false]);
  assert.deepEqual(["ns", "watched", ""].map((namespace) => audited(namespace, { enforcement: "Audit" })), [true, true, true]);
});

test("a node that an edit no longer selects counts until it has acknowledged that: before its state is written, and after", () => {
  const labels = { 300: podLabels("ns", [], { app: "api" }) };
  const nobody = entryOf({ endpointSelector: { matchLabels: { app: "nobody" } } }, 2);
  const told = (marks: Readonly<Record<string, PolicyMark>>): readonly string[] => standingsOf(labels, [API], undefined, marks).of(nobody).nodes.map(({ node, standing, message }) => `${node} ${standing}: ${message}`);
  assert.deepEqual(told({ n1: MARK }), ["n1 pending: not sent yet"]);
  assert.deepEqual(told({ n1: { ...MARK, since: 2, removed: true } }), ["n1 pending: applied revision 1, needs 2"]);
  assert.deepEqual(told({ n1: { ...MARK, removed: true } }), []);
  assert.deepEqual(told({}), []);
  assert.deepEqual(told({ n1: { ...MARK, ref: { ...MARK.ref, generation: 2 } } }), [], "a pod that it selected has just gone");
});
