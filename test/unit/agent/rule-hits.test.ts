import { strict as assert } from "node:assert";
import { it } from "node:test";
import type { NodeState } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { ruleHitCodec } from "../../../src/kernel/gen/types.ts";
import { pruneRuleHits } from "../../../src/targets/index.ts";

it("counters of rules that the node state does not name are deleted, the others stay", async () => {
  const map = new FakeMap({ name: "rule_hits", keySize: 4, valueSize: ruleHitCodec.size });
  for (const rule of [7, 8, 0xfffffff0]) map.update(new Uint8Array(Uint32Array.of(rule).buffer), new Uint8Array(ruleHitCodec.size));
  const name = { kind: "rule", direction: "ingress", path: "spec.ingress[0]", policies: [] } as const;
  const state: NodeState = { subjects: new Map(), ruleSets: new Map(), selectors: new Map(), ruleNames: new Map([[0xfffffff0, name]]) as never, policies: new Map(), routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } };
  assert.deepEqual(await pruneRuleHits(map, () => state.ruleNames), { deleted: 2, left: 1 });
  assert.deepEqual([...map.entries()].map(([key]) => new DataView(key.buffer, key.byteOffset).getUint32(0, true)), [0xfffffff0]);
  assert.deepEqual(await pruneRuleHits(map, () => state.ruleNames), { deleted: 0, left: 1 });
});
