/**
 * Kernel settings of the network namespace that this process is in. Whose they are is decided by the process that opens the
 * file, not by where /proc is mounted (proc_sysctl.c): an unprivileged container, whose own /proc/sys is read-only, uses the
 * node's.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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
