/**
 * The whole disk of the machine that boots: busybox, Node with the libraries that it and libbpf need, this repository's
 * sources, and what was compiled of them. A cpio archive that the kernel unpacks into memory: no driver is needed.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Kernel } from "./kernels.ts";

const ROOT = join(import.meta.dirname, "../..");
/** As modprobe(8) would load them for us: what tc and pods' links need. */
const MODULES = ["sch_ingress", "cls_bpf", "veth"];
const FOLDERS = ["src", "test/bpf", "test/kernels", "build/bpf", "build/bpf-test", "node_modules/koffi", "node_modules/@koromix", "node_modules/fast-check", "node_modules/pure-rand"];
const FILES = ["package.json", "test/reporter.ts", "test/unit/targets/policy-model.ts"];
/** What rows have compiled outside: inside there is no compiler. */
const MAKE = `#!/bin/sh
for target; do case $target in build/*) [ -e "$target" ] || { echo "$target was not built before the boot" >&2; exit 2; };; esac; done
`;

/** Writes the archive; the caller owns the file. */
export function writeInitramfs(kernel: Kernel, archive: string): void {
  const tree = mkdtempSync(join(tmpdir(), "kernels-"));
  try {
    for (const folder of ["bin", "dev", "proc", "sys", "tmp", "run", "modules", "repository"]) mkdirSync(join(tree, folder));
    copyFileSync("/bin/busybox", join(tree, "bin/busybox"));
    for (const applet of ["sh", "mount", "ip", "insmod", "poweroff", "reboot"]) symlinkSync("busybox", join(tree, "bin", applet));
    program(tree, "bin/make", MAKE);
    program(tree, "init", readFileSync(join(import.meta.dirname, "init.sh"), "utf8"));
    const node = realpathSync(join(ROOT, "node_modules/.bin/node"));
    copyFileSync(node, join(tree, "bin/node"));
    for (const library of libraries(node, loaded("libbpf.so.1"))) put(tree, library);
    for (const module of MODULES) copyFileSync(execFileSync("find", [kernel.modules, "-name", `${module}.ko`], { encoding: "utf8" }).trim(), join(tree, "modules", `${module}.ko`));
    for (const path of [...FOLDERS, ...FILES]) cpSync(join(ROOT, path), join(tree, "repository", path), { recursive: true });
    execFileSync("sh", ["-c", `find . | busybox cpio --quiet -o -H newc > "$0"`, archive], { cwd: tree });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

function program(tree: string, path: string, text: string): void {
  writeFileSync(join(tree, path), text);
  chmodSync(join(tree, path), 0o755);
}

function put(tree: string, file: string): void {
  mkdirSync(join(tree, dirname(file)), { recursive: true });
  if (!existsSync(join(tree, file))) copyFileSync(realpathSync(file), join(tree, file));
}

/** Where the loader finds a library that a program opens by name. */
function loaded(name: string): string {
  const line = execFileSync("/sbin/ldconfig", ["-p"], { encoding: "utf8" }).split("\n").find((each) => each.includes(`${name} (`) && each.includes("x86-64"));
  if (line === undefined) throw new Error(`${name} is not installed: make setup`);
  return line.split("=> ")[1] as string;
}

/** Of these files, with themselves where they are libraries. */
function libraries(...files: string[]): string[] {
  const needed = files.flatMap((file) => [...execFileSync("ldd", [file], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path));
  return [...new Set([...needed, ...files.filter((file) => basename(file).includes(".so"))])];
}
