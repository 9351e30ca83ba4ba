/** Which object speaks for a node. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readCrds, schemaOf } from "../../../src/api/crds.ts";
import type { Schema } from "../../../src/api/crds.ts";
import { encryptionProblem, isSelected, objectFor, readRouting, routingProblem, speakersOf } from "../../../src/compile/index.ts";
import type { NodeObject, NodeSelector } from "../../../src/compile/index.ts";

const object = (name: string, more: { readonly priority?: number; readonly created?: string; readonly nodeSelector?: NodeSelector } = {}): NodeObject => {
  const { created, ...spec } = more;
  return { metadata: { name, ...(created === undefined ? {} : { creationTimestamp: created }) }, spec };
};
const chosen = (labels: Readonly<Record<string, string>>, ...objects: NodeObject[]): string | undefined => objectFor(objects, labels)?.metadata.name;

describe("the object that speaks for a node", () => {
  it("has the greatest priority, then is the oldest, then the first by name; in whatever order they come", () => {
    const all = [object("b", { priority: 1, created: "2030-01-02T00:00:00Z" }), object("a", { priority: 1, created: "2030-01-02T00:00:00Z" }), object("old", { priority: 1, created: "2030-01-01T00:00:00Z" }), object("high", { priority: 2, created: "2031-01-01T00:00:00Z" })];
    for (const order of [all, all.toReversed()]) {
      assert.equal(chosen({}, ...order), "high");
      assert.equal(chosen({}, ...order.filter(({ metadata }) => metadata.name !== "high")), "old");
      assert.equal(chosen({}, ...order.filter(({ metadata }) => !["high", "old"].includes(metadata.name))), "a");
    }
  });

  it("is default where no other selects the node, and none where there is no default", () => {
    const [edge, fallback] = [object("edge", { nodeSelector: { matchLabels: { edge: "yes" } }, created: "2031-01-01T00:00:00Z" }), object("default", { created: "2030-01-01T00:00:00Z" })];
    assert.equal(chosen({ edge: "yes" }, fallback, edge), "edge");
    assert.equal(chosen({ edge: "no" }, fallback, edge), "default");
    assert.equal(chosen({ edge: "no" }, edge), undefined);
  });

  it("selects as Kubernetes' selectors do: all of it must hold, NotIn holds where the key is absent, empty is every node", () => {
    const meets = (nodeSelector: NodeSelector, labels: Readonly<Record<string, string>>): boolean => isSelected(object("x", { nodeSelector }), labels);
    assert.equal(meets({}, {}), true);
    assert.equal(meets({ matchLabels: { a: "1", b: "2" } }, { a: "1" }), false);
    const by = (operator: "In" | "NotIn" | "Exists" | "DoesNotExist", values?: string[]): NodeSelector => ({ matchExpressions: [{ key: "a", operator, ...(values === undefined ? {} : { values }) }] });
    const each = [by("In", ["1"]), by("NotIn", ["1"]), by("Exists"), by("DoesNotExist")];
    assert.deepEqual(each.map((one) => meets(one, { a: "1" })), [true, false, true, false]);
    assert.deepEqual(each.map((one) => meets(one, { a: "2" })), [false, true, true, false]);
    assert.deepEqual(each.map((one) => meets(one, {})), [false, true, false, true]);
  });

  it("is told for each node that an object selects", () => {
    const [low, high] = [object("low"), object("high", { priority: 1, nodeSelector: { matchLabels: { edge: "yes" } } })];
    const nodes = new Map([["n1", { edge: "yes" }], ["n2", {}]]);
    assert.deepEqual([...speakersOf(low, [low, high], nodes)].map(([node, by]) => [node, by.metadata.name]), [["n1", "high"], ["n2", "low"]]);
    assert.deepEqual([...speakersOf(high, [low, high], nodes)].map(([node, by]) => [node, by.metadata.name]), [["n1", "high"]]);
  });
});

describe("what such an object may say", () => {
  const values = readRouting(() => undefined);
  const problems = (more: object): readonly (string | undefined)[] => [routingProblem({ mode: "tunnel", ...more }, values), encryptionProblem({ type: "wireguard", ...more }, values)];

  it("a misspelt selector is refused by its path, as without the word it would mean every node", () => {
    const good = { matchLabels: { constructor: "a" }, matchExpressions: [{ key: "a", operator: "In", values: ["1"] }, { key: "b", operator: "Exists" }] };
    assert.deepEqual(problems({ nodeSelector: good }), [undefined, undefined]);
    for (const [nodeSelector, path] of [
      [{ matchLabel: { zone: "a" } }, "spec.nodeSelector.matchLabel"],
      [{ constructor: {} }, "spec.nodeSelector.constructor"],
      [{ matchExpressions: [{ key: "a", operator: "Exists" }, { key: "a", operator: "NotIn", values: ["1"], value: "2" }] }, "spec.nodeSelector.matchExpressions[1].value"],
    ] as const) for (const problem of problems({ nodeSelector })) assert.equal(problem, `${path}: not known, or not built yet`);
    assert.match(problems({ masquerade: { sourceCidrs: ["10.0.0.0/8"] } })[0] ?? "", /^spec\.masquerade\.sourceCidrs: not known/);
  });

  it("the API server keeps every unknown word of a spec for that, however deep it is", () => {
    const pruned = (schema: Schema, path: string): readonly string[] => [
      ...(schema.properties !== undefined && schema["x-kubernetes-preserve-unknown-fields"] !== true ? [path] : []),
      ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => pruned(inner, `${path}.${name}`)),
      ...(schema.items === undefined ? [] : pruned(schema.items, `${path}[]`)),
    ];
    const specs = readCrds().filter(({ spec }) => ["CiliumRouting", "CiliumEncryption"].includes(spec.names.kind)).map((crd) => [crd.spec.names.kind, schemaOf(crd).properties?.["spec"] ?? {}] as const);
    assert.equal(specs.length, 2);
    for (const [kind, spec] of specs) assert.deepEqual(pruned(spec, `${kind}.spec`), []);
  });
});
