/**
 * Runs inside the machine that boots: loads every object with every option set through the product's own loader, pinned
 * as the agent has it, and attaches the stubs. One line of JSON is the report.
 */
import { readdirSync, rmSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import { describeError } from "../../src/lib/errors.ts";
import { Datapath, LibbpfPort } from "../../src/kernel/index.ts";
import { objectBtf } from "../../src/kernel/btf-file.ts";
import { parseBtf, sectionVariables } from "../../src/kernel/btf.ts";
import { Hook, hookNames } from "../../src/kernel/gen/types.ts";
import type { HookName } from "../../src/kernel/index.ts";
import { gather, judge } from "../../src/preflight/index.ts";
import type { Finding, Plan } from "../../src/preflight/index.ts";
import { optionSets } from "./option-sets.ts";
import type { OptionSet } from "./option-sets.ts";

export interface GuestReport {
  readonly kernel: string;
  readonly optionSets: number;
  /** Program -> instructions that the verifier walked through, the most of all option sets. */
  readonly instructions: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  /** What `cilium preflight --offline` says of the machine. */
  readonly preflight: readonly Finding[];
}

const OBJECTS = join(import.meta.dirname, "../../build/bpf");
const PINS = "/sys/fs/bpf/kernels";
const LOOPBACK = 1;
/** Sizes make no difference to the verifier, and the machine has little memory. */
const SMALL = { policy: 1024, ipcache: 1024, flows: 1024, interfaces: 16, endpoints: 32 };
const LOG_SIZE = 1 << 20;
/** BPF_LOG_STATS: the last lines of the verifier's log, and no more (linux/bpf_verifier.h). */
const LOG_STATS = 4;

/** A port whose programs' verifier statistics are collected on the way: the kernel tells them only while it loads. */
function countingPort(instructions: Map<string, number>): LibbpfPort {
  const library = koffi.load("libbpf.so.1");
  const setLevel = library.func("int bpf_program__set_log_level(void *prog, uint32_t level)") as (program: bigint | null, level: number) => number;
  const setBuffer = library.func("int bpf_program__set_log_buf(void *prog, void *buffer, size_t size)") as (program: bigint | null, buffer: Uint8Array, size: number) => number;
  const port = new LibbpfPort(PINS);
  const { libbpf } = port;
  const load = libbpf.objectLoad;
  libbpf.objectLoad = (object) => {
    const logs = new Map<string, Buffer>();
    for (let program = libbpf.objectNextProgram(object, null); program !== null; program = libbpf.objectNextProgram(object, program)) {
      const buffer = Buffer.alloc(LOG_SIZE);
      logs.set(libbpf.programName(program), buffer);
      setLevel(program, LOG_STATS);
      setBuffer(program, buffer, buffer.length);
    }
    const result = load(object);
    for (const [name, buffer] of logs) {
      const count = Number(/processed (\d+) insns/.exec(buffer.toString("latin1", 0, Math.max(0, buffer.indexOf(0))))?.[1] ?? Number.NaN);
      instructions.set(name, Math.max(count, instructions.get(name) ?? 0));
    }
    return result;
  };
  return port;
}

/** As an agent that starts, and, from the second start on, as one that starts again and finds its pins. */
function load(rodata: OptionSet, starts: number, instructions: Map<string, number>): void {
  rmSync(PINS, { recursive: true, force: true });
  for (let start = 1; start <= starts; start++) {
    const datapath = Datapath.load({ port: countingPort(instructions), objects: OBJECTS, pinDir: PINS, rodata, maxEntries: SMALL });
    for (const [slot, hook] of hookNames) if (slot < Hook.COUNT) datapath.attach(hook as HookName, LOOPBACK);
    for (const [slot, hook] of hookNames) if (slot < Hook.COUNT) datapath.detach(hook as HookName, LOOPBACK);
  }
}

const PLAN: Plan = { mode: "tunnel", tunnelPort: 8472, enableIPv6: true, cniExclusive: true, cniConfPath: "/etc/cni/net.d", ranges: [] };

async function main(): Promise<void> {
  const names = readdirSync(OBJECTS).filter((file) => file.endsWith(".o")).flatMap((file) => [...sectionVariables(parseBtf(objectBtf(join(OBJECTS, file))), ".rodata").keys()]);
  const sets = optionSets([...new Set(names)]);
  const instructions = new Map<string, number>();
  const failures: string[] = [];
  for (const [index, set] of sets.entries()) {
    try {
      load(set, index === 0 ? 2 : 1, instructions);
    } catch (error) {
      failures.push(`option set ${index + 1} (${Object.entries(set).map(([name, value]) => `${name}=${String(value)}`).join(" ")}): ${describeError(error)}`);
    }
  }
  const preflight = judge(await gather({ plan: PLAN, bpfObjects: OBJECTS, load: true }));
  const report: GuestReport = { kernel: release(), optionSets: sets.length, instructions: Object.fromEntries([...instructions].toSorted(([a], [b]) => a.localeCompare(b))), failures, preflight };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

await main();
