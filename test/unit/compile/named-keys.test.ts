/** Which churning labels count where: what a policy changes depends on itself, whatever others there are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NamedKeys } from "../../../src/compile/index.ts";
import type { PolicyRow } from "../../../src/model/index.ts";

const KEYS = ["pod-template-hash", "controller-revision-hash"];
const row = (uid: string, namespace: string, key: string, peers: string | undefined): PolicyRow => ({
  kind: namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy", namespace, name: uid, uid, generation: 1,
  spec: { endpointSelector: { matchLabels: { [key]: "x" } }, ...(peers === undefined ? { ingress: [] } : { ingress: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": peers, [key]: "y" } }] }] }) },
}) as PolicyRow;

const change = fc.oneof(
  fc.record({ uid: fc.constantFrom("a", "b", "c"), namespace: fc.constantFrom("red", "blue", ""), key: fc.constantFrom(...KEYS), peers: fc.option(fc.constantFrom("red", "blue"), { nil: undefined }), gone: fc.boolean() }),
  fc.record({ space: fc.constantFrom("red", "blue"), gone: fc.boolean() }),
);

test("after any history the keys and policies of each namespace are those of the world it ends in, and what changed is told", () => {
  fc.assert(fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
    const named = new NamedKeys();
    const [rows, spaces] = [new Map<string, PolicyRow>(), new Set<string>()];
    for (const one of changes) {
      const before = new Map(["red", "blue"].map((name) => [name, named.of(name)]));
      let told: ReadonlySet<string>;
      if ("space" in one) {
        if (one.gone) spaces.delete(one.space);
        else spaces.add(one.space);
        told = new Set(named.namespaceChanged(one.space, one.gone ? undefined : {}) ? [one.space] : []);
      } else {
        const next = one.gone ? undefined : row(one.uid, one.namespace, one.key, one.peers);
        told = new Set(named.policyChanged(rows.get(one.uid), next).keys());
        if (next === undefined) rows.delete(one.uid);
        else rows.set(one.uid, next);
      }
      assert.deepEqual(told, new Set(["red", "blue"].filter((name) => named.of(name) !== before.get(name))));
    }
    const anew = new NamedKeys();
    for (const space of spaces) anew.namespaceChanged(space, {});
    for (const each of rows.values()) anew.policyChanged(undefined, each);
    for (const name of ["red", "blue"]) {
      assert.deepEqual(named.of(name), anew.of(name));
      assert.deepEqual(new Set(named.policiesReaching(name)), new Set(anew.policiesReaching(name)));
    }
  }));
});

test("ten thousand policies of one tenant that name such labels, among five hundred namespaces, cost themselves alone", () => {
  const named = new NamedKeys();
  for (let at = 0; at < 500; at++) named.namespaceChanged(`ns${at}`, {});
  for (let at = 0; at < 10_000; at++) named.policyChanged(undefined, row(`p${at}`, "ns7", KEYS[0] ?? "", undefined));
  assert.deepEqual([named.of("ns7"), named.of("ns8"), named.policiesReaching("ns7").length], [[KEYS[0]], [], 10_000]);
});
