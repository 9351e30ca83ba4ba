import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { writeOciArchive } from "../image/index.ts";
import type { Found } from "./binaries/find.ts";
import { BUSYBOX_IMAGE, type ClusterConfig, clusterPaths, type NodeIdentity } from "./config.ts";
import { inNode, PAUSE_IMAGE } from "./node.ts";
import { run } from "./process.ts";

interface Image {
  readonly ref: string;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  fill(root: string): Promise<void>;
}

export function kubeProxyImage(kubernetes: string): string {
  return `localhost/kube-proxy:v${kubernetes}`;
}

export function corednsImage(version: string): string {
  return `localhost/coredns:${version}`;
}

/** Builds the archives of the images that a cluster without a registry needs: each is made once per cluster directory. */
export async function ensureArchives(config: ClusterConfig, programs: Found, corednsVersion: string): Promise<string[]> {
  const { images } = clusterPaths(config);
  mkdirSync(images, { recursive: true });
  const wanted: Image[] = [
    { ref: PAUSE_IMAGE, entrypoint: ["/pause"], fill: buildPause },
    { ref: BUSYBOX_IMAGE, cmd: ["sh"], fill: fillBusybox },
    { ref: corednsImage(corednsVersion), entrypoint: ["/coredns"], fill: (root) => install(programs["coredns"] ?? "", join(root, "coredns")) },
  ];
  if (config.kubeProxy) wanted.push({ ref: kubeProxyImage(config.kubernetes), entrypoint: ["/kube-proxy"], fill: (root) => fillKubeProxy(root, programs["kube-proxy"] ?? "") });
  return await Promise.all(wanted.map((image) => archive(images, image)));
}

async function archive(dir: string, image: Image): Promise<string> {
  const file = join(dir, `${image.ref.replaceAll(/[^a-z0-9.]+/g, "-")}.tar`);
  if (existsSync(file)) return file;
  const work = mkdtempSync(join(dir, "work-"));
  try {
    const root = join(work, "root");
    mkdirSync(root, { mode: 0o755 });
    await image.fill(root);
    const layer = join(work, "layer.tar");
    await run(["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C", root, "-cf", layer, "."]);
    const config = { ...(image.entrypoint && { entrypoint: image.entrypoint }), ...(image.cmd && { cmd: image.cmd }), env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] };
    await writeOciArchive({ file, ref: image.ref, layers: [layer], config });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}

async function install(source: string, target: string): Promise<void> {
  await run(["install", "-D", "-m", "755", source, target]);
}

async function buildPause(root: string): Promise<void> {
  await run(["clang-19", "-static", "-Os", "-Wall", "-Werror", "-s", "-o", join(root, "pause"), join(import.meta.dirname, "pause.c")]);
}

async function fillBusybox(root: string): Promise<void> {
  await install("/bin/busybox", join(root, "bin/busybox"));
  await run(["sh", "-c", 'mkdir -p etc tmp usr sbin && chmod 1777 tmp && for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "bin/$applet"; done && '
    + "echo 'root:x:0:0:root:/:/bin/sh' > etc/passwd && echo 'hosts: files dns' > etc/nsswitch.conf"], { cwd: root });
}

const XTABLES = "/usr/sbin/xtables-nft-multi";
const XTABLES_COMMANDS = ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

/** kube-proxy calls iptables and conntrack: the machine's own, with the libraries they need. */
async function fillKubeProxy(root: string, kubeProxy: string): Promise<void> {
  await install(kubeProxy, join(root, "kube-proxy"));
  const conntrack = (await run(["sh", "-c", "command -v conntrack"])).trim();
  const plugins = (await run(["sh", "-c", "ls -d /usr/lib/*/xtables"])).trim();
  const matches = (await readdir(plugins)).map((name) => join(plugins, name));
  const libraries = new Set((await Promise.all([[XTABLES], [conntrack], matches].map(sharedLibraries))).flat());
  await Promise.all([...libraries].map((library) => install(library, join(root, library))));
  await install(XTABLES, join(root, XTABLES));
  await install(conntrack, join(root, "usr/sbin/conntrack"));
  await run(["sh", "-c", `mkdir -p "$0$1" tmp run && cp -a "$1/." "$0$1/" && for name in ${XTABLES_COMMANDS.join(" ")}; do ln -s xtables-nft-multi "$0/usr/sbin/$name"; done`, root, plugins], { cwd: root });
}

async function sharedLibraries(programs: readonly string[]): Promise<string[]> {
  const lines = (await run(["ldd", ...programs])).split("\n");
  return lines.map((line) => /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1]).filter((path) => path !== undefined);
}

/** Imports an archive into a node's containerd, where the kubelet looks for images. */
export async function importArchive(config: ClusterConfig, node: NodeIdentity, file: string): Promise<void> {
  await run(inNode(config, node, ["ctr", "--namespace", "k8s.io", "images", "import", file]));
  mkdirSync(join(node.disk, "imported"), { recursive: true });
  writeFileSync(importMark(node, file), "");
}

/** Imports those archives that were not yet: the marks are on the node's disk, as the images are. */
export async function importMissing(config: ClusterConfig, node: NodeIdentity, archives: readonly string[]): Promise<void> {
  for (const archive of archives) if (!existsSync(importMark(node, archive))) await importArchive(config, node, archive);
}

function importMark(node: NodeIdentity, archive: string): string {
  return join(node.disk, "imported", archive.replaceAll("/", "_"));
}

/** Archives that the user imported into this cluster, as far as they are still there. */
export function loadedArchives(config: ClusterConfig): string[] {
  const { loaded } = clusterPaths(config);
  return existsSync(loaded) ? readFileSync(loaded, "utf8").split("\n").filter((file) => file !== "" && existsSync(file)) : [];
}

export function rememberLoaded(config: ClusterConfig, archive: string): void {
  const files = new Set([...loadedArchives(config), archive]);
  writeFileSync(clusterPaths(config).loaded, `${[...files].join("\n")}\n`);
}
