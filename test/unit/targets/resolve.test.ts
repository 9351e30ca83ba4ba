import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { LabelPeers, Requirement } from "../../../src/compile/state.ts";
import { SelectorResolver, selects } from "../../../src/targets/resolve.ts";
import type { ResolvedSelectors } from "../../../src/targets/resolve.ts";

const web = ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop", "k8s:tier="];
const requirement = (key: string, operator: Requirement["operator"], ...values: string[]): LabelPeers => ({ kind: "labels", requirements: [{ key, operator, values }] });

describe("selects", () => {
  const rows: readonly [string, LabelPeers, readonly string[], boolean][] = [
    ["In: value listed", requirement("k8s:app", "In", "db", "web"), web, true],
    ["In: other value", requirement("k8s:app", "In", "db"), web, false],
    ["In: key absent", requirement("k8s:zone", "In", "a"), web, false],
    ["In: the empty value is a value", requirement("k8s:tier", "In", ""), web, true],
    ["NotIn: value listed", requirement("k8s:app", "NotIn", "web"), web, false],
    ["NotIn: key absent selects", requirement("k8s:zone", "NotIn", "a"), web, true],
    ["Exists", requirement("k8s:tier", "Exists"), web, true],
    ["Exists: absent", requirement("k8s:zone", "Exists"), web, false],
    ["DoesNotExist", requirement("k8s:zone", "DoesNotExist"), web, true],
    ["DoesNotExist: present", requirement("k8s:app", "DoesNotExist"), web, false],
    ["any: is the source of pods' labels", requirement("any:app", "In", "web"), web, true],
    ["any: NotIn", requirement("any:app", "NotIn", "web"), web, false],
    ["any: does not reach reserved labels", requirement("any:host", "Exists"), ["reserved:host"], false],
    ["another source is another key", requirement("cni:app", "Exists"), web, false],
    ["no requirement selects pods", { kind: "labels", requirements: [] }, web, true],
    ["no requirement does not select the world", { kind: "labels", requirements: [] }, ["reserved:world"], false],
    ["NotIn never selects the host by what it lacks", requirement("k8s:app", "NotIn", "web"), ["reserved:host"], false],
    ["a reserved key selects the host", requirement("reserved:host", "Exists"), ["reserved:host"], true],
    ["a reserved key does not select pods", requirement("reserved:host", "Exists"), web, false],
    ["all requirements must hold", { kind: "labels", requirements: [...requirement("k8s:app", "Exists").requirements, ...requirement("k8s:app", "NotIn", "web").requirements] }, web, false],
  ];
  for (const [name, selector, labels, expected] of rows) it(name, () => assert.equal(selects(selector, labels), expected));

  it("a value may hold an equals sign", () => assert.equal(selects(requirement("k8s:a", "In", "b=c"), ["k8s:a=b=c"]), true));
});

describe("SelectorResolver", () => {
  it("gives after any sequence of changes what a fresh one gives", () => {
    const labels = fc.subarray(["k8s:a=1", "k8s:a=2", "k8s:b=1", "k8s:c"], { minLength: 1 }).map((list) => list.filter((l) => l !== "k8s:a=2" || !list.includes("k8s:a=1")));
    const identities = fc.dictionary(fc.constantFrom("256", "257", "258"), labels).map((o) => new Map(Object.entries(o).map(([k, v]) => [Number(k), v])));
    const selectors = fc.subarray(["any", "a1", "notA1", "noB", "host"]).map((names) => new Map(names.map((name) => [name, SELECTORS[name] as LabelPeers])));
    fc.assert(
      fc.property(fc.array(fc.tuple(selectors, identities), { minLength: 1, maxLength: 6 }), (steps) => {
        const resolver = new SelectorResolver();
        for (const [s, i] of steps) assert.deepEqual(sorted(resolver.resolve(s, i)), sorted(new SelectorResolver().resolve(s, i)));
      }),
    );
  });
});

const SELECTORS: Readonly<Record<string, LabelPeers>> = {
  any: { kind: "labels", requirements: [] },
  a1: requirement("k8s:a", "In", "1"),
  notA1: requirement("k8s:a", "NotIn", "1"),
  noB: requirement("k8s:b", "DoesNotExist"),
  host: requirement("reserved:host", "Exists"),
};

function sorted(resolved: ResolvedSelectors): unknown {
  return [...resolved].map(([id, meaning]) => [id, "kind" in meaning ? meaning : [...meaning].sort()]).sort();
}
