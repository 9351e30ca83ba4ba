/** The verdicts of the benchmarks' report. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { report, type Results, verdictOnRatio } from "../../bench/report.ts";

const interval = (low: number, high: number) => ({ median: (low + high) / 2, low, high, coverage: 0.95, count: 10 });

test("a bar is met or missed only when the whole interval is on one side of it", () => {
  assert.equal(verdictOnRatio(interval(0.98, 1.1), 0.98), "met");
  assert.equal(verdictOnRatio(interval(0.5, 0.97), 0.98), "missed");
  assert.equal(verdictOnRatio(interval(0.9, 1.1), 0.98), "undecided");
});

const results: Results = {
  machine: { kernel: "6.18", processors: "2 × x", memoryGiB: 24, node: "v24", commit: "abc", agentsSince: "2026-01-01T00:00:00.000Z" },
  rounds: 1, seconds: { stream: 1, roundTrips: 1, connections: 1 }, kubeProxy: { ours: true, peer: true },
  startedMs: 0, endedMs: 1000, load: { start: 1, highest: 2, end: 1, steal: 0 },
  traffic: [], changes: [], adds: [], memory: undefined, problems: [],
};

test("plain routes are no fair peer of a tunnel: no verdict there; the kernel's VXLAN is", () => {
  const samples = [{ rate: 1, cpu: 1 }];
  const series = (["cilium", "ptp", "vxlan"] as const).map((arm) => ({ kind: "stream" as const, place: "across nodes" as const, arm, samples }));
  const lines = report({ ...results, traffic: series }).split("\n").filter((line) => line.startsWith("| M1 TCP stream | across nodes"));
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? "", /plain routes.*for information/);
  assert.match(lines[1] ?? "", /VXLAN.*\*\*met\*\*/);
});

test("native routing is judged against plain routes; encryption against wireguard-go alone, by rate and by processor time", () => {
  const samplesOf = (rate: number, cpu: number) => [{ rate, cpu }];
  const traffic = [
    ...(["cilium", "ptp"] as const).map((arm) => ({ kind: "stream" as const, place: "natively" as const, arm, samples: samplesOf(arm === "ptp" ? 1 : 0.9, 1) })),
    ...(["cilium", "wireguard", "vxlan in wireguard"] as const).map((arm) => ({ kind: "stream" as const, place: "encrypted" as const, arm, samples: samplesOf(1, arm === "cilium" ? 1.1 : 1) })),
  ];
  const lines = report({ ...results, traffic }).split("\n").filter((line) => line.startsWith("| M1 TCP stream"));
  assert.match(lines[0] ?? "", /native routing \| ptp, plain routes .* ≥ 1x \| \*\*missed\*\*/);
  assert.match(lines[1] ?? "", /encrypted .* ptp \+ wireguard-go .* ≥ 0\.97x, CPU ≤ 1\.03x \| \*\*met\*\*, CPU \*\*missed\*\*/);
  assert.match(lines[2] ?? "", /VXLAN in wireguard-go .* for information/);
});

test("a slow policy change is written as missed", () => {
  const change = { to: "closed" as const, judged: { new: 21, lasting: 21 }, operator: 4, agent: 11, write: 4, relapses: 0 };
  const text = report({ ...results, changes: [change, { ...change, to: "open" }] });
  assert.match(text, /first packet of a new flow judged .* \*\*missed\*\*/);
  assert.match(text, /operator.* \*\*met\*\*/);
  assert.match(text, /agent.* \*\*missed\*\*/);
});

test("CNI ADD is judged with as many pods on the node as its target says, and by the 99th percentile", () => {
  const samples = Array.from({ length: 100 }, (_, index) => ({ add: index < 90 ? 10 : 60, del: 1 }));
  const line = (present: number, slow: number): string => {
    const ours = { arm: "cilium" as const, meanWaitMs: 0, present, samples: samples.map(({ add, del }) => ({ add: Math.min(add, slow), del })) };
    return report({ ...results, adds: [ours, { arm: "ptp", samples }] }).split("\n").find((text) => text.startsWith("| ours: cilium-cni")) ?? "";
  };
  assert.match(line(100, 60), /100 pods on the node.*p99 ≤ 50 \| \*\*missed\*\*/);
  assert.match(line(100, 40), /\*\*met\*\*/);
  assert.match(line(7, 40), /not judged: 7 pods/);
});
