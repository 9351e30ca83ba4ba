/** Hits of rules, and what is loaded: of the node state and of the maps together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sumStats } from "../../../src/inspect/index.ts";
import type { StatsRow } from "../../../src/inspect/index.ts";
import * as types from "../../../src/kernel/gen/types.ts";
import { ALLOW, CLOSED, NOW_NS, TestMap, cells, rowsOf, u32 } from "./facts.ts";

const hits = (): TestMap => new TestMap("rule_hits", 4, 2 * types.ruleHitCodec.size, 5);

test("each rule of the node's policies has a row: hits of all CPUs, the last of them, and those that were never hit", async () => {
  const map = hits().put(u32, ALLOW, types.ruleHitCodec, { packets: 2n ** 53n, bytes: 10n, lastNs: NOW_NS - 60_000_000_000n }, { packets: 1n, bytes: 5n, lastNs: NOW_NS - 1_000_000_000n });
  const rows = await rowsOf("policy-stats", map);
  assert.deepEqual(cells("policy-stats", rows), [
    { POLICY: "CiliumNetworkPolicy production/allow-frontend", RULE: "spec.ingress[0].toPorts[0]", DIRECTION: "ingress", VERDICT: "allow", PACKETS: "9007199254740993", BYTES: "15", "LAST HIT": "2026-01-01T23:59:59.000000Z" },
    { POLICY: "CiliumNetworkPolicy production/allow-frontend", RULE: "default-deny", DIRECTION: "ingress", VERDICT: "deny", PACKETS: "0", BYTES: "0", "LAST HIT": "never" },
  ]);
});

test("a counter whose rule is gone is shown by its number, not hidden", async () => {
  const rows = cells("policy-stats", await rowsOf("policy-stats", hits().put(u32, 4711, types.ruleHitCodec, { packets: 1n, bytes: 1n, lastNs: NOW_NS }, { packets: 0n, bytes: 0n, lastNs: 0n })));
  assert.deepEqual(rows.map((row) => `${row["POLICY"]} ${row["RULE"]} ${row["PACKETS"]}`).filter((text) => text.startsWith("rule")), ["rule 4711 unknown 1"]);
});

test("nodes are summed by policy and rule, exactly, whatever number each gave the rule; the latest hit counts", () => {
  const row: StatsRow = { rule: ALLOW, kind: "rule", verdict: "allow", direction: "ingress", policies: [{ kind: "CiliumNetworkPolicy", namespace: "n", name: "p", uid: "u", generation: 1 }], path: "spec.ingress[0]", packets: String(2n ** 63n), bytes: "1", lastHit: "2026-01-01T00:00:00.000000Z" };
  const other = { ...row, rule: CLOSED, kind: "default-deny", path: "" } as const;
  assert.deepEqual(sumStats([row, other, { ...row, rule: 8, packets: String(2n ** 63n), lastHit: "2026-01-03T00:00:00.000000Z" }, { ...row, lastHit: undefined, packets: "0" }]), [
    { ...row, packets: String(2n ** 64n), bytes: "3", lastHit: "2026-01-03T00:00:00.000000Z" },
    other,
  ]);
});

test("which rule set a pod obeys, and of which policies it is; without rules in force it is closed", async () => {
  const value = { ifindex: 12, identity: 300, subject: 1, ports: 0, id: 4, mtu: 1450, flags: types.ENDPOINT_READY, mac: new Uint8Array(6), hostMac: new Uint8Array(6), ipv4: new Uint8Array(16), ipv6: new Uint8Array(16) };
  const interfaces = new TestMap("interfaces", 4, types.endpointCodec.size).put(u32, 12, types.endpointCodec, value).put(u32, 13, types.endpointCodec, { ...value, id: 5, identity: 301, subject: 0, flags: 0 });
  const subjects = new TestMap("subjects", 4, types.subjectCodec.size).put(u32, 1, types.subjectCodec, { ruleSet: 5, generation: 1, owner: 300, ingressDefault: CLOSED, egressDefault: 0, ingressPorts: 0, egressPorts: 0, ingressEnforced: 1, egressEnforced: 0, flags: 0, audit: 0 });
  assert.deepEqual(cells("policy-endpoints", await rowsOf("policy-endpoints", interfaces, subjects)), [
    { POD: "endpoint 5", IDENTITY: "301", "RULE SET": "0", INGRESS: "closed", EGRESS: "closed", RULES: "0", POLICIES: "-", AUDITED: "-", LABELS: "k8s:app=frontend" },
    { POD: "production/api-1", IDENTITY: "300", "RULE SET": "5", INGRESS: "closed", EGRESS: "open", RULES: "1", POLICIES: "CiliumNetworkPolicy production/allow-frontend", AUDITED: "-", LABELS: "k8s:app=api" },
  ]);
});

test("a selector in words, whom it means now, and who uses it", async () => {
  assert.deepEqual(cells("policy-selectors", await rowsOf("policy-selectors")), [
    { SELECTOR: "k8s:app=frontend, !k8s:old", IDENTITIES: "301", COUNT: "1", POLICIES: "CiliumNetworkPolicy production/allow-frontend" },
  ]);
});
