/** The verdict of the benchmark with many nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { nodesReport, type NodesResults } from "../../bench/nodes-report.ts";

const memory = [{ process: "agent" as const, node: "node-1", rss: 100, anonymous: 40 }];
const results = (encrypted: number): NodesResults => ({
  machine: { kernel: "6.18", processors: "2 × x", memoryGiB: 24, node: "v24", commit: "abc", agentsSince: "2026-01-01T00:00:00.000Z" },
  size: { nodes: 1000, changes: 2 }, startedMs: 0, endedMs: 1000, load: { start: 1, highest: 2, end: 1, steal: 0 }, allSeconds: 20,
  few: { agentCpu: 0.01, wireguardCpu: 0, memory }, many: { agentCpu: 0.1, wireguardCpu: 0.2, memory: memory.map((each) => ({ ...each, rss: 140 })) },
  changes: [{ comes: false, maps: 1, routes: 30, encrypted: 20 }, { comes: true, maps: 1, routes: 30, encrypted }],
});

test("a change is in force when its last part is", () => {
  assert.match(nodesReport(results(99)), /\| all of it \| 30\.0 \| 99\.0 \| 99\.0 \| 2 \| p99 ≤ 100 \| \*\*met\*\* \|/);
  assert.match(nodesReport(results(101)), /\| all of it \| .* \*\*missed\*\* \|/);
  assert.match(nodesReport(results(99)), /\| agent of node-1, memory \| 100, 40 \| 140, 40 \|/);
});
