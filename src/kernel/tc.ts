/**
 * Attachment of programs to devices by clsact (tc-bpf(8)), over netlink inside libbpf: no process is
 * started. Works on kernel 5.10; the filter stays when we stop.
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import { KernelError } from "./errors.ts";
import { captureLog } from "./ffi.ts";
import type { LibbpfPort } from "./bpf.ts";
import type { Device } from "./links.ts";
import type { TcDirection } from "./port.ts";

const INGRESS = 1;
const EGRESS = 2;
const REPLACE = 1;
const EEXIST = 17;
const ENOENT = 2;
const EINVAL = 22;
const ENODEV = 19;
/** Our filter on any device: recognised by these, so that attaching twice leaves one. */
const HANDLE = 1;
const PRIORITY = 1;

function hook(ifindex: number, point: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(24)); // struct bpf_tc_hook
  view.setBigUint64(0, 24n, true);
  view.setInt32(8, ifindex, true);
  view.setInt32(12, point, true);
  return new Uint8Array(view.buffer);
}

function options(fields: { readonly fd?: number; readonly flags?: number }): Uint8Array {
  const view = new DataView(new ArrayBuffer(32)); // struct bpf_tc_opts
  view.setBigUint64(0, 32n, true);
  view.setInt32(8, fields.fd ?? 0, true);
  view.setUint32(12, fields.flags ?? 0, true);
  view.setUint32(20, HANDLE, true);
  view.setUint32(24, PRIORITY, true);
  return new Uint8Array(view.buffer);
}

const pointOf = (direction: TcDirection): number => (direction === "ingress" ? INGRESS : EGRESS);

/** Idempotent: replaces our own earlier filter without a gap, leaves those of others. */
export function attachTc(port: LibbpfPort, ifindex: number, direction: TcDirection, programFd: number): void {
  const { result, log } = captureLog(port.libbpf, port.libc, () => {
    const created = port.libbpf.tcHookCreate(hook(ifindex, pointOf(direction)));
    if (created < 0 && created !== -EEXIST) return created;
    return port.libbpf.tcAttach(hook(ifindex, pointOf(direction)), options({ fd: programFd, flags: REPLACE }));
  });
  if (result < 0) throw new KernelError(`attach to tc ${direction} of device ${ifindex}`, -result, log);
}

/** Whether there is a filter where ours is to be. */
export function isAttachedTc(port: LibbpfPort, ifindex: number, direction: TcDirection): boolean {
  return captureLog(port.libbpf, port.libc, () => port.libbpf.tcQuery(hook(ifindex, pointOf(direction)), options({}))).result >= 0;
}

/** Removes our filter; an absent device or filter is no error. The clsact stays: others may use it. */
export function detachTc(port: LibbpfPort, ifindex: number, direction: TcDirection): void {
  const { result, log } = captureLog(port.libbpf, port.libc, () =>
    port.libbpf.tcDetach(hook(ifindex, pointOf(direction)), options({})),
  );
  if (result < 0 && ![-ENOENT, -EINVAL, -ENODEV].includes(result)) {
    throw new KernelError(`detach from tc ${direction} of device ${ifindex}`, -result, log);
  }
}

/** The kernel keeps 15 characters of a program's name, `stub_from_netde`: enough to know our stubs. */
const STUB = /\bstub_(from|to)_/;

/**
 * Takes our stubs off these devices without a loaded datapath: at uninstall. Filters of others stay, and with them the
 * clsact that holds them; one that holds nothing but ours goes with its filters in one step.
 */
export async function detachStubs(run: Run, devices: readonly Device[]): Promise<void> {
  for (const { name } of devices) {
    const filters = { ingress: await shownFilters(run, name, "ingress"), egress: await shownFilters(run, name, "egress") };
    const all = [...filters.ingress, ...filters.egress];
    if (!all.some((line) => STUB.test(line))) continue;
    if (all.every((line) => OUR_PREFERENCE.test(line))) {
      await check(run, ["tc", "qdisc", "delete", "dev", name, "clsact"]);
      continue;
    }
    for (const direction of ["ingress", "egress"] as const) {
      if (!filters[direction].some((line) => STUB.test(line))) continue;
      await check(run, ["tc", "filter", "delete", "dev", name, direction, "protocol", "all", "pref", `${PRIORITY}`, "handle", `${HANDLE}`, "bpf"]);
    }
  }
}

const OUR_PREFERENCE = new RegExp(`^filter (parent \\S+ )?protocol all pref ${PRIORITY} bpf `);

/** A line per filter, and one per preference (tc-bpf(8)); none where the device has no clsact. */
async function shownFilters(run: Run, device: string, direction: TcDirection): Promise<string[]> {
  const { stdout } = await run(["tc", "filter", "show", "dev", device, direction]);
  return stdout.split("\n").filter((line) => line.startsWith("filter "));
}

export interface ForeignFilter {
  readonly device: string;
  readonly direction: TcDirection;
  readonly preference: number;
  /** `bpf`, `flower`, ... */
  readonly kind: string;
  /** Of a BPF program; the kernel keeps 15 characters. */
  readonly program: string | undefined;
}

interface ShownFilter {
  readonly pref?: number;
  readonly kind?: string;
  readonly options?: { readonly bpf_name?: string; readonly prog?: { readonly name?: string } };
}

/** Filters of others at the device's clsact; none where it has no clsact. */
export async function foreignFilters(run: Run, device: string): Promise<readonly ForeignFilter[]> {
  const found: ForeignFilter[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    const { status, stdout } = await run(["tc", "-json", "filter", "show", "dev", device, direction]);
    if (status !== 0 || stdout.trim() === "") continue;
    // One item per preference, and one per filter, which alone has options.
    for (const { pref = 0, kind = "", options } of JSON.parse(stdout) as readonly ShownFilter[]) {
      const program = options?.prog?.name ?? options?.bpf_name;
      if (options === undefined || STUB.test(program ?? "")) continue;
      found.push({ device, direction, preference: pref, kind, program });
    }
  }
  return found;
}
