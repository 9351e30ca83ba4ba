/** What is kept of runs of policies never shows: each identity obeys what all its policies, taken anew, say. */
import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";
import type { PolicySpec } from "../../../src/api/meaning.ts";
import { SubjectCompiler, compileSubject, draftPolicy, selects } from "../../../src/compile/index.ts";
import { sortedLabels } from "../../../src/model/index.ts";
import type { Labels, PolicyRow } from "../../../src/model/index.ts";
import { LabelIndex } from "../../../src/operator/label-index.ts";

const APPS = ["a", "b", "c"];
const SUBJECTS = APPS.flatMap((app) => ["x", undefined].map((tier): Labels => sortedLabels([
  ["k8s:io.kubernetes.pod.namespace", "red"], ["k8s:app", app], ...(tier === undefined ? [] : [["k8s:tier", tier] as const]),
])));

const app = fc.constantFrom(...APPS);
const selector = fc.oneof(
  app.map((value) => ({ matchLabels: { app: value } })),
  fc.record({ app, tier: fc.constantFrom("x", "y") }).map((matchLabels) => ({ matchLabels })),
  fc.uniqueArray(app, { minLength: 1 }).map((values) => ({ matchExpressions: [{ key: "app", operator: "In" as const, values }] })),
  app.map((value) => ({ matchExpressions: [{ key: "app", operator: "NotIn" as const, values: [value] }] })),
  fc.constant("tier").map((key) => ({ matchExpressions: [{ key, operator: "DoesNotExist" as const }] })),
  fc.constant({}),
);
const watching = fc.option(fc.record({ stages: fc.option(fc.nat(150), { nil: undefined }) }), { nil: undefined });
const spec = fc.record({ endpointSelector: selector, peer: selector, direction: fc.constantFrom("ingress", "egressDeny"), watches: watching }).map(({ endpointSelector, peer, direction, watches }): PolicySpec => ({
  endpointSelector, ...(watches === undefined ? {} : { enforcement: "Audit" as const }), ...(watches?.stages === undefined ? {} : { stages: `p${watches.stages}` }), [direction]: [{ [direction === "ingress" ? "fromEndpoints" : "toEndpoints"]: [peer] }],
}));

function rowOf(at: number, generation: number, given: PolicySpec): PolicyRow {
  return { kind: "CiliumNetworkPolicy", namespace: "red", name: `p${at}`, uid: `uid-${(at * 7919) % 1009}`, generation, spec: given };
}

const change = fc.record({ at: fc.nat(150), spec: fc.option(spec, { nil: undefined, freq: 3 }) });

test("many policies in any order, changed one by one: each identity obeys what all of them say, taken anew", () => {
  fc.assert(
    fc.property(fc.array(spec, { minLength: 60, maxLength: 150, size: "max" }), fc.array(change, { maxLength: 12 }), fc.boolean(), (specs, changes, isReversed) => {
      const rows = new Map(specs.map((each, at) => [at, rowOf(at, 1, each)]));
      const compiler = new SubjectCompiler();
      const check = (): void => {
        const all = [...rows.values()];
        const list = isReversed ? all.toReversed() : all;
        for (const labels of SUBJECTS) {
          const { policies, names, selectors, ...rest } = compiler.compile(labels, [list, []]);
          const { policies: itsPolicies, names: itsNames, selectors: itsSelectors, ...anew } = compileSubject(labels, all.flatMap((row) => draftPolicy(row)));
          assert.deepEqual(rest, anew);
          assert.deepEqual([[...policies], new Map(names), new Map(selectors)], [[...itsPolicies], new Map(itsNames), new Map(itsSelectors)]);
        }
      };
      check();
      for (const [index, { at, spec: given }] of changes.entries()) {
        if (given === undefined) rows.delete(at);
        else rows.set(at, rowOf(at, index + 2, given));
        if (index % 3 !== 1) check();
      }
      check();
    }),
    { numRuns: 25 },
  );
});

test("a change of a policy that selects somebody else gives an identity the very same object", () => {
  const rows = Array.from({ length: 150 }, (_, at) => rowOf(at, 1, { endpointSelector: { matchLabels: { app: APPS[at % 2] ?? "" } }, ingress: [{ fromEndpoints: [{}] }] }));
  const compiler = new SubjectCompiler();
  const [first] = SUBJECTS;
  assert.ok(first);
  const before = compiler.compile(first, [rows, []]);
  const changed = (at: number): readonly PolicyRow[] => rows.with(at, rowOf(at, 2, { endpointSelector: { matchLabels: { app: APPS[at % 2] ?? "" } }, ingress: [] }));
  assert.equal(compiler.compile(first, [changed(1), []]), before);
  assert.notEqual(compiler.compile(first, [changed(2), []]), before);
});

test("what a selector selects is among those found by its labels", () => {
  fc.assert(
    fc.property(spec, fc.subarray(SUBJECTS), (given, removed) => {
      const index = new LabelIndex<Labels>();
      for (const labels of SUBJECTS) index.add(labels, labels);
      for (const labels of removed) index.remove(labels, labels);
      const [draft] = draftPolicy(rowOf(0, 1, given));
      assert.ok(draft);
      const found = [...index.candidates(draft.subject)].filter((labels) => selects(draft.subject, labels));
      const meant = SUBJECTS.filter((labels) => !removed.includes(labels) && selects(draft.subject, labels));
      assert.deepEqual(new Set(found), new Set(meant));
      assert.equal(found.length, meant.length, "each once");
    }),
  );
});
