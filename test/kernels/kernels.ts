/**
 * Debian's cloud kernels: the oldest one that we support and the one after it, each as a package of its own release.
 *
 * They come from the mirror that this machine's own apt uses, with apt's signature check, through lists of their own, so
 * that the machine's are left alone. What was fetched once stays in the cache outside the repository.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export interface KernelRelease {
  readonly version: string;
  /** Debian's release that ships it. */
  readonly suite: string;
}

export const RELEASES: readonly KernelRelease[] = [
  { version: "5.10", suite: "bullseye" },
  { version: "6.1", suite: "bookworm" },
];

export interface Kernel {
  readonly version: string;
  readonly vmlinuz: string;
  /** Folder below which the kernel's modules lie. */
  readonly modules: string;
}

const PACKAGE = "linux-image-cloud-amd64";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const CACHE = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "cilium-dev", "kernels");
const FETCH_LIMIT_MS = 180_000;

/** The kernel, or the reason why it is not to be had here. */
export function kernelOf(release: KernelRelease): Kernel | string {
  const folder = join(CACHE, release.version);
  if (process.arch !== "x64") return `the kernels that are booted are amd64's, and this machine is ${process.arch}`;
  if (!existsSync(folder)) {
    const mirror = debianMirror();
    if (mirror === undefined) return `apt of this machine has no mirror of Debian to fetch Linux ${release.version} from`;
    if (!existsSync(KEYRING)) return `${KEYRING} is not there to check Debian's signature`;
    try {
      fetch(release, mirror, folder);
    } catch (error) {
      return `Linux ${release.version} cannot be fetched: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  const image = readdirSync(join(folder, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (image === undefined) throw new Error(`${folder} has no vmlinuz: delete it`);
  return { version: release.version, vmlinuz: join(folder, "boot", image), modules: join(folder, "lib/modules", image.slice("vmlinuz-".length)) };
}

function debianMirror(): string | undefined {
  const targets = execFileSync("apt-get", ["indextargets", "--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)", "Created-By: Packages"], { encoding: "utf8" });
  return targets.split("\n").map((line) => line.split("\t")).find(([origin, label]) => origin === "Debian" && label === "Debian")?.[2];
}

function fetch({ suite, version }: KernelRelease, mirror: string, folder: string): void {
  const work = join(CACHE, `.${version}.${process.pid}`);
  try {
    for (const each of ["lists/partial", "cache/archives/partial", "unpacked"]) mkdirSync(join(work, each), { recursive: true });
    writeFileSync(join(work, "sources.list"), `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    const options = [
      `Dir::Etc::sourcelist=${work}/sources.list`, "Dir::Etc::sourceparts=/dev/null", `Dir::State::lists=${work}/lists`, `Dir::Cache=${work}/cache`,
      "Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "APT::Sandbox::User=root",
    ].flatMap((option) => ["-o", option]);
    const apt = (program: string, ...args: string[]): string => execFileSync(program, [...options, ...args], { cwd: work, encoding: "utf8", timeout: FETCH_LIMIT_MS, stdio: ["ignore", "pipe", "pipe"] });
    apt("apt-get", "-qq", "update");
    const image = /Depends: (linux-image-\S+)/.exec(apt("apt-cache", "depends", PACKAGE))?.[1];
    if (image === undefined) throw new Error(`${suite} has no ${PACKAGE}`);
    apt("apt-get", "-qq", "download", image);
    const archive = readdirSync(work).find((name) => name.endsWith(".deb")) ?? "";
    execFileSync("dpkg-deb", ["--extract", join(work, archive), join(work, "unpacked")]);
    renameSync(join(work, "unpacked"), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
