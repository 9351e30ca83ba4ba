/** NODES.md: what other nodes cost a node. */
import type { Load, Machine } from "./machine.ts";
import type { Memory } from "./memory.ts";
import { percentile } from "./statistics.ts";

/** Milliseconds after the API server's answer. */
export interface NodeChange {
  /** The node comes; else it goes. */
  readonly comes: boolean;
  readonly maps: number;
  readonly routes: number;
  readonly encrypted: number;
}

export interface Rest {
  /** Parts of one processor. */
  readonly agentCpu: number;
  readonly wireguardCpu: number;
  readonly memory: readonly Memory[];
}

export interface NodesResults {
  readonly machine: Machine;
  readonly size: { readonly nodes: number; readonly changes: number };
  readonly startedMs: number;
  readonly endedMs: number;
  readonly load: Load;
  /** Until all nodes were known. */
  readonly allSeconds: number;
  readonly few: Rest;
  readonly many: Rest;
  readonly changes: readonly NodeChange[];
}

/** Milliseconds for the whole change. */
const BAR_MS = 100;

export function nodesReport({ machine, size, startedMs, endedMs, load, allSeconds, few, many, changes }: NodesResults): string {
  const whole = changes.map(({ maps, routes, encrypted }) => Math.max(maps, routes, encrypted));
  return `${[
    "# Benchmark results with many nodes", "",
    "Written by `make bench-nodes`; do not edit. Two nodes are real, encrypt, and are in force; the others are Nodes, and CiliumNodes with keys as",
    "their agents would write them. None of them answers a handshake, which is the dearest case: each is asked again and again, and each agent looks for an answer.", "",
    `- ${new Date(startedMs).toISOString()} to ${new Date(endedMs).toISOString()}, commit ${machine.commit}`,
    `- Linux ${machine.kernel}, ${machine.processors}, ${machine.memoryGiB} GiB, Node ${machine.node}; load average ${load.start.toFixed(2)} at the start, at most ${load.highest.toFixed(2)}`,
    `- ${size.nodes} simulated nodes; made by the benchmark and known to the node within ${allSeconds.toFixed(0)} s`, "",
    "## One node more, one node less", "",
    "Milliseconds from the API server's answer until the kernel of a node has it; both real nodes do the same at the same time on this machine.", "",
    "| part | p50 | p99 | greatest | changes | target | |", "|---|---|---|---|---|---|---|",
    changeRow("entries of the maps", changes.map(({ maps }) => maps)),
    changeRow("routes to its pods, both families", changes.map(({ routes }) => routes)),
    changeRow("peer of WireGuard and the route through it", changes.map(({ encrypted }) => encrypted)),
    changeRow("all of it, a node comes", whole.filter((_, index) => changes[index]?.comes === true)),
    changeRow("all of it, a node goes", whole.filter((_, index) => changes[index]?.comes === false)),
    changeRow("all of it", whole, BAR_MS), "",
    "## At rest", "",
    `Processor time while nothing changes, in percent of one processor; memory in MiB (resident, anonymous).`, "",
    `| process | with 2 nodes | with ${size.nodes + 2} |`, "|---|---|---|",
    `| agent of node-1, processor | ${percent(few.agentCpu)} | ${percent(many.agentCpu)} |`,
    `| wireguard-go of node-1, processor | ${percent(few.wireguardCpu)} | ${percent(many.wireguardCpu)} |`,
    ...few.memory.map((before) => `| ${before.process} of ${before.node}, memory | ${mebibytes(before)} | ${mebibytes(many.memory.find(({ process, node }) => process === before.process && node === before.node))} |`),
  ].join("\n")}\n`;
}

function changeRow(name: string, values: readonly number[], bar?: number): string {
  const p99 = percentile(values, 0.99);
  const verdict = bar === undefined ? ["–", ""] : [`p99 ≤ ${bar}`, p99 <= bar ? "**met**" : "**missed**"];
  return `| ${[name, percentile(values, 0.5).toFixed(1), p99.toFixed(1), Math.max(...values).toFixed(1), String(values.length), ...verdict].join(" | ")} |`;
}

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`;
const mebibytes = (at: Memory | undefined): string => (at === undefined ? "?" : `${at.rss.toFixed(0)}, ${at.anonymous.toFixed(0)}`);
