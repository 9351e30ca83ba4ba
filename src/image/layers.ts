/**
 * The three layers of the product's image, from what changes least to what changes most:
 * Debian's root file system, Node with the production packages, and the product itself.
 *
 * The first two are cached outside the repository under a hash of everything they are made from, so that
 * a rebuild writes the last one only. All tars are reproducible: sorted, owned by root, dated 1970.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CodedError } from "../lib/errors.ts";
import { run } from "./run.ts";

export interface BuildPaths {
  /** The repository. */
  readonly root: string;
  /** Survives `make clean` and other checkouts. */
  readonly cache: string;
}

const SUITE = "bookworm";
/** What agent, operator and CNI call or load at run time, and what a person debugging a node reaches for. */
const PACKAGES = [
  "bpftool",
  "ca-certificates",
  "iproute2",
  "iptables",
  "libbpf1",
  "mount",
  "nftables",
  "procps",
  "util-linux",
  "wireguard-tools",
] as const;
const LEFT_OUT = ["man", "doc", "locale", "info", "bash-completion", "lintian"] as const;

/** Rights and dates that do not depend on who builds and when. */
const REPRODUCIBLE = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r-w,a+X"];

/** Debian's minbase with `PACKAGES`. Debian's security updates arrive when the cached file is deleted. */
export async function rootfsLayer({ cache }: BuildPaths): Promise<string> {
  const recipe = { suite: SUITE, packages: PACKAGES, leftOut: LEFT_OUT };
  return cached(join(cache, "rootfs"), recipe, async (file) => {
    const excludes = LEFT_OUT.map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`);
    const args = ["--variant=minbase", "--format=tar", `--include=${PACKAGES.join(",")}`, ...excludes, SUITE, file];
    await run("mmdebstrap", args, { env: { SOURCE_DATE_EPOCH: "0" } });
  });
}

/** /usr/local/bin/node and /opt/cilium/node_modules: the packages that package-lock.json needs in production. */
export async function runtimeLayer({ root, cache }: BuildPaths): Promise<string> {
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const packages = productionPackages(lock).filter((path) => existsSync(join(root, path)));
  const recipe = { packages, lock: sha256(lock), excludes: NOT_FOR_RUNNING };
  return cached(join(cache, "layers"), recipe, async (file) => {
    const node = join("node_modules", "node", "bin", "node");
    if (!existsSync(join(root, node))) throw new CodedError("NO_NODE", `${node} is missing: run npm ci`);
    await run("tar", [
      ...REPRODUCIBLE,
      ...NOT_FOR_RUNNING.map((pattern) => `--exclude=${pattern}`),
      "--transform=flags=rSH;s,^node_modules/node/bin/node$,usr/local/bin/node,",
      "--transform=flags=rSH;s,^node_modules/,opt/cilium/node_modules/,",
      ...["-C", root, "-cf", file, node, ...packages],
    ]);
  });
}

const NOT_FOR_RUNNING = ["*.d.ts", "*.d.mts", "*.d.cts", "*.map", "*.ts", "CHANGELOG*", "node_modules/.bin"] as const;

/** Folders of the packages that are not only there for development. A nested package is inside its parent's folder. */
export function productionPackages(lockText: string): string[] {
  const lock = JSON.parse(lockText) as { packages: Record<string, { dev?: boolean; devOptional?: boolean; link?: boolean }> };
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== "" && entry.dev !== true && entry.devOptional !== true)
    .map(([path]) => path)
    .filter((path) => !path.slice("node_modules/".length).includes("/node_modules/"))
    .toSorted();
}

/** The product: compiled JavaScript, BPF objects, CNI plugin, CRDs, and `cilium` on PATH. */
export async function productLayer({ root }: BuildPaths): Promise<string> {
  const stage = join(root, "build", "image", "product");
  const home = join(stage, "opt", "cilium");
  await rm(stage, { recursive: true, force: true });
  await mkdir(home, { recursive: true });
  await compile(root, join(home, "dist"));
  await copyObjects(root, join(home, "bpf"));
  await copyRequired(join(root, "build", "bin", "cilium-cni"), join(home, "bin", "cilium-cni"), "make cni");
  await copyRequired(join(root, "build", "bin", "wireguard-go"), join(home, "bin", "wireguard-go"), "make build/bin/wireguard-go");
  await copyRequired(join(root, "src", "image", "cilium-wireguard.sh"), join(home, "bin", "cilium-wireguard"), "git checkout src/image");
  await chmod(join(home, "bin", "cilium-wireguard"), 0o755);
  await copyRequired(join(root, "crds"), join(home, "crds"), "git checkout crds");
  await copyRequired(join(root, "LICENSE"), join(home, "LICENSE"), "git checkout LICENSE");
  await copyRequired(join(root, "package.json"), join(home, "package.json"), "git checkout package.json");
  const command = join(stage, "usr", "local", "bin", "cilium");
  await mkdir(dirname(command), { recursive: true });
  await writeFile(command, '#!/bin/sh\nexec node /opt/cilium/dist/cli/main.js "$@"\n');
  await chmod(command, 0o755);
  const file = join(root, "build", "image", "product.tar");
  await run("tar", [...REPRODUCIBLE, "-C", stage, "-cf", file, "opt", "usr"]);
  return file;
}

async function compile(root: string, outDir: string): Promise<void> {
  await run(join(root, "node_modules", ".bin", "tsc"), ["-p", join(root, "config", "tsconfig.build.json"), "--outDir", outDir]);
}

/** The object of each source; one that lies there from a source that is gone stays out. */
async function copyObjects(root: string, to: string): Promise<void> {
  const sources = (await readdir(join(root, "bpf"))).filter((name) => name.endsWith(".bpf.c"));
  for (const source of sources) {
    const name = source.replace(/\.bpf\.c$/, ".o");
    await copyRequired(join(root, "build", "bpf", name), join(to, name), "make bpf");
  }
}

async function copyRequired(from: string, to: string, remedy: string): Promise<void> {
  if (!existsSync(from)) throw new CodedError("NOT_BUILT", `${from} is missing: run ${remedy}`);
  await cp(from, to, { recursive: true });
}

/** The file named by a hash of `recipe`, made if it is not there. It appears whole or not at all. */
async function cached(folder: string, recipe: object, make: (file: string) => Promise<void>): Promise<string> {
  const file = join(folder, `${sha256(JSON.stringify(recipe)).slice(0, 20)}.tar`);
  if (existsSync(file)) return file;
  await mkdir(folder, { recursive: true });
  const unfinished = `${file}.${process.pid}.part`;
  try {
    await make(unfinished);
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
  return file;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
