/**
 * kernel: the only folder with system calls, foreign functions and child processes for kernel state.
 *
 * It moves bytes and reports refusals (`KernelError`, stable codes). It must not know policies, pods or
 * Kubernetes, and decides nothing: what to write is the business of reconcile/ and targets/.
 */
export { LibbpfPort } from "./bpf.ts";
export { Datapath } from "./datapath.ts";
export type { DatapathOptions, HookName } from "./datapath.ts";
export { KernelError } from "./errors.ts";
export { LibbpfMap, isMapFull, perCpu } from "./map.ts";
export { RingBufferReader } from "./ringbuf.ts";
export type { RingOptions } from "./ringbuf.ts";
export type * from "./port.ts";
