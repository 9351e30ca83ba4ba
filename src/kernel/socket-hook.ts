/**
 * The program that the network namespace asks before it gives a socket to what belongs to no open connection
 * (BPF_PROG_TYPE_SK_LOOKUP). The link that holds it there is pinned, so that it outlives the agent, and goes with its pin.
 */
import { closeSync, existsSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { LibbpfPort } from "./bpf.ts";
import { KernelError } from "./errors.ts";

const BPF_SK_LOOKUP = 36; // enum bpf_attach_type
const PIN = "link_to_socket";

/**
 * The namespace is that of this process. Another version takes the place of the one before in one step.
 * @param pinDir undefined: not pinned; it goes with this process.
 */
export function attachToSockets(port: LibbpfPort, programFd: number, pinDir: string | undefined): void {
  const pin = pinDir === undefined ? undefined : join(pinDir, PIN);
  if (pin !== undefined && existsSync(pin) && hasReplaced(port, pin, programFd)) return;
  const namespace = openSync("/proc/self/ns/net", "r");
  const link = port.libbpf.linkCreate(programFd, namespace, BPF_SK_LOOKUP, null);
  closeSync(namespace);
  if (link < 0) throw new KernelError("attach to the sockets of the network namespace", -link);
  if (pin === undefined) return;
  const pinned = port.libbpf.pin(link, pin);
  port.libc.close(link);
  if (pinned < 0) throw new KernelError(`pin ${pin}`, -pinned);
}

/** A link of a namespace that is no more holds nothing, and is removed. */
function hasReplaced({ libbpf, libc }: LibbpfPort, pin: string, programFd: number): boolean {
  const link = libbpf.openPin(pin);
  const result = link < 0 ? link : libbpf.linkUpdate(link, programFd, null);
  if (link >= 0) libc.close(link);
  if (result === 0) return true;
  rmSync(pin, { force: true });
  return false;
}
