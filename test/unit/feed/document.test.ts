import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { untoldPeers } from "../../../src/compile/index.ts";
import type { NodeState, PeerSelector, PolicyRef, PortMatch, Rule, RuleName } from "../../../src/compile/index.ts";
import { decodeDocument, encodeDocument, hasPieces, hashOf, manifestHash, nextDocument } from "../../../src/feed/document.ts";
import type { Document } from "../../../src/feed/document.ts";
import { formatOf } from "../../../src/feed/formats.ts";
import { hash32 } from "../../../src/lib/hash.ts";
import { nodeKey } from "../../../src/feed/names.ts";

/** Plain objects, as the decoder makes them. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const text = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("__proto__", "constructor", "é\n\"", "\u2028"));
const uid = fc.constantFrom("u1", "u2", "u3", "__proto__");
const kinds = ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"] as const;
const ref = (id: string): PolicyRef => ({ kind: kinds[id.charCodeAt(1) % 3] ?? "CiliumNetworkPolicy", namespace: "ns", name: `name-${id}`, uid: id, generation: 3 });
const direction = fc.constantFrom("ingress" as const, "egress" as const);
const name: fc.Arbitrary<RuleName> = record({
  kind: fc.constantFrom("rule" as const, "default-deny" as const),
  direction,
  policies: fc.uniqueArray(uid, { minLength: 1, maxLength: 3 }).map((ids) => ids.map(ref)),
  path: text,
  log: fc.option(text, { nil: undefined }),
  name: fc.option(text, { nil: undefined }),
}).map(({ log, name: called, ...rest }) => ({ ...rest, ...(log === undefined ? {} : { log }), ...(called === undefined ? {} : { name: called }) }));
const number = fc.integer({ min: 1, max: 0xffffffff });
const hex = fc.stringMatching(/^[0-9a-f]{16}$/);
const protocol = fc.nat(255);
const port: fc.Arbitrary<PortMatch> = fc.oneof(record({ protocol, port: fc.nat(65535), prefix: fc.nat(16) }), record({ protocol, name: fc.stringMatching(/^[a-z]{1,15}$/) }));
const rule: fc.Arbitrary<Rule> = record({
  id: number,
  direction,
  peer: fc.option(hex, { nil: undefined }),
  ports: fc.array(port, { maxLength: 3 }),
  verdict: fc.constantFrom("allow" as const, "deny" as const),
  precedence: fc.nat(),
});
const requirement = record({ key: text, operator: fc.constantFrom("In" as const, "NotIn" as const, "Exists" as const, "DoesNotExist" as const), values: fc.array(text, { maxLength: 3 }) });

const block = record({ cidr: text, except: fc.array(text, { maxLength: 2 }) });
const scope = fc.constantFrom("world" as const, "nodes" as const, "pods" as const);
const selector: fc.Arbitrary<PeerSelector> = fc.oneof(
  record({ kind: fc.constant("labels" as const), requirements: fc.array(requirement, { maxLength: 3 }) }),
  record({ kind: fc.constant("cidrs" as const), blocks: fc.array(block, { maxLength: 3 }), scopes: fc.array(scope, { maxLength: 3 }) }),
);

function sortedMap<K extends string | number, V>(entries: readonly (readonly [K, V])[]): Map<K, V> {
  return new Map([...new Map(entries)].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const document: fc.Arbitrary<Document> = record({
    subjects: fc.array(fc.tuple(fc.integer({ min: 256, max: 1 << 24 }), hex)),
    audits: fc.array(fc.tuple(fc.integer({ min: 256, max: 1 << 24 }), hex), { maxLength: 3 }),
    ruleSets: fc.array(fc.tuple(hex, record({ ingressDefault: fc.option(number, { nil: undefined }), egressDefault: fc.option(number, { nil: undefined }), rules: fc.array(rule, { maxLength: 40 }) }))),
    selectors: fc.array(fc.tuple(hex, selector)),
    ruleNames: fc.array(fc.tuple(number, name)),
    marks: fc.uniqueArray(record({ id: uid, since: fc.nat() }), { selector: ({ id }) => id }),
    named: fc.uniqueArray(fc.tuple(fc.constantFrom("red", "blue"), fc.uniqueArray(fc.constantFrom("job-name", "pod-template-hash"), { minLength: 1 })), { selector: ([namespace]) => namespace }),
    routing: record({ mode: fc.constantFrom("tunnel", "native"), tunnelPort: fc.nat(65535), directRoutes: fc.boolean(), masquerade: record({ ipv4: fc.boolean(), ipv6: fc.boolean() }), unmasqueraded: fc.array(fc.constantFrom("10.0.0.0/8", "fd00::/8")) }),
    masqueradeFrom: fc.constantFrom({}, { masqueradeFrom: ["203.0.113.0/24"] }),
  })
  .map(({ marks, routing, masqueradeFrom, named, ...rest }) => {
    const ruleNames = sortedMap(rest.ruleNames);
    const used = new Set([...ruleNames.values()].flatMap((words) => words.policies.map((policy) => policy.uid)));
    const all = sortedMap([
      ...[...used].map((id) => [id, { ref: ref(id), since: 1, removed: false }] as const),
      ...marks.map(({ id, since }) => [id, { ref: ref(id), since, removed: !used.has(id) }] as const),
    ]);
    const state: NodeState = {
      subjects: sortedMap(rest.subjects),
      ruleSets: sortedMap(rest.ruleSets),
      selectors: sortedMap(rest.selectors),
      ruleNames,
      policies: new Map([...all].filter(([, mark]) => !mark.removed).map(([id, mark]) => [id, mark.ref.generation])),
      // Direct routes are of native routing alone.
      routing: { ...routing, directRoutes: routing.directRoutes && routing.mode === "native", ...masqueradeFrom },
      ...(rest.audits.length === 0 ? {} : { audits: sortedMap(rest.audits) }),
      ...(named.length === 0 ? {} : { named: sortedMap(named) }),
    };
    return { state, marks: all };
  });

test("every document survives the way over the wire, whatever the order of the parts", () => {
  fc.assert(
    fc.property(document, (original) => {
      const parts = encodeDocument(original);
      for (const part of parts) assert.equal(hashOf(part.data), part.hash);
      const decoded = decodeDocument(parts.map((part) => part.data).reverse());
      assert.deepEqual(decoded.state, original.state);
      assert.deepEqual(new Map([...decoded.marks].sort()), new Map([...original.marks].sort()));
      assert.deepEqual(encodeDocument(decoded), parts);
    }),
    { numRuns: 500 },
  );
});

function large(rules: number, changed: string): Document {
  const make = (set: number, at: number): Rule => ({ id: set * 1000 + at + 1, direction: "ingress", peer: `${changed}${String(set).padStart(15, "0")}`, ports: [{ protocol: 6, port: at, prefix: 16 }], verdict: "allow", precedence: 1000 });
  const sets = Array.from({ length: 100 }, (_, set) => [String(set).padStart(16, "0"), { ingressDefault: 1, egressDefault: undefined, rules: Array.from({ length: rules }, (_r, at) => (set === 0 ? make(set, at) : { ...make(set, at), peer: "f".repeat(16) })) }] as const);
  const state: NodeState = { subjects: new Map(), ruleSets: new Map(sets), selectors: new Map(), ruleNames: new Map(), policies: new Map(), routing: { mode: "tunnel", tunnelPort: 1, directRoutes: false, masquerade: { ipv4: false, ipv6: false }, unmasqueraded: [] } };
  return { state, marks: new Map() };
}

test("parts have at most 64 KiB, and a small change rewrites few of them", () => {
  const before = encodeDocument(large(100, "a"));
  const after = encodeDocument(large(100, "b"));
  assert.ok(before.length > 8);
  assert.ok(before.every((part) => Buffer.byteLength(part.data) <= 64 * 1024));
  const kept = new Set(before.map((part) => part.hash));
  const written = after.filter((part) => !kept.has(part.hash)).length;
  assert.ok(written <= 7 && written < after.length / 2, `${written} of ${after.length} parts written`);
});

test("one rule set larger than a part is dealt to several", () => {
  const parts = encodeDocument(large(1000, "a"));
  assert.ok(parts.every((part) => Buffer.byteLength(part.data) <= 64 * 1024));
  assert.deepEqual(decodeDocument(parts.map((part) => part.data)).state, large(1000, "a").state);
});

test("an incomplete set of parts is refused", () => {
  const parts = encodeDocument(large(100, "a")).map((part) => part.data);
  for (const at of parts.keys()) assert.throws(() => decodeDocument(parts.toSpliced(at, 1)), { code: "NODE_STATE_FORMAT" });
  assert.throws(() => decodeDocument(["{}"]), { code: "NODE_STATE_FORMAT" });
  assert.throws(() => decodeDocument(["[1"]), { code: "NODE_STATE_FORMAT" });
});

test("equal parts have one hash in any order; another part, another", () => {
  assert.equal(manifestHash(["a", "b"]), manifestHash(["b", "a"]));
  assert.notEqual(manifestHash(["a"]), manifestHash(["a", "b"]));
});

test("a policy's mark moves when its content on the node changes, and stays when others do", () => {
  const state = (ids: readonly string[], port: number): NodeState => {
    const rules = ids.map((id, at): Rule => ({ id: at + 1, direction: "ingress", peer: undefined, ports: [{ protocol: 6, port: id === "u1" ? port : 1, prefix: 16 }], verdict: "allow", precedence: 1 }));
    return {
      subjects: new Map([[256, "s"]]),
      ruleSets: new Map([["s", { ingressDefault: undefined, egressDefault: undefined, rules }]]),
      selectors: new Map(),
      ruleNames: new Map(ids.map((id, at) => [at + 1, { kind: "rule", direction: "ingress", policies: [ref(id)], path: "" }])),
      policies: new Map(ids.map((id) => [id, 3])),
      routing: { mode: "tunnel", tunnelPort: 1, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
    };
  };
  const marks = (document: Document) => [...document.marks].map(([id, { since, removed }]) => `${id} ${since}${removed ? " removed" : ""}`);
  const first = nextDocument(undefined, state(["u1", "u2"], 80), 1, 0);
  assert.deepEqual(marks(first), ["u1 1", "u2 1"]);
  const second = nextDocument(first, state(["u1", "u2"], 81), 2, 1);
  assert.deepEqual(marks(second), ["u1 2", "u2 1"]);
  const third = nextDocument(second, state(["u1"], 81), 3, 2);
  assert.deepEqual(marks(third), ["u1 2", "u2 3 removed"]);
  assert.deepEqual(marks(nextDocument(third, state(["u1"], 81), 4, 2)), ["u1 2", "u2 3 removed"]);
  assert.deepEqual(marks(nextDocument(third, state(["u1"], 81), 4, 3)), ["u1 2"]);
  assert.deepEqual(marks(nextDocument(third, state(["u1", "u2"], 81), 4, 2)), ["u1 2", "u2 4"]);
});

test("a state is written in the oldest format that can say it", () => {
  const state = (selector: PeerSelector, match: PortMatch): NodeState => ({
    subjects: new Map([[256, "s"]]),
    ruleSets: new Map([["s", { ingressDefault: 2, egressDefault: undefined, rules: [{ id: 1, direction: "ingress", peer: "p", ports: [match], verdict: "allow", precedence: 1 }] }]]),
    selectors: new Map([["p", selector]]),
    ruleNames: new Map(),
    policies: new Map(),
    routing: { mode: "tunnel", tunnelPort: 1, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
  });
  const pods: PeerSelector = { kind: "labels", requirements: [{ key: "any:app", operator: "Exists", values: [] }] };
  const http: PortMatch = { protocol: 6, port: 80, prefix: 16 };
  const formatWith = (selector: PeerSelector, match: PortMatch, marks: Document["marks"] = new Map()): number => formatOf({ state: state(selector, match), marks });
  assert.equal(formatWith(pods, http), 1);
  assert.equal(formatOf({ state: { ...state(pods, http), routing: { ...state(pods, http).routing, masqueradeFrom: ["203.0.113.0/24"] } }, marks: new Map() }), 8);
  assert.equal(formatWith(pods, { protocol: 0, port: 0, prefix: 0 }), 1);
  assert.equal(formatWith(pods, { protocol: 1, port: 8, prefix: 16 }), 2);
  assert.equal(formatWith(pods, { protocol: 6, name: "http" }), 2);
  assert.equal(formatWith({ kind: "cidrs", blocks: [], scopes: ["world"] }, http), 2);
  assert.equal(formatWith({ kind: "labels", requirements: [{ key: "reserved:world", operator: "Exists", values: [] }] }, http), 2);
  const labels = (key: string): PeerSelector => ({ kind: "labels", requirements: [{ key, operator: "DoesNotExist", values: [] }] });
  assert.equal(formatWith(labels("any:job-name"), http), 4, "an older agent takes what an identity does not tell for absent");
  for (const untold of untoldPeers({ kind: "labels", requirements: [{ key: "any:job-name", operator: "In", values: ["bad"] }] })) {
    assert.equal(formatWith(untold, http), 5, "an agent that reads 4 never finds a label untold: what is denied of such pods would be open");
  }
  assert.equal(formatOf({ state: { ...state(pods, http), named: new Map([["ns", ["job-name"]]]) }, marks: new Map() }), 4);
  const apiServer: PeerSelector = { kind: "labels", requirements: [{ key: "reserved:kube-apiserver", operator: "Exists", values: [] }] };
  const allowing = state(apiServer, http);
  const [set] = allowing.ruleSets.values();
  assert.ok(set);
  const denying = { ...allowing, ruleSets: new Map([["aa", { ...set, rules: set.rules.map((each) => ({ ...each, peer: [...allowing.selectors.keys()][0], verdict: "deny" as const })) }]]) };
  assert.deepEqual([allowing, denying].map((each) => formatOf({ state: each, marks: new Map() })), [2, 4], "what an older agent cannot allow stays closed, what it cannot deny would be open");
  for (const kind of kinds) assert.equal(formatWith(pods, http, new Map([["u1", { ref: { ...ref("u1"), kind }, since: 1, removed: false }]])), kind === "CiliumNetworkPolicy" ? 1 : 2);
});

test("the name of every node fits into an object's name and a label", () => {
  const names = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$/);
  fc.assert(fc.property(names, (node) => assert.match(nodeKey(node), /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/)));
  assert.notEqual(nodeKey("a".repeat(100)), nodeKey("a".repeat(101)));
});

test("what is too long for a part travels in pieces, which an older agent is not given", () => {
  const blocks = Array.from({ length: 65_000 }, (_, at) => ({ cidr: `10.${at >> 8}.${at & 255}.0/24`, except: at % 2 === 0 ? [] : [`10.${at >> 8}.${at & 255}.1/32`] }));
  const values = Array.from({ length: 90_000 }, (_, at) => `é"${String(at).padStart(8, "0")}`);
  const selectors = new Map<string, PeerSelector>([
    ["1".repeat(16), { kind: "cidrs", blocks, scopes: ["world"] }],
    ["2".repeat(16), { kind: "labels", requirements: [{ key: "k8s:app", operator: "In", values }] }],
    ["3".repeat(16), { kind: "labels", requirements: [{ key: '["piece",', operator: "In", values: ['\n["piece",'] }] }],
  ]);
  const original: Document = { ...large(1, ""), state: { ...large(1, "").state, selectors } };
  const parts = encodeDocument(original);
  assert.ok(parts.every(({ data }) => Buffer.byteLength(data) <= 128 * 1024), "and in small ones, so that none is a large write");
  assert.deepEqual(decodeDocument(parts.map(({ data }) => data).reverse()).state.selectors, selectors);
  assert.deepEqual([hasPieces(parts), formatOf(original, hasPieces(parts))], [true, 5]);
  assert.throws(() => decodeDocument(parts.slice(1).map(({ data }) => data)), /pieces of|no routing|rules of/);
  const plain = encodeDocument({ ...original, state: { ...original.state, selectors: new Map([...selectors].slice(2)) } });
  assert.equal(hasPieces(plain), false, "text that looks like it is none");
});

test("two long records that meet in one part of thousands go on: what one user writes stops no node's state", () => {
  const bucketOf = (id: string): number => hash32(`selector/${id}`) % 4096;
  const ids = Array.from({ length: 20_000 }, (_, at) => at.toString(16).padStart(16, "0"));
  const first = "f".repeat(16);
  const second = ids.find((id) => bucketOf(id) === bucketOf(first)) ?? assert.fail("no such id");
  const blocks = Array.from({ length: 30_000 }, (_, at) => ({ cidr: `10.${at >> 8}.${at & 255}.0/24`, except: [] }));
  const selectors = new Map<string, PeerSelector>([[second, { kind: "cidrs", blocks, scopes: ["world"] }], [first, { kind: "cidrs", blocks: blocks.slice(1), scopes: ["world"] }]]);
  const parts = encodeDocument({ ...large(1, ""), state: { ...large(1, "").state, selectors } });
  assert.deepEqual(decodeDocument(parts.map(({ data }) => data)).state.selectors, selectors);
});
