import assert from "node:assert/strict";
import { test } from "node:test";
import { compileSubject } from "../../../src/compile/index.ts";
import { draftPolicy } from "../../../src/compile/policy.ts";
import { identityLabels } from "../../../src/model/index.ts";
import type { PolicyRow } from "../../../src/model/index.ts";

const row = (uid: string, spec: object): PolicyRow => ({ kind: "CiliumNetworkPolicy", namespace: "ns", name: uid, uid, generation: 1, spec: { endpointSelector: {}, ...spec } }) as PolicyRow;
const POD = identityLabels({ metadata: { name: "p", namespace: "ns" } }, { metadata: { name: "ns" } });
const compile = (...rows: readonly PolicyRow[]) => compileSubject(POD, rows.flatMap((each) => draftPolicy(each)));

test("a policy that only watches is in the second rule set alone, which holds what is enforced too", () => {
  const open = row("open", { ingress: [{ fromEntities: ["all"] }] });
  const watch = row("watch", { enforcement: "Audit", ingressDeny: [{ fromEntities: ["world"] }], egress: [] });
  const { ruleSet, audit, names, policies } = compile(open, watch);
  const words = (ids: readonly (number | undefined)[]) => ids.map((id) => names.get(id ?? 0)?.policies.map(({ uid }) => uid).join());
  assert.deepEqual(words([ruleSet.ingressDefault, ruleSet.egressDefault, ...ruleSet.rules.map(({ id }) => id)]), ["open", undefined, "open"]);
  assert.deepEqual(words([audit?.ruleSet.ingressDefault, audit?.ruleSet.egressDefault, ...(audit?.ruleSet.rules.map(({ id }) => id) ?? [])]), ["open,watch", "watch", "open", "watch"]);
  assert.deepEqual([...policies.keys()], ["open", "watch"]);
  assert.equal(compile(open).audit, undefined, "without one that watches there is no second rule set");
});

test("a pod whose policies all watch is open", () => {
  const { ruleSet, audit } = compile(row("watch", { enforcement: "Audit", ingress: [], egress: [] }));
  assert.deepEqual(ruleSet, { ingressDefault: undefined, egressDefault: undefined, rules: [] });
  assert.ok(audit?.ruleSet.ingressDefault !== undefined && audit.ruleSet.egressDefault !== undefined);
});

test("the word of a policy's log is with each of its rules", () => {
  const { ruleSet, names } = compile(row("told", { log: { value: "ticket-7" }, ingress: [{ fromEntities: ["all"] }] }), row("other", { ingressDeny: [{ fromEntities: ["world"] }] }));
  assert.deepEqual(ruleSet.rules.map(({ id }) => names.get(id)?.log), [undefined, "ticket-7"]);
});

test("an edit that is tried is judged in the place of the policy that it stages, which stays in force", () => {
  const inForce = row("api", { endpointSelector: {}, ingress: [{ fromEntities: ["all"] }] });
  const edit = row("api-edit", { enforcement: "Audit", stages: "api", ingress: [{ fromEntities: ["world"] }] });
  const beside = row("beside", { egress: [] });
  const { ruleSet, audit, names } = compile(inForce, edit, beside);
  const of = (set: typeof ruleSet | undefined) => [set?.ingressDefault, set?.egressDefault, ...(set?.rules.map(({ id }) => id) ?? [])].map((id) => names.get(id ?? 0)?.policies.map(({ uid }) => uid).join());
  assert.deepEqual(of(ruleSet), ["api", "beside", "api"]);
  assert.deepEqual(of(audit?.ruleSet), ["api-edit", "beside", "api-edit"]);
});

test("an edit that selects fewer pods opens, if it were enforced, those that it leaves out", () => {
  const inForce = row("api", { ingress: [] });
  const edit = row("api-edit", { endpointSelector: { matchLabels: { app: "other" } }, enforcement: "Audit", stages: "api", ingress: [] });
  const { ruleSet, audit } = compile(inForce, edit);
  assert.ok(ruleSet.ingressDefault !== undefined && audit !== undefined);
  assert.equal(audit.ruleSet.ingressDefault, undefined);
});

test("a staged policy that itself only watches is named all the same, so that nodes say that they know it", () => {
  const { names, policies } = compile(row("api", { enforcement: "Audit", ingress: [] }), row("api-edit", { enforcement: "Audit", stages: "api", ingress: [] }));
  assert.deepEqual([...policies.keys()], ["api", "api-edit"]);
  assert.deepEqual(new Set([...names.values()].flatMap((name) => name.policies.map(({ uid }) => uid))), new Set(["api", "api-edit"]));
});
