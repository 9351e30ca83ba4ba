/**
 * The state does not depend on the way to it: any history of events that ends in a world gives the node states that
 * this world gives, although only the nodes that were named as changed are compiled again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Validator } from "../../../src/api/index.ts";
import type { PolicyKind } from "../../../src/api/index.ts";
import { HOST_IDENTITY } from "../../../src/compile/index.ts";
import { identityLabels, sortedLabels } from "../../../src/model/index.ts";
import type { PolicyRow } from "../../../src/model/index.ts";
import { Cluster } from "../../../src/operator/cluster.ts";
import { PolicyQuota } from "../../../src/operator/policy-quota.ts";
import type { PolicyObject } from "../../../src/operator/policies.ts";
import { decodePod } from "../../../src/operator/rows.ts";
import { Replica, placeOf } from "../../support/replica.ts";
import type { Change } from "../../support/replica.ts";

const NODES = ["n1", "n2"];
/** So small that some of these policies are left out. */
const QUOTA = { rules: 3, blocks: 4 };
const validator = new Validator();
const EMPTY = new Replica({ validator });

const namespace = fc.constantFrom("red", "blue");
const app = fc.constantFrom("a", "b");
/** A label of one rollout; some policies name it, and then it is part of the identity of the pods that they reach. */
const hash = fc.constantFrom<string | undefined>("x", "y", undefined);
const hashLabels = (value: string | undefined): Record<string, string> => (value === undefined ? {} : { "pod-template-hash": value });
const pod = fc.record({ key: fc.constantFrom("p1", "p2", "p3", "p4"), namespace, node: fc.constantFrom(...NODES), app, hash, gone: fc.boolean() }).map(({ key, namespace: ns, node, app: name, hash: of, gone }): Change => {
  const row = decodePod({ metadata: { name: key, namespace: ns, labels: { app: name, ...hashLabels(of) } }, spec: { nodeName: node } });
  return { table: "pods", key: `${ns}/${key}`, value: gone ? undefined : row };
});
const team = fc.constantFrom<string | undefined>("x", "y", undefined);
const teamLabels = (value: string | undefined): Record<string, string> => (value === undefined ? {} : { team: value });
const space = fc.record({ key: namespace, team, gone: fc.boolean() }).map(({ key, team: value, gone }): Change => ({ table: "namespaces", key, value: gone ? undefined : { labels: teamLabels(value) } }));
const identity = fc
  .record({ number: fc.integer({ min: 256, max: 262 }), namespace, app, team, hash, isNamed: fc.boolean(), gone: fc.boolean() })
  .map(({ number, namespace: ns, app: name, team: value, hash: of, isNamed, gone }): Change => {
    const base = identityLabels({ metadata: { name: "x", labels: { app: name, ...hashLabels(of) } } }, { metadata: { name: ns } }, isNamed ? ["pod-template-hash"] : []);
    const labels = sortedLabels([...base, ...Object.entries(teamLabels(value)).map(([key, text]) => [`k8s:io.cilium.k8s.namespace.labels.${key}`, text] as const)]);
    return { table: "identities", key: String(number), value: gone ? undefined : { number, labels, uid: "" } };
  });
const kind = fc.constantFrom<PolicyKind>("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy");
const groupName = fc.constantFrom("g1", "g2");
const group = fc.record({ key: groupName, size: fc.nat(4), gone: fc.boolean() }).map(({ key, size, gone }): Change => {
  const cidrs = Array.from({ length: size }, (_, at) => `10.${at}.0.0/16`);
  return { table: "groups", key, value: gone ? undefined : { labels: { size: String(size % 2) }, cidrs, problems: [] } };
});
const zone = fc.constantFrom("a", "b");
const nodePeer = fc.record({ key: fc.constantFrom(...NODES), zone, gone: fc.boolean() }).map(({ key, zone: of, gone }): Change => ({ table: "nodes", key, value: gone ? undefined : { labels: { zone: of }, addresses: [key === "n1" ? "192.0.2.1" : "192.0.2.2"] } }));
const serviceName = fc.constantFrom("web", "db");
const service = fc.record({ namespace, name: serviceName, app: fc.option(app, { nil: undefined }), zone, gone: fc.boolean() }).map(({ namespace: ns, name, app: of, zone: label, gone }): Change => ({ table: "services", key: `${ns}/${name}`, value: gone ? undefined : { labels: { zone: label }, selector: of === undefined ? undefined : { app: of } } }));
const slice = fc.record({ namespace, name: serviceName, key: fc.constantFrom("s1", "s2"), last: fc.constantFrom(7, 8), gone: fc.boolean() }).map(({ namespace: ns, name, key, last, gone }): Change => ({ table: "slices", key: `${ns}/${key}`, value: gone ? undefined : { service: `${ns}/${name}`, addresses: [`198.51.100.${last}`] } }));
const referring = fc.oneof(
  fc.record({ toNodes: zone.map((of) => [{ matchLabels: { zone: of } }]) }),
  fc.record({ toServices: fc.record({ serviceName }).map((k8sService) => [{ k8sService }]) }),
  fc.record({ toServices: zone.map((of) => [{ k8sServiceSelector: { selector: { matchLabels: { zone: of } } } }]) }),
);

/** By name or by label; some of what they name is never there. */
const ofGroups = fc.oneof(groupName.map((cidrGroupRef) => ({ cidrGroupRef })), fc.constantFrom("0", "1").map((size) => ({ cidrGroupSelector: { matchLabels: { size } } })));
const policy = fc.record({ kind, key: fc.constantFrom("r", "s"), namespace, app, peer: app, hash, denies: fc.boolean(), stages: fc.option(fc.constantFrom("r", "s"), { nil: undefined, freq: 3 }), egress: fc.option(fc.oneof(ofGroups.map((set) => ({ toCIDRSet: [set] })), referring), { nil: undefined }), gone: fc.boolean() }).map(({ kind: of, key, namespace: ns, app: name, peer, hash: named, denies, stages, egress, gone }): Change => {
  const isNative = of === "NetworkPolicy";
  const labels = (value: string) => ({ matchLabels: { app: value, ...hashLabels(named) } });
  const spec = isNative
    ? { podSelector: labels(name), ingress: [{ from: [{ podSelector: labels(peer) }] }] }
    : { endpointSelector: labels(name), ...(stages === undefined || stages === key ? {} : { enforcement: "Audit", stages }), [denies ? "ingressDeny" : "ingress"]: [{ fromEndpoints: [labels(peer)] }], ...(egress === undefined ? {} : { [denies ? "egress" : "egressDeny"]: [egress] }) };
  const isWide = of === "CiliumClusterwideNetworkPolicy";
  const metadata = { name: key, uid: `uid-${of}-${isWide ? "" : ns}-${key}`, generation: 1, ...(isWide ? {} : { namespace: ns }) };
  return { table: "policies", kind: of, key: isWide ? key : `${ns}/${key}`, value: gone ? undefined : ({ metadata, spec } as PolicyObject) };
});
const hostPolicy = fc.record({ key: fc.constantFrom("h", "i"), zone: fc.option(zone, { nil: undefined }), denies: fc.boolean(), gone: fc.boolean() }).map(({ key, zone: of, denies, gone }): Change => {
  const spec = { nodeSelector: of === undefined ? {} : { matchLabels: { zone: of } }, [denies ? "ingressDeny" : "ingress"]: [{ fromEntities: ["world"] }] };
  return { table: "policies", kind: "CiliumClusterwideNetworkPolicy", key, value: gone ? undefined : ({ metadata: { name: key, uid: `uid-host-${key}`, generation: 1 }, spec } as PolicyObject) };
});
const change = fc.oneof(pod, space, identity, policy, hostPolicy, group, nodePeer, service, slice);

test("any history gives the state of the world it ends in", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), fc.infiniteStream(fc.nat(1000)), (history, flushes, order) => {
      const lived = new Replica({ quota: new PolicyQuota(QUOTA), validator });
      for (const [index, one] of history.entries()) {
        lived.apply(one);
        // Squashed and split: compiled after some changes, after others not.
        if (flushes[index] === true) lived.compile();
      }
      lived.compile();
      const world = new Map(history.map((one) => [placeOf(one), one]));
      const fresh = new Replica({ quota: new PolicyQuota(QUOTA), validator });
      const shuffled = [...world.values()].map((one) => ({ one, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at);
      for (const { one } of shuffled) if (one.value !== undefined) fresh.apply(one);
      fresh.compile();
      for (const node of NODES) {
        assert.deepEqual(lived.states.get(node) ?? EMPTY.wholesale(node), fresh.wholesale(node));
      }
    }),
    { numRuns: 1500 },
  );
});

test("at every moment the state is what the objects of then give wholesale; a history undone in reverse leaves nothing", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.constantFrom("each", "some", "end"), fc.array(fc.boolean(), { minLength: 80, maxLength: 80 }), (history, flushed, some) => {
      const replica = new Replica({ quota: new PolicyQuota(QUOTA), validator });
      const known = new Map<string, Change>();
      const undo: Change[] = [];
      for (const one of history) {
        undo.unshift(known.get(placeOf(one)) ?? ({ ...one, value: undefined } as Change));
        known.set(placeOf(one), one);
      }
      for (const [index, one] of [...history, ...undo].entries()) {
        replica.apply(one);
        if (index === history.length - 1 || flushed === "each" || (flushed === "some" && some[index] === true)) assertWholesale(replica);
      }
      assertWholesale(replica);
      for (const node of NODES) assert.deepEqual(replica.states.get(node) ?? EMPTY.wholesale(node), EMPTY.wholesale(node));
    }),
    { numRuns: 400 },
  );
});

function assertWholesale(replica: Replica): void {
  replica.compile();
  for (const node of NODES) assert.deepEqual(replica.states.get(node) ?? EMPTY.wholesale(node), replica.wholesale(node));
}

test("a pod start with a known identity changes no node state at all", () => {
  const replica = new Replica({ validator, numbers: true });
  const start = (key: string, node: string, app: string): readonly string[] => {
    replica.apply({ table: "pods", key: `red/${key}`, value: decodePod({ metadata: { name: key, namespace: "red", labels: { app } }, spec: { nodeName: node } }) });
    return replica.compile();
  };
  const spec = { podSelector: { matchLabels: { app: "a" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "b" } } }] }] };
  replica.apply({ table: "namespaces", key: "red", value: { labels: {} } });
  replica.apply({ table: "policies", kind: "NetworkPolicy", key: "red/r", value: { metadata: { name: "r", namespace: "red", uid: "u", generation: 1 }, spec } });
  assert.deepEqual(start("first", "n1", "a"), ["n1"]);
  const before = replica.states.get("n1");
  assert.deepEqual(start("second", "n1", "a"), []);
  assert.deepEqual(start("peer", "n2", "b"), ["n2"], "a peer elsewhere, of an identity that is new, changes its own node alone");
  assert.deepEqual(start("another peer", "n2", "b"), []);
  assert.equal(replica.states.get("n1"), before);
  replica.apply({ table: "pods", key: "red/second", value: undefined });
  assert.deepEqual(replica.compile(), [], "nor does its end, as long as another has its labels");
});

test("a policy of nodes names the nodes that it selects, and a change of a Node's labels its own alone", () => {
  const replica = new Replica({ validator });
  const node = (name: string, of: string): void => replica.apply({ table: "nodes", key: name, value: { labels: { zone: of }, addresses: [] } });
  const policy = (of: string | undefined): readonly string[] => {
    const spec = { nodeSelector: { matchLabels: { zone: of ?? "" } }, ingress: [{ fromEntities: ["cluster" as const] }] };
    replica.apply({ table: "policies", kind: "CiliumClusterwideNetworkPolicy", key: "h", value: of === undefined ? undefined : { metadata: { name: "h", uid: "h", generation: of.length }, spec } });
    return replica.compile();
  };
  node("n1", "a");
  node("n2", "bb");
  replica.compile();
  assert.deepEqual(policy("a"), ["n1"]);
  assert.deepEqual([...(replica.states.get("n1")?.subjects.keys() ?? [])], [HOST_IDENTITY]);
  assert.deepEqual(policy("bb"), ["n1", "n2"], "whom it selected before and whom it selects now");
  node("n1", "bb");
  assert.deepEqual(replica.compile(), ["n1"]);
  node("n1", "bb");
  assert.deepEqual([...replica.dirty], []);
  assert.deepEqual(policy(undefined), ["n1", "n2"]);
});

test("two numbers for one set of labels: the lower is used, and the other when that goes", () => {
  const replica = new Replica({ quota: new PolicyQuota(QUOTA), validator });
  const row = decodePod({ metadata: { name: "p", namespace: "red", labels: { app: "a" } }, spec: { nodeName: "n1" } });
  assert.ok(row);
  const identityOf = (number: number): Change => ({ table: "identities", key: String(number), value: { number, labels: row.labels, uid: "" } });
  const subjects = (): number[] => {
    replica.compile();
    return [...(replica.states.get("n1")?.subjects.keys() ?? [])];
  };
  replica.apply({ table: "namespaces", key: "red", value: { labels: {} } });
  replica.apply({ table: "pods", key: "red/p", value: row });
  assert.deepEqual(subjects(), []);
  replica.apply(identityOf(300));
  assert.deepEqual(subjects(), [300]);
  replica.apply(identityOf(299));
  assert.deepEqual(subjects(), [299]);
  replica.apply({ table: "identities", key: "299", value: undefined });
  assert.deepEqual(subjects(), [300]);
});

test("pods that are not managed have no subject", () => {
  const spec = { nodeName: "n1" };
  assert.equal(decodePod({ metadata: { name: "p", namespace: "red" }, spec: { ...spec, hostNetwork: true } }), undefined);
  assert.equal(decodePod({ metadata: { name: "p", namespace: "red" }, spec, status: { phase: "Succeeded" } }), undefined);
  assert.equal(decodePod({ metadata: { name: "p", namespace: "red" }, spec: {} }), undefined);
});

test("a churning label is part of identities only while a policy names it, and only where that policy reaches", () => {
  const spaces: Record<string, Record<string, string>> = { red: { team: "a" }, blue: { team: "b" } };
  const at = (namespaceOf: string): string => [...cluster.wantedKeys()].filter((key) => key.includes(`"k8s:io.kubernetes.pod.namespace","${namespaceOf}"`)).map((key) => JSON.parse(key) as [string, string][])
    .map((labels) => labels.filter(([key]) => /job-name|named:/.test(key)).map(([key, value]) => `${key}=${value}`).join()).sort().join(" | ");
  const cluster = new Cluster({ nodeChanged: () => undefined, identityChanged: () => undefined });
  for (const [name, labels] of Object.entries(spaces)) {
    cluster.namespaceChanged(name, { labels });
    for (const job of [{ "job-name": "j1" }, { "job-name": "j2" }, {}]) cluster.podChanged(decodePod({ metadata: { name: "p", namespace: name, labels: { app: "a", ...job } }, spec: { nodeName: "n1" } }), undefined);
  }
  const row = (podSelector: object, from: readonly object[] = []): PolicyRow => ({ kind: "NetworkPolicy", namespace: "red", name: "p", uid: "u", generation: 1, spec: { podSelector, ingress: [{ from: [...from] }] } });
  const byJob = { matchLabels: { "job-name": "j1" } };
  const told = "k8s:job-name=j1,named:job-name= | k8s:job-name=j2,named:job-name= | named:job-name=";
  assert.deepEqual([at("red"), at("blue")], ["", ""], "three pods of one namespace are one identity");
  const [own, ofPeer] = [row(byJob), row({}, [{ podSelector: byJob, namespaceSelector: { matchLabels: { team: "b" } } }])];
  cluster.policyChanged(undefined, own);
  assert.deepEqual([at("red"), at("blue")], [told, ""]);
  cluster.policyChanged(own, ofPeer);
  assert.deepEqual([at("red"), at("blue")], ["", told], "a peer's selector reaches the namespaces that it names");
  cluster.namespaceChanged("blue", { labels: {} });
  assert.deepEqual([at("red"), at("blue")], ["", ""]);
  cluster.namespaceChanged("red", { labels: { team: "b" } });
  assert.deepEqual([at("red"), at("blue")], [told, ""]);
  cluster.policyChanged(ofPeer, undefined);
  assert.deepEqual([at("red"), at("blue")], ["", ""]);
});
