/** A refusal of the kernel or of libbpf. `code` is stable; `log` is the end of what libbpf or the verifier said. */
import { constants } from "node:os";
import { CodedError } from "../lib/errors.ts";

export class KernelError extends CodedError {
  readonly operation: string;
  readonly log: string;

  constructor(operation: string, errno: number, log = "") {
    const code = errnoName(errno);
    super(code, log === "" ? `${operation}: ${code}` : `${operation}: ${code}\n${log}`);
    this.name = "KernelError";
    this.operation = operation;
    this.log = log;
  }
}

const ENOTSUPP = 524; // kernel-internal, yet returned by bpf(2)

/** `ENOENT` for 2; `ERRNO_524`-like text for numbers that libc has no name for. */
export function errnoName(errno: number): string {
  if (errno === ENOTSUPP) return "ENOTSUPP";
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found === undefined ? `ERRNO_${errno}` : found[0];
}
