/** SCALE.md: what the size of the cluster costs a policy change, and an agent's memory. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Load, Machine } from "./machine.ts";
import type { Memory } from "./memory.ts";
import type { PolicyChange } from "./policy-change.ts";
import type { Size } from "./simulated.ts";
import { percentile } from "./statistics.ts";

export interface ScaleResults {
  readonly machine: Machine;
  readonly size: Size;
  /** Simulated pods while the changes among many were measured. */
  readonly pods: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly load: Load;
  /** Changes in the empty cluster, and among the policies and pods. */
  readonly few: readonly PolicyChange[];
  readonly many: readonly PolicyChange[];
  /** By number of simulated pods, ascending. */
  readonly memory: readonly { readonly pods: number; readonly memory: readonly Memory[] }[];
}

const FINDINGS = join(import.meta.dirname, "SCALE-FINDINGS.md");
/** KiB of an agent's memory for each pod of the cluster. */
const BAR_KIB = 1;

export function scaleReport(results: ScaleResults): string {
  const { machine, size, pods, startedMs, endedMs, load } = results;
  return `${[
    "# Benchmark results at scale", "",
    "Written by `make bench-scale`; do not edit. Nodes and pods are simulated by kwok, their CiliumNode and CiliumEndpoint objects written as their agents would;",
    "API server, etcd, operator, two agents, the two judged pods and their packets are real, all on this one machine.", "",
    `- ${new Date(startedMs).toISOString()} to ${new Date(endedMs).toISOString()}, commit ${machine.commit}`,
    `- Linux ${machine.kernel}, ${machine.processors}, ${machine.memoryGiB} GiB, Node ${machine.node}; load average ${load.start.toFixed(2)} at the start, at most ${load.highest.toFixed(2)}`,
    `- ${size.nodes} simulated nodes, ${size.policies} policies, ${size.apps} identities, ${pods} pods`, "",
    "## M9: policy change to the first packet judged by it", "",
    "Milliseconds; the packets go to another node at 1 kHz.", "",
    "| part | cluster | p50 | p99 | greatest | changes | target | |", "|---|---|---|---|---|---|---|---|",
    ...changeRows("empty", results.few), ...changeRows(`${size.policies} policies, ${pods} pods`, results.many), "",
    "## M11: memory by pods of the cluster", "",
    "MiB; the slope is of what a process alone holds (anonymous), from the first row to the last.", "",
    "| process | node | " + results.memory.map((at) => `${at.pods} pods: RSS, anonymous`).join(" | ") + " | KiB a pod | target | |",
    `|---|---|${results.memory.map(() => "---|").join("")}---|---|---|`,
    ...memoryRows(results.memory), "",
    readFileSync(FINDINGS, "utf8").trim(),
  ].join("\n")}\n`;
}

function changeRows(cluster: string, changes: readonly PolicyChange[]): string[] {
  const line = (name: string, values: readonly number[], p50: number, p99?: number): string => {
    const seen = { p50: percentile(values, 0.5), p99: percentile(values, 0.99) };
    const isMet = seen.p50 <= p50 && (p99 === undefined || seen.p99 <= p99);
    return `| ${[name, cluster, seen.p50.toFixed(1), seen.p99.toFixed(1), Math.max(...values).toFixed(1), values.length, `p50 ≤ ${p50}${p99 === undefined ? "" : `, p99 ≤ ${p99}`}`, isMet ? "**met**" : "**missed**"].join(" | ")} |`;
  };
  return [
    line("answer → first packet of a new flow judged", changes.map(({ judged }) => judged.new), 20, 100),
    line("operator: policy seen → node state written", changes.map(({ operator }) => operator), 5),
    line("agent: node state seen → first packet judged", changes.map(({ agent }) => agent), 10),
  ];
}

function memoryRows(steps: ScaleResults["memory"]): string[] {
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined) return [];
  return first.memory.map(({ process, node }) => {
    const of = (step: typeof first): Memory | undefined => step.memory.find((each) => each.process === process && each.node === node);
    const slope = (((of(last)?.anonymous ?? Number.NaN) - (of(first)?.anonymous ?? Number.NaN)) * 1024) / (last.pods - first.pods);
    const cells = steps.map((step) => `${of(step)?.rss.toFixed(0) ?? "?"}, ${of(step)?.anonymous.toFixed(0) ?? "?"}`);
    const verdict = process === "operator" ? ["–", "no target is set"] : [`≤ ${BAR_KIB}`, slope <= BAR_KIB ? "**met**" : "**missed**"];
    return `| ${[process, node, ...cells, slope.toFixed(2), ...verdict].join(" | ")} |`;
  });
}
