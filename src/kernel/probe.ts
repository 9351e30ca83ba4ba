/**
 * What this kernel has of what the product's BPF objects need. The needs are read from the objects themselves: the types of
 * their programs and maps and the helpers that their instructions call; each is then tried in the kernel. Nothing is pinned.
 */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { describeError } from "../lib/errors.ts";
import type { LibbpfPort } from "./bpf.ts";
import { captureLog, viewMemory } from "./ffi.ts";
import type { Libbpf, Pointer } from "./ffi.ts";
import { KernelError, errnoName } from "./errors.ts";

export interface BpfNeed {
  readonly kind: "program type" | "map type" | "helper";
  readonly name: string;
  /** Objects that need it. */
  readonly users: readonly string[];
  readonly works: boolean;
}

export interface ObjectLoad {
  readonly object: string;
  /** undefined: the kernel takes every program and map of it. */
  readonly error: string | undefined;
}

export interface BpfProbe {
  readonly needs: readonly BpfNeed[];
  /** Empty where loading was not asked for. */
  readonly loads: readonly ObjectLoad[];
}

/** enum bpf_func_id of include/uapi/linux/bpf.h: those that the objects call. */
const HELPERS: ReadonlyMap<number, string> = new Map([
  [1, "map_lookup_elem"], [2, "map_update_elem"], [3, "map_delete_elem"], [5, "ktime_get_ns"], [9, "skb_store_bytes"], [12, "tail_call"],
  [20, "skb_get_tunnel_key"], [21, "skb_set_tunnel_key"], [23, "redirect"], [26, "skb_load_bytes"], [28, "csum_diff"], [32, "skb_change_type"],
  [38, "skb_change_tail"], [50, "skb_adjust_room"], [69, "fib_lookup"], [86, "sk_release"], [99, "skc_lookup_tcp"], [131, "ringbuf_reserve"], [132, "ringbuf_submit"], [152, "redirect_neigh"],
  [155, "redirect_peer"],
]);

/** Helpers that stand behind an option: the programs call them only where the agent found them. */
const COARSE_CLOCK = 160;
const OPTIONAL: readonly number[] = [COARSE_CLOCK];
/** enum bpf_prog_type: SCHED_CLS. */
const CLASSIFIER = 3;

/** struct bpf_insn: 8 bytes; a call whose source register is 0 calls the helper in the last four (bpf-docs, instruction set). */
const INSTRUCTION_BYTES = 8;
const CALL = 0x85;
/** enum bpf_attach_type. */
const TCX_POINTS = [46, 47] as const;
const MAX_TCX = 64;
/** The verifier does not look at sizes; a probe takes little memory. */
const SMALL_MAPS = { policy: 1024, ipcache: 1024, flows: 1024, interfaces: 16, endpoints: 32, rule_hits: 1024, cidrs: 1024, quotas: 1024, fragments: 1024, blocks: 1024 };

interface Wanted {
  readonly kind: BpfNeed["kind"];
  readonly name: string;
  readonly users: Set<string>;
  readonly probe: () => number;
}

/** Options of the programs that this kernel decides; set at every load. */
export function kernelOptions({ libbpf, libc }: LibbpfPort): { readonly config_coarse_clock: number } {
  const { result } = captureLog(libbpf, libc, () => libbpf.probeHelper(CLASSIFIER, COARSE_CLOCK, null));
  return { config_coarse_clock: result === 1 ? 1 : 0 };
}

/** @param load also loads every object as a whole, for which the verifier takes its time. */
export function probeBpf(port: LibbpfPort, folder: string, load: boolean): BpfProbe {
  const files = readdirSync(folder).filter((file) => file.endsWith(".o")).sort();
  const wanted = new Map<string, Wanted>();
  for (const file of files) collectNeeds(port, join(folder, file), wanted);
  const needs = captureLog(port.libbpf, port.libc, () =>
    [...wanted.values()].map(({ kind, name, users, probe }): BpfNeed => ({ kind, name, users: [...users], works: answer(probe(), `${kind} ${name}`) })),
  ).result;
  return { needs, loads: load ? files.map((file) => tryLoad(port, join(folder, file))) : [] };
}

function answer(result: number, what: string): boolean {
  if (result < 0) throw new KernelError(`probe ${what}`, -result);
  return result === 1;
}

function collectNeeds({ libbpf, libc }: LibbpfPort, file: string, wanted: Map<string, Wanted>): void {
  const { result: object, log } = captureLog(libbpf, libc, () => libbpf.objectOpen(file, null));
  if (object === null) throw new Error(`cannot open ${file}: ${log.trim()}`);
  const user = basename(file, ".o");
  const need = (kind: BpfNeed["kind"], name: string, probe: () => number): void => {
    const key = `${kind} ${name}`;
    const found = wanted.get(key) ?? { kind, name, users: new Set<string>(), probe };
    found.users.add(user);
    wanted.set(key, found);
  };
  try {
    for (let map = libbpf.objectNextMap(object, null); map !== null; map = libbpf.objectNextMap(object, map)) {
      const type = libbpf.mapType(map);
      need("map type", libbpf.mapTypeName(type) ?? `number ${type}`, () => libbpf.probeMapType(type, null));
    }
    for (let program = libbpf.objectNextProgram(object, null); program !== null; program = libbpf.objectNextProgram(object, program)) {
      const type = libbpf.programType(program);
      need("program type", libbpf.programTypeName(type) ?? `number ${type}`, () => libbpf.probeProgramType(type, null));
      for (const helper of helpersOf(libbpf, program)) if (!OPTIONAL.includes(helper)) need("helper", HELPERS.get(helper) ?? `number ${helper}`, () => libbpf.probeHelper(type, helper, null));
    }
  } finally {
    libbpf.objectClose(object);
  }
}

function helpersOf(libbpf: Libbpf, program: Pointer): ReadonlySet<number> {
  const code = libbpf.programInstructions(program);
  if (code === null) return new Set();
  const view = new DataView(viewMemory(code, Number(libbpf.programInstructionCount(program)) * INSTRUCTION_BYTES));
  const helpers = new Set<number>();
  for (let at = 0; at < view.byteLength; at += INSTRUCTION_BYTES) {
    if (view.getUint8(at) === CALL && view.getUint8(at + 1) >> 4 === 0) helpers.add(view.getInt32(at + 4, true));
  }
  return helpers;
}

function tryLoad(port: LibbpfPort, file: string): ObjectLoad {
  const object = basename(file, ".o");
  try {
    port.load({ file, maxEntries: SMALL_MAPS }).close();
    return { object, error: undefined };
  } catch (thrown) {
    return { object, error: describeError(thrown) };
  }
}

/** Programs at the device's tcx points, which run before every clsact filter; undefined: this kernel has no tcx (before 6.6). */
export function countTcxPrograms({ libbpf }: LibbpfPort, ifindex: number): number | undefined {
  let total = 0;
  for (const point of TCX_POINTS) {
    const count = new Uint32Array([MAX_TCX]);
    const result = libbpf.queryPrograms(ifindex, point, 0, new Uint8Array(4), new Uint8Array(4 * MAX_TCX), new Uint8Array(count.buffer));
    if (errnoName(-result) === "EINVAL") return undefined;
    if (result < 0) throw new KernelError(`programs at tcx of device ${ifindex}`, -result);
    total += count[0] ?? 0;
  }
  return total;
}
