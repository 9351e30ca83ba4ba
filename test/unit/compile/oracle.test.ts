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
import { naive, naiveOfAll } from "./oracle/tiers.ts";
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
  let byTier = 0;
  fc.assert(
    fc.property(policies, workload, fc.array(packet, { minLength: 4, maxLength: 10 }), fc.constantFrom(false, false, true), (list, subject, packets, auditMode) => {
      for (const { kind, namespace, enforcement: _, ...content } of list) assert.deepEqual(validator.policy({ metadata: { name: "p", ...(namespace === "" ? {} : { namespace }) }, ...content }, kind), []);
      const state = compiled(JSON.parse(JSON.stringify(list)) as Policy[], subject, auditMode);
      for (const one of packets) {
        const expected = naive(list, subject, one, auditMode);
        const ofAll = naiveOfAll(list, subject, one);
        const found = lookup(state, SUBJECT, subject, one);
        assert.equal(lookupOfAll(state, SUBJECT, subject, one).allowed, ofAll.allowed, JSON.stringify({ list, subject, one }));
        if (expected.allowed && !ofAll.allowed) told++;
        assert.equal(found.allowed, expected.allowed, JSON.stringify({ list, subject, one }));
        // Where nothing denies nothing is enforced, and so no rule is found that accepts.
        if (expected.by !== undefined && (found.by.length > 0 || !expected.allowed)) assert.deepEqual(found.by, [`p${expected.by}`], JSON.stringify({ list, subject, one }));
        if (expected.by !== undefined) byTier++;
        if (expected.allowed) allowed++;
        else denied++;
      }
    }),
    { numRuns: 5000 },
  );
  assert.ok(allowed > 5000 && denied > 3000 && told > 1000 && byTier > 1000, `the worlds exercise all verdicts, and tiers: ${allowed} allowed, ${denied} denied, ${told} told, ${byTier} by a tier`);
});

test("a denial beats every allow that is not the administrator's, also a narrower one", () => {
  const wide = [[{ fromEntities: ["all"] }, { toEntities: ["all"] }], [{ fromEntities: ["cluster", "world"] }, { toEntities: ["cluster", "world"] }]] as const;
  fc.assert(
    fc.property(policies, workload, packet, fc.constantFrom(...wide), fc.constantFrom("", "own"), (any, subject, one, [ingress, egress], scope) => {
      const list = any.filter(({ spec }) => spec?.["tier"] !== "Admin");
      const namespace = scope === "" ? "" : subject.namespace;
      const spec = { endpointSelector: {}, enforcement: "Enforce", ingressDeny: [ingress], egressDeny: [egress], enableDefaultDeny: { ingress: false, egress: false } };
      const denial: Policy = { kind: namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy", namespace, spec };
      for (const all of [[...list, denial], [denial, ...list]]) assert.equal(lookup(compiled(all, subject), SUBJECT, subject, one).allowed, false);
    }),
    { numRuns: 1000 },
  );
});
