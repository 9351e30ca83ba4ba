/** One run of a loaded program on a packet that never touches a device (BPF_PROG_TEST_RUN). */
import { KernelError } from "./errors.ts";
import { addressOf } from "./ffi.ts";
import type { Libbpf } from "./ffi.ts";
import type { BpfProgram, SkbContext, TestRunOptions, TestRunResult } from "./port.ts";

/** Offsets in struct __sk_buff (linux/bpf.h). The kernel refuses other fields that are not zero. */
const SKB = { size: 192, mark: 8, priority: 32, ingressIfindex: 36, ifindex: 40, cb: 48, gsoSegs: 164, gsoSize: 176 } as const;
/** Offsets in struct bpf_test_run_opts (bpf/bpf.h). */
const RUN = { size: 80, dataIn: 8, dataOut: 16, sizeIn: 24, sizeOut: 28, contextIn: 32, contextOut: 40, contextSizeIn: 48, contextSizeOut: 52, verdict: 56, repeat: 60, duration: 64 } as const;
/** Room for what a program may add in front: tunnel headers, an ICMP answer. */
const GROWTH = 1024;

function encodeContext(view: DataView, context: SkbContext): void {
  view.setUint32(SKB.mark, context.mark ?? 0, true);
  view.setUint32(SKB.priority, context.priority ?? 0, true);
  view.setUint32(SKB.ingressIfindex, context.ingressIfindex ?? 0, true);
  view.setUint32(SKB.ifindex, context.ifindex ?? 0, true);
  context.cb?.forEach((value, i) => view.setUint32(SKB.cb + 4 * i, value, true));
  view.setUint32(SKB.gsoSegs, context.gsoSegs ?? 0, true);
  view.setUint32(SKB.gsoSize, context.gsoSize ?? 0, true);
}

export function runProgram(libbpf: Libbpf, program: BpfProgram, packet: Uint8Array, options: TestRunOptions): TestRunResult {
  // One piece of memory for all that the kernel reads and writes, so that nothing of it is collected early.
  const contextIn = RUN.size;
  const contextOut = contextIn + SKB.size;
  const dataIn = contextOut + SKB.size;
  const dataOut = dataIn + packet.length;
  const memory = new Uint8Array(dataOut + packet.length + GROWTH);
  const base = addressOf(memory);
  memory.set(packet, dataIn);
  encodeContext(new DataView(memory.buffer, contextIn, SKB.size), options.context ?? {});
  const run = new DataView(memory.buffer, 0, RUN.size);
  run.setBigUint64(0, BigInt(RUN.size), true);
  run.setBigUint64(RUN.dataIn, base + BigInt(dataIn), true);
  run.setBigUint64(RUN.dataOut, base + BigInt(dataOut), true);
  run.setUint32(RUN.sizeIn, packet.length, true);
  run.setUint32(RUN.sizeOut, memory.length - dataOut, true);
  run.setBigUint64(RUN.contextIn, base + BigInt(contextIn), true);
  run.setBigUint64(RUN.contextOut, base + BigInt(contextOut), true);
  run.setUint32(RUN.contextSizeIn, SKB.size, true);
  run.setUint32(RUN.contextSizeOut, SKB.size, true);
  run.setInt32(RUN.repeat, options.repeat ?? 1, true);
  const result = libbpf.testRun(program.fd, memory);
  if (result < 0) throw new KernelError(`test run of ${program.name}`, -result);
  const context = new DataView(memory.buffer, contextOut, SKB.size);
  return {
    verdict: run.getInt32(RUN.verdict, true),
    packet: memory.slice(dataOut, dataOut + run.getUint32(RUN.sizeOut, true)),
    mark: context.getUint32(SKB.mark, true),
    cb: [0, 1, 2, 3, 4].map((i) => context.getUint32(SKB.cb + 4 * i, true)),
    durationNs: run.getUint32(RUN.duration, true),
  };
}
