/**
 * Kernel settings of the network namespace that this process is in. Whose they are is decided by the process that opens the
 * file, not by where /proc is mounted (proc_sysctl.c): an unprivileged container, whose own /proc/sys is read-only, uses the
 * node's.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeAtomic } from "../lib/files.ts";

export class Sysctl {
  readonly root: string;

  constructor(root = "/proc/sys") {
    this.root = root;
  }

  /** undefined: this kernel lacks the setting, or the device is gone. */
  read(path: string): string | undefined {
    const file = join(this.root, path);
    return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
  }

  /** Only when it differs; what the kernel lacks (IPv6 off) is left out. */
  write(path: string, value: string): void {
    const now = this.read(path);
    if (now !== undefined && now !== value) writeFileSync(join(this.root, path), value);
  }

  /**
   * For each device of ours, before it is up: no reverse path filter (replies may come in on another device
   * than the route's), no router advertisements, no link-local address of its own.
   */
  forDevice(device: string): void {
    this.write(`net/ipv4/conf/${device}/rp_filter`, "0");
    this.write(`net/ipv6/conf/${device}/accept_ra`, "0");
    this.write(`net/ipv6/conf/${device}/addr_gen_mode`, "1");
  }
}

interface Changed {
  readonly before: string;
  readonly ours: string;
}

/**
 * The node's own settings that we change, each with the value that it had before us: on disk before the first write, so
 * that uninstalling can put it back whenever and by whichever agent it was changed.
 */
export class SysctlLedger {
  readonly #sysctl: Sysctl;
  readonly #file: string;

  constructor(sysctl: Sysctl, file: string) {
    this.#sysctl = sysctl;
    this.#file = file;
  }

  /**
   * Only what differs is changed, and only what was changed is noted: the first value counts, not a later agent's.
   * @returns what was changed
   */
  async write(wanted: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const noted = this.#noted();
    const changes = Object.entries(wanted).flatMap(([path, ours]) => {
      const now = this.#sysctl.read(path);
      return now === undefined || now === ours ? [] : [[path, { before: noted[path]?.before ?? now, ours }] as const];
    });
    if (changes.length === 0) return [];
    await writeAtomic(this.#file, `${JSON.stringify({ ...noted, ...Object.fromEntries(changes) }, undefined, 2)}\n`, { mode: 0o600 });
    for (const [path, { ours }] of changes) this.#sysctl.write(path, ours);
    return changes.map(([path]) => path);
  }

  /** Puts back what still has our value: what somebody has set since then is theirs. The note stays; its owner removes it. */
  restore(): void {
    for (const [path, { before, ours }] of Object.entries(this.#noted()).toReversed()) {
      if (this.#sysctl.read(path) === ours) this.#sysctl.write(path, before);
    }
  }

  #noted(): Record<string, Changed> {
    return existsSync(this.#file) ? (JSON.parse(readFileSync(this.#file, "utf8")) as Record<string, Changed>) : {};
  }
}
