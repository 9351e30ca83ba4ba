/**
 * The whole disk of the machine that boots: busybox, Node and the node's tools with the libraries that they need, what
 * of this repository runs there, and what was compiled of it. A cpio archive that the kernel unpacks into memory: no
 * driver is needed.
 *
 * Sources go there without their types. What Node strips types with is WebAssembly: megabytes of machine code that
 * several threads write while others run it. That takes an emulated processor most of its time, and ended Node at random.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Kernel } from "./kernels.ts";
import { plainName, sourcesOf } from "./sources.ts";

const ROOT = join(import.meta.dirname, "../..");
/** As modprobe(8) would load them for us, each after those that it needs: for nftables, tunnels, tc and pods' links. */
const MODULES = [
  "libcrc32c", "nfnetlink", "nf_tables", "nf_defrag_ipv4", "nf_defrag_ipv6", "nf_conntrack", "nf_nat", "nft_chain_nat", "nft_masq",
  "udp_tunnel", "ip6_udp_tunnel", "vxlan", "sch_ingress", "cls_bpf", "veth",
];
const APPLETS = ["sh", "mount", "insmod", "reboot"];
const TOOLS = ["ip", "tc", "nft", "unshare"];
const COMPILED = ["build/bpf", "build/bpf-test"];
/** What rows have compiled outside: inside there is no compiler. */
const MAKE = `#!/bin/sh
for target; do case $target in build/*) [ -e "$target" ] || { echo "$target was not built before the boot" >&2; exit 2; };; esac; done
`;

/** What runs first, and what Node prints results with. */
const PROGRAMS = ["test/kernels/guest.ts", "test/reporter.ts"];

/** Writes the archive; the caller owns the file. @param rows tests that run there, from the repository's root. */
export function writeInitramfs(kernel: Kernel, rows: readonly string[], archive: string): void {
  const tree = mkdtempSync(join(tmpdir(), "kernels-"));
  try {
    for (const folder of ["bin", "dev", "proc", "sys", "tmp", "run", "modules", "repository"]) mkdirSync(join(tree, folder));
    copyFileSync("/bin/busybox", join(tree, "bin/busybox"));
    for (const applet of APPLETS) symlinkSync("busybox", join(tree, "bin", applet));
    program(tree, "bin/make", MAKE);
    writeFileSync(join(tree, "modules/order"), `${MODULES.join("\n")}\n`);
    writeFileSync(join(tree, "rows"), rows.map(plainName).join("\n"));
    program(tree, "init", readFileSync(join(import.meta.dirname, "init.sh"), "utf8"));
    const node = realpathSync(join(ROOT, "node_modules/.bin/node"));
    copyFileSync(node, join(tree, "bin/node"));
    const tools = TOOLS.map(found);
    for (const tool of tools) copyFileSync(tool, join(tree, "bin", basename(tool)));
    for (const library of libraries(node, loaded("libbpf.so.1"), ...tools)) put(tree, library);
    for (const module of MODULES) copyFileSync(execFileSync("find", [kernel.modules, "-name", `${module}.ko`], { encoding: "utf8" }).trim(), join(tree, "modules", `${module}.ko`));
    putRepository(join(tree, "repository"), [...PROGRAMS, ...rows]);
    execFileSync("sh", ["-c", `find . | busybox cpio --quiet -o -H newc > "$0"`, archive], { cwd: tree });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

function putRepository(folder: string, entries: readonly string[]): void {
  const { modules, packages } = sourcesOf(ROOT, entries);
  for (const [path, text] of modules) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  for (const path of ["package.json", ...COMPILED, ...packages]) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
}

function program(tree: string, path: string, text: string): void {
  writeFileSync(join(tree, path), text);
  chmodSync(join(tree, path), 0o755);
}

function put(tree: string, file: string): void {
  mkdirSync(join(tree, dirname(file)), { recursive: true });
  if (!existsSync(join(tree, file))) copyFileSync(realpathSync(file), join(tree, file));
}

function found(tool: string): string {
  const folder = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].find((each) => existsSync(join(each, tool)));
  if (folder === undefined) throw new Error(`${tool} is not installed: make setup`);
  return join(folder, tool);
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
