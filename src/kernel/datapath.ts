/**
 * The product's programs in the kernel: loads every object of a folder, fills the program array, and
 * attaches the permanent stubs.
 *
 *   device ── clsact filter: stub_<hook> (pinned, never replaced) ── tail call ──▶ hooks[<hook>] ──▶ program <hook>
 *   network namespace ── link (pinned, its program is replaced) ──▶ to_socket
 *
 * A new version is one slot update per hook: no device is touched, no packet meets a gap. An empty slot
 * drops (the stub's own verdict), so a device is closed from the moment its stub is attached.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseBtf, sectionVariables } from "./btf.ts";
import { objectBtf } from "./btf-file.ts";
import { KernelError } from "./errors.ts";
import { Hook, hookNames } from "./gen/types.ts";
import type { TakeOver } from "./takeover.ts";
import { attachToSockets } from "./socket-hook.ts";
import { attachTc, detachTc, isAttachedTc } from "./tc.ts";
import type { LibbpfPort } from "./bpf.ts";
import { type LibbpfMap, u32 } from "./map.ts";
import type { BpfObject, BpfObjectSpec, TcDirection } from "./port.ts";

export type HookName = Exclude<keyof typeof Hook, "COUNT" | "TO_SOCKET">;

/** Which side of a device each hook is. */
const DIRECTIONS: Readonly<Record<HookName, TcDirection>> = {
  FROM_CONTAINER: "ingress",
  TO_CONTAINER: "egress",
  FROM_NETDEV: "ingress",
  TO_NETDEV: "egress",
  FROM_OVERLAY: "ingress",
  FROM_HOST: "egress",
};

/**
 * The order of the flips, receivers before senders: a new sender may rely on what a new receiver
 * understands (marks, conntrack flags), never the reverse.
 */
const FLIP_ORDER: readonly HookName[] = ["TO_CONTAINER", "FROM_OVERLAY", "FROM_NETDEV", "TO_NETDEV", "FROM_HOST", "FROM_CONTAINER"];

export interface DatapathOptions {
  readonly port: LibbpfPort;
  /** Folder of the objects (*.o). */
  readonly objects: string;
  /** Where the stubs are pinned; the same folder as the port's. undefined: not pinned (tests). */
  readonly pinDir: string | undefined;
  readonly rodata?: BpfObjectSpec["rodata"];
  readonly maxEntries?: BpfObjectSpec["maxEntries"];
}

export class Datapath {
  readonly #port: LibbpfPort;
  readonly #stubs: ReadonlyMap<HookName, number>;
  readonly #taken: TakeOver | undefined;

  private constructor(port: LibbpfPort, stubs: ReadonlyMap<HookName, number>, taken: TakeOver | undefined) {
    this.#port = port;
    this.#stubs = stubs;
    this.#taken = taken;
  }

  /**
   * Loads all objects first, and fills maps of another layout or size with what those in force hold; nothing of the
   * running datapath changes unless all of that succeeds. A program is known by its name: `from_container` serves
   * HOOK_FROM_CONTAINER, `stub_from_container` is its stub.
   */
  static load(options: DatapathOptions): Datapath {
    const { port } = options;
    const objects: BpfObject[] = [];
    let taking: TakeOver | undefined;
    let isFlipping = false;
    try {
      port.removeStalePins();
      for (const spec of objectSpecs(options)) objects.push(port.load(spec));
      const programs = byHook(objects, "");
      taking = port.takeOver();
      taking?.copy();
      const stubs = pinStubs(options, byHook(objects, "stub_"));
      const toSocket = only(objects, "to_socket");
      taking?.lend(hooksOf(port));
      isFlipping = true; // from here on programs in force may use the fresh maps
      flip(hooksOf(port), programs);
      for (const former of taking?.formerArrays ?? []) flip(former, programs);
      attachToSockets(port, toSocket, options.pinDir);
      taking?.finish();
      return new Datapath(port, stubs, taking);
    } catch (error) {
      if (!isFlipping) port.unpinFresh();
      for (const object of objects) object.close();
      throw error;
    } finally {
      taking?.close();
    }
  }

  /** Every device has been attached anew: nothing calls into the program arrays of an earlier version any more. */
  allAttached(): void {
    this.#taken?.forgetArrays();
  }

  /** Idempotent. From here on every packet at this side of the device is the program's. */
  attach(hook: HookName, ifindex: number): void {
    attachTc(this.#port, ifindex, DIRECTIONS[hook], this.#stubs.get(hook) as number);
  }

  /** Of others' there too, where ours is to be: attaching takes their place. */
  isAttached(hook: HookName, ifindex: number): boolean {
    return isAttachedTc(this.#port, ifindex, DIRECTIONS[hook]);
  }

  detach(hook: HookName, ifindex: number): void {
    detachTc(this.#port, ifindex, DIRECTIONS[hook]);
  }
}

/** Each object gets those of the options that it has; an option that no object has is refused. */
function objectSpecs({ objects, rodata = {}, maxEntries = {} }: DatapathOptions): BpfObjectSpec[] {
  const files = readdirSync(objects).filter((file) => file.endsWith(".o")).sort().map((file) => join(objects, file));
  const known = files.map((file) => [...sectionVariables(parseBtf(objectBtf(file)), ".rodata").keys()]);
  const unknown = Object.keys(rodata).filter((name) => !known.some((names) => names.includes(name)));
  if (unknown.length > 0) throw new Error(`no object in ${objects} has the option ${unknown.join(", ")}`);
  return files.map((file, i) => ({
    file,
    maxEntries,
    rodata: Object.fromEntries(Object.entries(rodata).filter(([name]) => known[i]?.includes(name))),
  }));
}

function hookList(): HookName[] {
  return [...hookNames].filter(([slot]) => slot < Hook.COUNT).map(([, name]) => name as HookName);
}

/** fd of the program of each hook; every hook must have exactly one. */
function byHook(objects: readonly BpfObject[], prefix: string): ReadonlyMap<HookName, number> {
  return new Map(hookList().map((hook) => [hook, only(objects, prefix + hook.toLowerCase())] as const));
}

function only(objects: readonly BpfObject[], name: string): number {
  const found = objects.flatMap((object) => object.programs.get(name) ?? []);
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} programs are named ${name}, one is needed`);
  return found[0].fd;
}

/**
 * A stub that is pinned already stays: it is attached to devices. One that calls into a program array that is no
 * more is replaced, and takes effect with the next attach.
 */
function pinStubs({ port, pinDir }: DatapathOptions, fresh: ReadonlyMap<HookName, number>): ReadonlyMap<HookName, number> {
  if (pinDir === undefined) return fresh;
  return new Map(
    [...fresh].map(([hook, fd]) => {
      const path = join(pinDir, `stub_${hook.toLowerCase()}`);
      if (port.map("hooks")?.isRestored !== true) rmSync(path, { force: true });
      const result = existsSync(path) ? port.libbpf.openPin(path) : port.libbpf.pin(fd, path);
      if (result < 0) throw new KernelError(`pin ${path}`, -result);
      return [hook, result === 0 ? fd : result] as const;
    }),
  );
}

function hooksOf(port: LibbpfPort): LibbpfMap {
  const slots = port.map("hooks");
  if (slots === undefined) throw new Error("no object declares the program array hooks");
  return slots;
}

/** An array of an earlier version may lack the slots of later hooks: no device has their stubs yet. */
function flip(slots: LibbpfMap, programs: ReadonlyMap<HookName, number>): void {
  for (const hook of FLIP_ORDER) if (Hook[hook] < slots.maxEntries) slots.update(u32(Hook[hook]), u32(programs.get(hook) as number));
}
