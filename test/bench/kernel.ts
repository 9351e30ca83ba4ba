/**
 * `make bench-kernel`: M7, what a verdict costs in a large policy, and M16, how fast the agent's code fills a map beside C.
 * No cluster: the real programs and maps, BPF_PROG_TEST_RUN, and a C program that does the same in turn. Into KERNEL.md.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";

import { peerCodec } from "../../src/kernel/gen/types.ts";
import { ipcacheTarget } from "../../src/targets/peers.ts";
import { Protocol, Tcp } from "../bpf/lib/packet.ts";
import { tcpFrame } from "../bpf/lib/frames.ts";
import { World, a } from "../bpf/lib/world.ts";
import { ROOT } from "./config.ts";
import { type Interval, median, percentile, ratioInterval } from "./statistics.ts";
import { verdictOnRatio } from "./report.ts";

const IDENTITIES = 10_000;
const PORTS_EACH = 9;
const RUNS = 20_000;
const [ENTRIES, BATCH, ROUNDS] = [200_000, 4096, 15];

type Row = readonly [what: string, values: readonly number[]];

const addressOf = (i: number): string => `10.${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;

/** Nanoseconds of each run: an empty program, an established flow, a flow's first packet, in turn; the first two alone. */
function verdicts(): readonly Row[] {
  const world = new World({ flows: 1 << 17, sizes: { ipcache: 4 * IDENTITIES, policy: 2 * IDENTITIES * PORTS_EACH } });
  try {
    for (let i = 0; i < IDENTITIES; i++) world.peer(addressOf(i), { identity: 10_000 + i, flags: 1, node: "192.0.2.2" });
    world.egress(a, Array.from({ length: IDENTITIES * PORTS_EACH }, (_, i) => ({ peer: 10_000 + Math.floor(i / PORTS_EACH), protocol: Protocol.TCP, port: 8000 + (i % PORTS_EACH), rule: 1 + (i % 1000) })));
    world.emptyHooks();
    const frame = (i: number): Uint8Array => tcpFrame(Tcp.SYN, { from: a.ipv4, to: addressOf((i * 7) % IDENTITIES), sport: 1024 + (i % 60_000), dport: 8000 + (i % PORTS_EACH), pod: a });
    const run = (program: "stub_from_netdev" | "from_container", packet: Uint8Array): number => world.run(program, packet, { at: a, quiet: true }).durationNs;
    const once = frame(0);
    const kinds: readonly (readonly [string, (i: number) => number])[] = [
      ["a program that does nothing", () => run("stub_from_netdev", once)],
      ["a packet of a known flow", () => run("from_container", once)],
      ["the first packet of a flow", (i) => run("from_container", frame(1 + i))],
    ];
    const samples = kinds.map(([what]): [string, number[]] => [what, []]);
    // In turn, so that whatever slows the machine slows all of them.
    for (let i = -2000; i < RUNS; i++) kinds.forEach(([, measure], kind) => (i < 0 ? measure(RUNS - i) : samples[kind]?.[1].push(measure(i))));
    const alone = kinds.slice(0, 2).map(([what, measure]): Row => [`${what}, again and again`, Array.from({ length: 2 * RUNS }, () => measure(0)).slice(RUNS)]);
    return [...samples, ...alone];
  } finally {
    world.close();
  }
}

interface Fill {
  readonly c: number[];
  /** The agent's whole way, from addresses as text; and only encoding and writing. */
  readonly agent: number[];
  readonly codecs: number[];
}

/** Nanoseconds for all entries, by round. */
function fills(): Fill {
  const world = new World({ sizes: { ipcache: ENTRIES + 64 } });
  const fill: Fill = { c: [], agent: [], codecs: [] };
  try {
    const map = world.map("ipcache");
    const target = ipcacheTarget(map);
    const addressFrom = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    const rows = new Map(Array.from({ length: ENTRIES }, (_, i) => [addressFrom(i), { identity: 256 + (i % 10_000), flags: 1, node: `192.0.2.${1 + (i % 250)}` }]));
    const bytes = Array.from({ length: ENTRIES }, (_, i) => ({ key: mapped(10, i >> 16, i >> 8, i), node: mapped(192, 0, 2, 1 + (i % 250)) }));
    const timed = (task: () => void): number => {
      // In batches, as mapfill.c does: what is freed one by one is somewhere else in the caches.
      const held = Array.from(map.batches(BATCH), ({ keys, count }) => ({ keys: keys.slice(0, count * 16), count }));
      for (const { keys, count } of held) map.deleteBatch(keys, count);
      const start = process.hrtime.bigint();
      task();
      return Number(process.hrtime.bigint() - start);
    };
    for (let round = -1; round < ROUNDS; round++) {
      const c = Number(execFileSync(join(ROOT, "build/bench/mapfill"), [String(ENTRIES), String(BATCH)], { encoding: "utf8" }));
      const agent = timed(() => {
        const [failure] = target.put(rows);
        if (failure !== undefined) throw failure.error;
      });
      const codecs = timed(() => writeBytes(map, bytes));
      if (round >= 0) [fill.c, fill.agent, fill.codecs].forEach((list, i) => list.push([c, agent, codecs][i] ?? Number.NaN));
    }
    return fill;
  } finally {
    world.close();
  }
}

function mapped(...ipv4: readonly number[]): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...ipv4);
}

function writeBytes(map: ReturnType<World["map"]>, entries: readonly { readonly key: Uint8Array; readonly node: Uint8Array }[]): void {
  const keys = new Uint8Array(BATCH * 16);
  const values = new Uint8Array(BATCH * peerCodec.size);
  const view = new DataView(values.buffer);
  for (let from = 0; from < entries.length; from += BATCH) {
    const count = Math.min(BATCH, entries.length - from);
    for (let i = 0; i < count; i++) {
      const { key, node } = entries[from + i] ?? { key: keys, node: keys };
      keys.set(key, i * 16);
      peerCodec.encode({ identity: 256 + ((from + i) % 10_000), flags: 1, ports: 0, node }, view, i * peerCodec.size);
    }
    const { error } = map.updateBatch({ keys, values, count });
    if (error !== undefined) throw error;
  }
}

function report(costs: readonly Row[], { c, agent, codecs }: Fill): string {
  const [empty = Number.NaN, known = Number.NaN, first = Number.NaN, emptyAlone = Number.NaN, knownAlone = Number.NaN] = costs.map(([, values]) => median(values));
  const over = [undefined, known - empty, first - empty, undefined, knownAlone - emptyAlone];
  const each = (values: readonly number[]): string => (median(values) / ENTRIES).toFixed(0);
  const ratio = (ours: readonly number[]): Interval => ratioInterval(c, ours);
  const line = (what: string, ours: readonly number[], bar?: number): string => {
    const { median: middle, low, high } = ratio(ours);
    return `| ${what} | ${each(ours)} | ${middle.toFixed(2)}x [${low.toFixed(2)}, ${high.toFixed(2)}] | ${bar === undefined ? "– | for information" : `≥ ${bar}x | **${verdictOnRatio(ratio(ours), bar)}**`} |`;
  };
  return `${[
    "# Benchmark results of programs and maps", "",
    "Written by `make bench-kernel`; do not edit.", "",
    `- ${new Date().toISOString()}, commit ${execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: ROOT, encoding: "utf8" }).trim()}; Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, Node ${process.version}, load average ${loadavg()[0]?.toFixed(2)} at the end`, "",
    `## M7: what a verdict costs, ${IDENTITIES} identities and ${IDENTITIES * PORTS_EACH} entries`, "",
    `Nanoseconds of one run of from_container as the kernel measures it (BPF_PROG_TEST_RUN): ${RUNS} single runs of each in turn, caches as they are then (each first packet goes to another identity), and ${RUNS} of one alone.`, "",
    "| run | p50 | p90 | over nothing, p50 | target | |", "|---|---|---|---|---|---|",
    ...costs.map(([what, values], i) => {
      const cells = [what, percentile(values, 0.5).toFixed(0), percentile(values, 0.9).toFixed(0)];
      const bar = [undefined, 60, 300, undefined, 60][i];
      const cost = over[i];
      return `| ${[...cells, ...(bar === undefined || cost === undefined ? ["–", "–", ""] : [cost.toFixed(0), `≤ ${bar}`, cost <= bar ? "**met**" : "**missed**"])].join(" | ")} |`;
    }), "",
    "The peer of this metric, a set of nftables, cannot be run by BPF_PROG_TEST_RUN and was not measured.", "",
    "## M16: filling a map", "",
    `${ENTRIES} entries of \`ipcache\` in batches, encoding included; C does the same in turn (programs/mapfill.c), ${ROUNDS} rounds; C's median ${each(c)} ns an entry.`, "",
    "| TypeScript | ns an entry | rate to C's | target | |", "|---|---|---|---|---|",
    line("encoding and writing", codecs, 0.75), line("the agent's whole way, from addresses as text", agent), "",
    readFileSync(join(ROOT, "test/bench/KERNEL-FINDINGS.md"), "utf8").trim(),
  ].join("\n")}\n`;
}

writeFileSync(join(ROOT, "test/bench/KERNEL.md"), report(verdicts(), fills()));
