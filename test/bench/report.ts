/** RESULTS.md: every figure beside its target, a miss as a miss, then what was measured, round by round. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { AddSample } from "./cni-add.ts";
import type { BenchConfig } from "./config.ts";
import type { Load, Machine } from "./machine.ts";
import type { Memory } from "./memory.ts";
import type { PolicyChange, Verdict } from "./policy-change.ts";
import { type Arm, type Kind, KINDS, type Place, PLACES, type Series } from "./rounds.ts";
import { type Interval, median, medianInterval, percentile, ratioInterval } from "./statistics.ts";
import type { Sample } from "./traffic.ts";

export interface AddResult {
  readonly arm: "cilium" | "ptp";
  readonly samples: AddSample[];
  /** What ADD waited on average for identity and rule set. */
  readonly meanWaitMs?: number;
  /** Pods that the node had meanwhile. */
  readonly present?: number;
}

export interface MemoryResult {
  readonly pods: number;
  readonly idle: readonly Memory[];
  readonly loaded: readonly Memory[];
  /** Real starts of pods by the kubelet, as the agents counted them. */
  readonly starts: { readonly adds: number; readonly ownMs: number; readonly waitMs: number };
}

export interface Results {
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: BenchConfig["seconds"];
  readonly kubeProxy: { readonly ours: boolean; readonly peer: boolean };
  readonly startedMs: number;
  readonly endedMs: number;
  readonly load: Load;
  readonly traffic: readonly Series[];
  readonly changes: readonly PolicyChange[];
  readonly adds: readonly AddResult[];
  readonly memory: MemoryResult | undefined;
  /** What could not be measured. */
  readonly problems: readonly string[];
}

const FINDINGS = join(import.meta.dirname, "FINDINGS.md");
const NIGHTLY = join(import.meta.dirname, "NIGHTLY.md");
const UNITS: Readonly<Record<Kind, string>> = { "stream": "Gbit/s", "round trips": "/s", "connections": "/s" };
const CPU_UNITS: Readonly<Record<Kind, string>> = { "stream": "CPU s/GB", "round trips": "CPU µs each", "connections": "CPU µs each" };
const NAMES: Readonly<Record<Kind, string>> = { "stream": "M1 TCP stream", "round trips": "M2 TCP round trips", "connections": "M8 new TCP connections" };
/** The lower end of the interval of the ratio must reach it. */
const RATIO_BARS: Readonly<Record<Kind, number>> = { "stream": 1, "round trips": 0.98, "connections": 0.95 };

export function report(results: Results): string {
  const sections = [heading(results), failures(results.problems), traffic(results), policy(results.changes), cni(results.adds), rss(results.memory), nightly(), findings(), raw(results)];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

/** A bar holds, or fails, only when the interval is wholly on one side of it. */
export function verdictOnRatio({ low, high }: Interval, bar: number): "met" | "missed" | "undecided" {
  if (low >= bar) return "met";
  return high < bar ? "missed" : "undecided";
}

function heading({ machine, startedMs, endedMs, load, rounds, seconds, kubeProxy }: Results): string {
  const { highest, start, end, steal } = load;
  return [
    "# Benchmark results",
    "",
    "Written by `make bench`; do not edit. Only figures of one run compare: the two clusters stood on the same machine at the same",
    "time and were measured in turn. Absolute values vary with the machine.",
    "",
    `- ${new Date(startedMs).toISOString()} to ${new Date(endedMs).toISOString()}, commit ${machine.commit}, agents running since ${machine.agentsSince}`,
    `- Linux ${machine.kernel}, ${machine.processors}, ${machine.memoryGiB} GiB, Node ${machine.node}`,
    `- load average ${start.toFixed(2)} at the start, at most ${highest.toFixed(2)}, ${end.toFixed(2)} at the end; steal ${(steal * 100).toFixed(2)} %`,
    `- ${rounds} rounds, arms in turn within each; stream ${seconds.stream} s, round trips ${seconds.roundTrips} s, connections ${seconds.connections} s; client on processor 0, server on 1, both at nice -20`,
    `- ours: CNI=cilium, policy on both ends, VXLAN between nodes, kube-proxy ${kubeProxy.ours ? "on" : "off"}`,
    `- peer: CNI=ptp (reference plugins), **no policy, no encapsulation**: plain routes between nodes, kube-proxy ${kubeProxy.peer ? "on (its NAT rules make the kernel track connections)" : "off"}`,
    "- peer + VXLAN: a pair of the peer's pods whose traffic the kernel's own VXLAN carries between the nodes: the fair arm across nodes",
    "- native routing: ours after a change-over by a CiliumRouting (direct node routes), against the peer's plain routes; encrypted: ours with `encryption.enabled` (VXLAN in WireGuard), against",
    "  wireguard-go alone between two of the peer's nodes for a pair of its pods (1440 bytes; ours 1390), and against the kernel's VXLAN in it. All run wireguard-go in a container; its CPU time counts",
    `- a ratio is taken within each round; brackets: interval of its median, ${(medianInterval(Array.from({ length: rounds }, () => 1)).coverage * 100).toFixed(1)} % (order statistics). A target counts as met or missed only when the whole interval says so.`,
  ].join("\n");
}

interface Comparison {
  readonly place: Place;
  readonly arm: Arm;
  readonly peer: string;
  /** Absent: the two do not do the same, so there is no target. */
  readonly bars?: Readonly<Partial<Record<Kind, number>>>;
  readonly why?: string;
}

const COMPARISONS: readonly Comparison[] = [
  { place: "same node", arm: "ptp", peer: "ptp", bars: RATIO_BARS },
  { place: "across nodes", arm: "ptp", peer: "ptp, plain routes", why: "no encapsulation there" },
  { place: "across nodes", arm: "vxlan", peer: "ptp + VXLAN", bars: RATIO_BARS },
  { place: "natively", arm: "ptp", peer: "ptp, plain routes", bars: RATIO_BARS },
  { place: "encrypted", arm: "wireguard", peer: "ptp + wireguard-go", bars: { "stream": 0.97, "round trips": 0.95 } },
  { place: "encrypted", arm: "vxlan in wireguard", peer: "ptp + VXLAN in wireguard-go", why: "which part is the encapsulation's" },
];
const PLACE_NAMES: Readonly<Record<Place, string>> = { "same node": "same node", "across nodes": "across nodes", "natively": "across nodes, native routing", "encrypted": "across nodes, encrypted (M14)" };
/** Of CPU seconds for a gigabyte, encrypted: the upper end of the interval must not exceed it. */
const ENCRYPTED_CPU_BAR = 1.03;

function traffic({ traffic: series }: Results): string {
  if (series.length === 0) return "";
  const rows = PLACES.flatMap((place) => KINDS.flatMap((kind) => COMPARISONS.filter((each) => each.place === place).flatMap((each) => trafficRow(series, kind, each))));
  return [
    "## Traffic between pods, ours against the peer", "",
    "| metric | where | peer | ours | peer's | ratio | CPU ratio | target | |",
    "|---|---|---|---|---|---|---|---|---|", ...rows,
  ].join("\n");
}

function trafficRow(series: readonly Series[], kind: Kind, { place, arm, peer, bars, why }: Comparison): string[] {
  const ours = samplesOf(series, kind, place, "cilium");
  const theirs = samplesOf(series, kind, place, arm);
  if (ours.length === 0 || theirs.length === 0) return [];
  const ratio = ratioInterval(rates(ours), rates(theirs));
  const cpu = ratioInterval(ours.map((sample) => sample.cpu), theirs.map((sample) => sample.cpu));
  const bar = bars?.[kind];
  const verdicts = bar === undefined ? [`for information: ${why}`] : [`**${verdictOnRatio(ratio, bar)}**`];
  const targets = bar === undefined ? ["–"] : [`≥ ${bar}x`];
  if (bar !== undefined && place === "encrypted" && kind === "stream") {
    targets.push(`CPU ≤ ${ENCRYPTED_CPU_BAR}x`);
    verdicts.push(`CPU **${verdictOnRatio({ ...cpu, low: 1 / cpu.high, high: 1 / cpu.low }, 1 / ENCRYPTED_CPU_BAR)}**`);
  }
  return [row([NAMES[kind], PLACE_NAMES[place], peer, summary(kind, ours), summary(kind, theirs), interval(ratio, "x"), interval(cpu, "x"), targets.join(", "), verdicts.join(", ")])];
}

function summary(kind: Kind, samples: readonly Sample[]): string {
  const rate = median(rates(samples));
  const cpu = median(samples.map((sample) => sample.cpu));
  const parts = [`${rate.toFixed(kind === "stream" ? 2 : 0)} ${UNITS[kind]}`, `${cpu.toFixed(kind === "stream" ? 3 : 1)} ${CPU_UNITS[kind]}`];
  const p50 = samples.flatMap(({ p50us }) => (p50us === undefined ? [] : [p50us]));
  const p99 = samples.flatMap(({ p99us }) => (p99us === undefined ? [] : [p99us]));
  if (p50.length > 0) parts.push(`p50 ${median(p50).toFixed(0)} µs, p99 ${median(p99).toFixed(0)} µs`);
  const failures = samples.reduce((sum, sample) => sum + (sample.failures ?? 0), 0);
  if (kind === "connections") parts.push(`${failures} failed`);
  return parts.join("; ");
}

function policy(changes: readonly PolicyChange[]): string {
  if (changes.length === 0) return "";
  const rows = [
    policyRow("answer → first packet of a new flow judged", changes.map((each) => each.judged.new), 20, 100),
    policyRow("answer → first packet of a lasting flow judged", changes.map((each) => each.judged.lasting), 20, 100),
    policyRow("operator: policy seen → node state written", changes.map((each) => each.operator), 5),
    `| of which the API server's write of one object, by its own metric | ${percentile(changes.map((each) => each.write), 0.5).toFixed(1)} | | | ${changes.length} | – | for information |`,
    policyRow("agent: node state seen → first packet judged", changes.map((each) => each.agent), 10),
    ...(["closed", "open"] as const satisfies readonly Verdict[]).map((to) =>
      policyRow(`only ${to === "closed" ? "allow → deny" : "deny → allow"}, new flow`, changes.filter((each) => each.to === to).map((each) => each.judged.new), 20, 100)),
  ];
  const relapses = changes.reduce((sum, each) => sum + each.relapses, 0);
  return [
    "## M9: policy change to the first packet judged by it", "",
    "A CiliumNetworkPolicy is created and deleted through the API; UDP datagrams go from a pod to the judged pod on another node at 1 kHz, so 1 ms is the resolution.",
    "Milliseconds; negative: the change was in force before the API server's answer had reached us. There is no policy in the peer to compare with.", "",
    `| part | p50 | p99 | greatest | changes | target | |`, "|---|---|---|---|---|---|---|", ...rows, "",
    `Packets judged by the old rules after one judged by the new: ${relapses}.`,
  ].join("\n");
}

function policyRow(name: string, values: readonly number[], p50: number, p99?: number): string {
  const seen = { p50: percentile(values, 0.5), p99: percentile(values, 0.99) };
  const met = seen.p50 <= p50 && (p99 === undefined || seen.p99 <= p99);
  const target = p99 === undefined ? `p50 ≤ ${p50}` : `p50 ≤ ${p50}, p99 ≤ ${p99}`;
  return row([name, seen.p50.toFixed(1), seen.p99.toFixed(1), Math.max(...values).toFixed(1), String(values.length), target, met ? "**met**" : "**missed**"]);
}

/** Milliseconds, of the 99th percentile, with `pods` on the node. */
const ADD_BAR = { p99: 50, pods: 100 } as const;

function cni(adds: readonly AddResult[]): string {
  if (adds.length === 0) return "";
  const rows = adds.map(({ arm, samples, meanWaitMs, present }) => {
    const add = samples.map((sample) => sample.add - (meanWaitMs ?? 0));
    const del = samples.map((sample) => sample.del);
    const p = (values: readonly number[]): string[] => [percentile(values, 0.5), percentile(values, 0.99)].map((value) => value.toFixed(1));
    const verdict = present === undefined ? ["–", "–"] : [`p99 ≤ ${ADD_BAR.p99}`, present < ADD_BAR.pods ? `not judged: ${present} pods` : percentile(add, 0.99) <= ADD_BAR.p99 ? "**met**" : "**missed**"];
    return row([arm === "cilium" ? `ours: cilium-cni, ${present ?? "?"} pods on the node` : "peer: ptp + host-local, IPv4 only", String(samples.length), ...p(add), meanWaitMs === undefined ? "–" : meanWaitMs.toFixed(2), ...p(del), ...verdict]);
  });
  const [ours, theirs] = ["cilium", "ptp"].map((arm) => adds.find((each) => each.arm === arm)?.samples.map((sample) => sample.add) ?? []) as [number[], number[]];
  return [
    "## CNI ADD, own time", "",
    "From the start of the plugin's program to its end, called as the runtime calls it, in turn, a new network namespace each time; less what ADD waited for identity",
    "and rule set (the mean of the run, from the agent's metric). Milliseconds. Ours sets up IPv4 and IPv6; the peer IPv4 only, as with IPv6 it waits 1.8 s for duplicate address detection.", "",
    "| plugin | calls | ADD p50 | ADD p99 | wait taken off | DEL p50 | DEL p99 | target | |", "|---|---|---|---|---|---|---|---|---|", ...rows, "",
    `ADD, ours to the peer's, call by call: ${interval(ratioInterval(ours, theirs), "x")}.`,
  ].join("\n");
}

function rss(result: MemoryResult | undefined): string {
  if (result === undefined) return "";
  const bar = 219;
  const rows = result.idle.map((idle) => {
    const loaded = result.loaded.find((each) => each.process === idle.process && each.node === idle.node);
    const verdict = idle.process === "operator" ? "no target is set" : (loaded?.rss ?? Infinity) <= bar ? "**met**" : "**missed**";
    return row([idle.process, idle.node, ...[idle, loaded].flatMap((each) => [each?.rss.toFixed(0) ?? "?", each?.anonymous.toFixed(0) ?? "?"]), verdict]);
  });
  const { adds, ownMs, waitMs } = result.starts;
  return [
    "## Memory of agent and operator", "",
    `MiB, before the pods of the benchmark and with them and ${result.pods} more pods on two nodes. \`anonymous\` is what the process alone holds; the rest is files that processes of one image share.`,
    `Target for the agent: at most ${bar} MiB (half of what the field measures with 50,000 pods; that many are another benchmark's).`, "",
    `| process | node | RSS before | anonymous | RSS with ${result.pods} pods | anonymous | |`, "|---|---|---|---|---|---|---|", ...rows, "",
    `Those pods by the kubelet, all at once: ${adds} ADDs counted by the two agents, own time ${ownMs.toFixed(1)} ms on average (${waitMs.toFixed(1)} ms of wait for identity and rule set not in it).`,
  ].join("\n");
}

function failures(problems: readonly string[]): string {
  return problems.length === 0 ? "" : ["## Not measured", "", ...problems.map((problem) => `- ${problem}`)].join("\n");
}

/** What the nightly tests counted when they ran last: M12 and M13 are counts of packets, no rates. */
function nightly(): string {
  const counts = readFileSync(NIGHTLY, "utf8").split("\n").filter((line) => line.startsWith("| M1"));
  return ["## M12, M13: packets wrongly passed or lost", "", "As `make test-nightly` counted them, from NIGHTLY.md.", "", "| test | result | run |", "|---|---|---|", ...counts].join("\n");
}

function findings(): string {
  return existsSync(FINDINGS) ? readFileSync(FINDINGS, "utf8").trim() : "";
}

function raw({ traffic: series, changes }: Results): string {
  const lines = series.map(({ kind, place, arm, samples }) => `${kind}, ${place}, ${arm}: ${samples.map(({ rate }) => rate.toFixed(kind === "stream" ? 2 : 0)).join(" ")}`);
  const judged = changes.map((each) => each.judged.new.toFixed(1)).join(" ");
  return ["## Raw", "", "Rates by round (and all else in build/bench/raw.json):", "", "```", ...lines, ...(changes.length === 0 ? [] : [`policy change, ms: ${judged}`]), "```"].join("\n");
}

function samplesOf(series: readonly Series[], kind: Kind, place: Place, arm: Arm): readonly Sample[] {
  return series.find((each) => each.kind === kind && each.place === place && each.arm === arm)?.samples ?? [];
}

function rates(samples: readonly Sample[]): readonly number[] {
  return samples.map(({ rate }) => rate);
}

function interval({ median: middle, low, high }: Interval, unit: string): string {
  return `${middle.toFixed(3)}${unit} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
