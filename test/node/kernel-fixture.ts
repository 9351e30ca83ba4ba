/** Compiles the object of test/bpf/fixtures, and a private bpffs. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SOURCE = join(import.meta.dirname, "../bpf/fixtures/kernel.bpf.c");

export interface Fixture {
  readonly folder: string;
  readonly object: string;
  /** A mounted bpffs. */
  readonly bpffs: string;
  remove(): void;
}

export function compile(source: string, object: string, ...flags: string[]): void {
  const machine = execFileSync("gcc", ["-dumpmachine"], { encoding: "utf8" }).trim();
  execFileSync("clang-19", ["-target", "bpf", "-g", "-O2", `-I/usr/include/${machine}`, ...flags, "-c", source, "-o", object]);
}

export function makeFixture(): Fixture {
  const folder = mkdtempSync(join(tmpdir(), "kernel-test-"));
  const [object, bpffs] = [join(folder, "kernel.o"), join(folder, "bpf")];
  compile(SOURCE, object);
  execFileSync("mkdir", [bpffs]);
  execFileSync("mount", ["-t", "bpf", "kernel-test", bpffs]);
  return {
    folder,
    object,
    bpffs,
    remove() {
      execFileSync("umount", [bpffs]);
      rmSync(folder, { recursive: true });
    },
  };
}
