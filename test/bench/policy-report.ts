/** POLICY.md of what `policy.ts` measured. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./config.ts";
import { percentile } from "./statistics.ts";

/** One kind of change, in milliseconds, and how many node states one changes. */
export interface Series {
  readonly what: string;
  readonly values: readonly number[];
  /** Processor time of the thread. */
  readonly worked: readonly number[];
  readonly states: number;
}

export interface Measured {
  readonly name: string;
  readonly states: number;
  /** Until every object is in the operator's tables, and until every node's state is there. */
  readonly readMs: number;
  readonly fullMs: number;
  readonly fullWorkedMs: number;
  /** In use after the collection of garbage, and the most that the process ever had. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly changes: readonly Series[];
}

const CHANGE_MS = 5;
/** Antrea's own figures for the same worlds, on another machine (its test of the computation, fake clients): seconds, MB. */
const PEER: Readonly<Record<number, readonly [seconds: string, megabytes: string]>> = { 0: ["5.8 to 6.4", "1522 to 1708"], 1: ["10.7", "1157"] };
const FINDINGS = "POLICY-FINDINGS.md";

export function policyReport(machine: string, worlds: readonly Measured[]): string {
  const findings = join(ROOT, "test/bench", FINDINGS);
  return `# Benchmark results of the policy engine

Written by \`make bench-policy\`; do not edit (what was found is in ${FINDINGS}).

- ${machine}

## C5, M10: everything at once

From objects as the API server says them to the states of 1,000 nodes, validation, identities and quotas included; one processor, no I/O. Antrea's figures
are its own, for the same worlds (its computation alone, several processors), from its source: another machine, so that they are no more than a measure.

| world | objects read | all states | of it processor | heap in use | process, at most | Antrea: time, heap |
|---|---|---|---|---|---|---|
${worlds.map(worldRow).join("\n")}

## M10: one change

From the change as the watch says it to the new states of all nodes that it touches (an identity's number is given at once, without the write to the API server); ${worlds[0]?.changes[0]?.values.length ?? 0} changes each. Target: 99 of 100 within ${CHANGE_MS} ms of the
thread's processor time; the clock beside it also counts what else ran on the machine meanwhile (the load average above).

${worlds.map(changeTable).join("\n\n")}
${existsSync(findings) ? `\n${readFileSync(findings, "utf8").trim()}\n` : ""}`;
}

function worldRow({ name, states, readMs, fullMs, fullWorkedMs, heapBytes, residentBytes }: Measured, at: number): string {
  const [seconds, megabytes] = PEER[at] ?? ["–", "–"];
  const peer = PEER[at] === undefined ? "–" : `${seconds} s, ${megabytes} MB`;
  return `| ${name}: ${states} nodes | ${(readMs / 1000).toFixed(2)} s | ${(fullMs / 1000).toFixed(2)} s | ${(fullWorkedMs / 1000).toFixed(2)} s | ${megabytesOf(heapBytes)} MB | ${megabytesOf(residentBytes)} MB | ${peer} |`;
}

function megabytesOf(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

function changeTable({ name, changes }: Measured): string {
  const rows = changes.map(({ what, values, worked, states }) => {
    const p99 = percentile(values, 0.99);
    const worked99 = percentile(worked, 0.99);
    return `| ${what} | ${states.toFixed(1)} | ${percentile(worked, 0.5).toFixed(2)} | ${worked99.toFixed(2)} | ${percentile(values, 0.5).toFixed(2)} | ${p99.toFixed(2)} | ${worked99 <= CHANGE_MS ? "met" : "**missed**"} |`;
  });
  return `### ${name}\n\n| change | node states changed | processor: p50 ms | p99 ms | clock: p50 ms | p99 ms | |\n|---|---|---|---|---|---|---|\n${rows.join("\n")}`;
}
