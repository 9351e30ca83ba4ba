/**
 * Programs that somebody took off devices, put back. Who takes off one takes off many, each with a word of the kernel's: these
 * are gathered for a moment, in which nobody judges at a device that is without.
 */
import type { Datapath, Device, HookName, HostDevices } from "../kernel/index.ts";
import { describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";

/** Where a program is to be. */
export interface Place {
  readonly hook: HookName;
  readonly device: Device;
}

/** Of the devices that were asked about and are the node's or its pods'. */
export interface Reattached {
  /** Names of those that were without. */
  readonly missing: readonly string[];
  /** Why some cannot have theirs, a sentence each. */
  readonly failures: readonly string[];
}

export const UNDERLAY_HOOKS = ["FROM_NETDEV", "TO_NETDEV"] as const;

export function ownPlaces({ host, tunnel }: HostDevices): readonly Place[] {
  return [...(tunnel === undefined ? [] : [{ hook: "FROM_OVERLAY", device: tunnel } as const]), { hook: "FROM_HOST", device: host }];
}

export const underlayPlaces = (underlay: readonly Device[]): readonly Place[] => underlay.flatMap((device) => UNDERLAY_HOOKS.map((hook) => ({ hook, device })));

/** Also where some device is gone: at all others. */
export function reattach(programs: Pick<Datapath, "attach" | "isAttached">, places: Iterable<{ readonly hook: HookName; readonly device: Pick<Device, "name" | "ifindex"> }>): Reattached {
  const missing = new Set<string>();
  const failures = new Set<string>();
  for (const { hook, device: { name, ifindex } } of places) {
    try {
      const isThere = programs.isAttached(hook, ifindex);
      programs.attach(hook, ifindex);
      if (!isThere) missing.add(name);
    } catch (thrown) {
      failures.add(`${name}: ${describeError(thrown)}`);
    }
  }
  return { missing: [...missing], failures: [...failures] };
}

export interface ProgramHolder {
  /** Idempotent. */
  attachPrograms(isAsked: (device: string) => boolean): Reattached;
}

export interface LostProgramsOptions {
  readonly holders: readonly ProgramHolder[];
  readonly logger: Logger;
  /** A device may be gone. */
  readonly onFailures: () => void;
  readonly signal: AbortSignal;
  readonly gatherMs?: number;
}

const GATHER_MS = 50;

export class LostPrograms {
  readonly #options: LostProgramsOptions;
  #devices = new Set<string | undefined>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LostProgramsOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => clearTimeout(this.#timer), { once: true });
  }

  /** @param device undefined: any may have lost some */
  lost(device: string | undefined): void {
    const { signal, gatherMs = GATHER_MS } = this.#options;
    if (signal.aborted) return;
    this.#devices.add(device);
    this.#timer ??= setTimeout(() => this.#attach(), gatherMs);
  }

  #attach(): void {
    const devices = this.#devices;
    this.#devices = new Set();
    this.#timer = undefined;
    const { holders, logger, onFailures } = this.#options;
    const found = holders.map((holder) => holder.attachPrograms((device) => devices.has(undefined) || devices.has(device)));
    const missing = found.flatMap((one) => one.missing);
    const failures = found.flatMap((one) => one.failures);
    if (missing.length > 0) logger.warn("others had taken programs off devices: they are back", { devices: missing.join(", ") });
    if (failures.length === 0) return;
    logger.warn("programs that others may have taken off devices cannot be put back", { failures: failures.join("; ") });
    onFailures();
  }
}
