/** A machine that is emulated in software: boots a kernel with an initramfs, and is gone when that is done. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runLimited } from "../limited.ts";
import { writeInitramfs } from "./initramfs.ts";
import type { Kernel } from "./kernels.ts";

export interface Boot {
  /** What was written to the first serial port: the kernel's words, and those of the tests. */
  readonly console: string;
  /** What was written to the second one. */
  readonly report: string;
}

const MEMORY_MIB = 1536;

/**
 * Without KVM: not every machine has it, and what is counted here is no time. One processor, as it is emulated by one
 * thread: code that one of several writes while another runs it is not always seen by that one in time.
 * @param rows tests, from the repository's root.
 */
export async function boot(kernel: Kernel, rows: readonly string[], limitMs: number): Promise<Boot> {
  const folder = mkdtempSync(join(tmpdir(), "kernels-boot-"));
  try {
    const [archive, report] = [join(folder, "initramfs.cpio"), join(folder, "report")];
    writeInitramfs(kernel, rows, archive);
    const { output, timedOut } = await runLimited([
      "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "Nehalem", "-smp", "1", "-m", `${MEMORY_MIB}M`, "-nodefaults", "-display", "none", "-no-reboot",
      "-kernel", kernel.vmlinuz, "-initrd", archive, "-append", "console=ttyS0 quiet panic=-1",
      "-serial", "stdio", "-serial", `file:${report}`,
    ], { cwd: folder, limitMs, graceMs: 5000, said: () => undefined });
    return { console: timedOut ? `${output}\n(ended after ${limitMs / 1000} s)` : output, report: readFileSync(report, "utf8") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
