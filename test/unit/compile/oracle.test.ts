/**
 * The compiler against the languages: a naive evaluator, written from the words of the specifications alone, must give
 * the verdict that a lookup in the compiled state gives, also after the state went over the wire.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Validator } from "../../../src/api/index.ts";
import { SubjectCompiler, compileNode } from "../../../src/compile/index.ts";
import type { NodeState } from "../../../src/compile/index.ts";
import { decodeDocument, encodeDocument, nextDocument } from "../../../src/feed/document.ts";
import type { Snapshot } from "../../../src/model/index.ts";
import { naive, naiveOfAll } from "./oracle/language.ts";
import type { Policy, Workload } from "./oracle/language.ts";
import { labelsOfWorkload, lookup, lookupOfAll } from "./oracle/lookup.ts";
import { packet, policies, rowsOf, workload } from "./oracle/worlds.ts";

const SUBJECT = 256;

function compiled(list: readonly Policy[], subject: Workload, auditMode = false): NodeState {
  const snapshot: Snapshot = {
    identities: new Map([[SUBJECT, labelsOfWorkload(subject)]]),
    policies: Map.groupBy(rowsOf(list), (row) => row.namespace),
    subjects: new Map([["node", new Set([SUBJECT])]]),
  };
  const compiler = new SubjectCompiler({ cidrMatchMode: new Set(), enforcement: auditMode ? "Audit" : "Enforce" });
  const state = compileNode(snapshot, "node", { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] }, compiler);
  return decodeDocument(encodeDocument(nextDocument(undefined, state, 1, 0)).map(({ data }) => data)).state;
}

test("the compiled state judges every packet as the languages say", () => {
  const validator = new Validator();
  let allowed = 0;
  let denied = 0;
  let told = 0;
  fc.assert(
    fc.property(policies, workload, fc.array(packet, { minLength: 4, maxLength: 10 }), fc.constantFrom(false, false, true), (list, subject, packets, auditMode) => {
      for (const { kind, namespace, enforcement: _, ...content } of list) assert.deepEqual(validator.policy({ metadata: { name: "p", ...(namespace === "" ? {} : { namespace }) }, ...content }, kind), []);
      const state = compiled(JSON.parse(JSON.stringify(list)) as Policy[], subject, auditMode);
      for (const one of packets) {
        const expected = naive(list, subject, one, auditMode);
        const ofAll = naiveOfAll(list, subject, one);
        assert.equal(lookupOfAll(state, SUBJECT, subject, one), ofAll, JSON.stringify({ list, subject, one }));
        if (expected && !ofAll) told++;
        assert.equal(lookup(state, SUBJECT, subject, one), expected, JSON.stringify({ list, subject, one }));
        if (expected) allowed++;
        else denied++;
      }
    }),
    { numRuns: 6000 },
  );
  assert.ok(allowed > 5000 && denied > 4000 && told > 1000, `the worlds exercise all verdicts: ${allowed} allowed, ${denied} denied, ${told} told`);
});

test("a denial beats every allow, also a narrower one", () => {
  const wide = [[{ fromEntities: ["all"] }, { toEntities: ["all"] }], [{ fromEntities: ["cluster", "world"] }, { toEntities: ["cluster", "world"] }]] as const;
  fc.assert(
    fc.property(policies, workload, packet, fc.constantFrom(...wide), fc.constantFrom("", "own"), (list, subject, one, [ingress, egress], scope) => {
      const namespace = scope === "" ? "" : subject.namespace;
      const spec = { endpointSelector: {}, enforcement: "Enforce", ingressDeny: [ingress], egressDeny: [egress], enableDefaultDeny: { ingress: false, egress: false } };
      const denial: Policy = { kind: namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy", namespace, spec };
      for (const all of [[...list, denial], [denial, ...list]]) assert.equal(lookup(compiled(all, subject), SUBJECT, subject, one), false);
    }),
    { numRuns: 1000 },
  );
});
