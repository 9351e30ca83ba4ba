/**
 * The compiler against the languages: a naive evaluator, written from the words of the specifications alone, must give
 * the verdict, and the deciding rule, that a lookup in the compiled state gives, also after the state went over the wire.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareWithLanguages, compileFor } from "./oracle/compare.ts";
import type { Policy } from "./oracle/language.ts";
import { lookup } from "./oracle/lookup.ts";
import { packet, policies, workload } from "./oracle/worlds.ts";

const SUBJECT = 256;

test("the compiled state judges every packet as the languages say", () => {
  const { cases, allowed, denied, told, byTier } = compareWithLanguages(5000);
  assert.ok(cases >= 5000 && allowed > 5000 && denied > 3000 && told > 1000 && byTier > 500, `the worlds exercise all verdicts, and tiers: ${allowed} allowed, ${denied} denied, ${told} told, ${byTier} by a tier`);
});

test("a denial beats every allow that is not the administrator's, also a narrower one", () => {
  const wide = [[{ fromEntities: ["all"] }, { toEntities: ["all"] }], [{ fromEntities: ["cluster", "world"] }, { toEntities: ["cluster", "world"] }]] as const;
  fc.assert(
    fc.property(policies, workload, packet, fc.constantFrom(...wide), fc.constantFrom("", "own"), (any, subject, one, [ingress, egress], scope) => {
      const list = any.filter(({ spec }) => spec?.["tier"] !== "Admin");
      const namespace = scope === "" ? "" : subject.namespace;
      const spec = { endpointSelector: {}, enforcement: "Enforce", ingressDeny: [ingress], egressDeny: [egress], enableDefaultDeny: { ingress: false, egress: false } };
      const denial: Policy = { kind: namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy", namespace, spec };
      for (const all of [[...list, denial], [denial, ...list]]) assert.equal(lookup(compileFor(all, SUBJECT, subject), SUBJECT, subject, one).allowed, false);
    }),
    { numRuns: 1000 },
  );
});
