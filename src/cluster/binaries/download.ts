import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { ClusterError } from "../errors.ts";
import { run } from "../process.ts";
import type { Binary, PublishedProject } from "./catalog.ts";

/** How downloads are made: the address and patience are parameters, so that a test serves them on loopback. */
export interface Fetching {
  /** Used instead of each project's own address. */
  readonly base?: string;
  /** Time until the server must have begun to answer; then the next source is tried. */
  readonly connectMs: number;
}

/**
 * Downloads binaries into the cache. False when the server cannot be reached or has no such release; a file whose
 * checksum is wrong is an error, because something stands between us and the project.
 */
export async function downloadProject(project: PublishedProject, binaries: readonly Binary[], cache: string, fetching: Fetching, say: (line: string) => void): Promise<boolean> {
  const base = fetching.base ?? project.download.base;
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, ".download-"));
  try {
    const archives = new Map<string, Buffer>();
    for (const binary of binaries) {
      const path = project.download.path(binary.name);
      const content = archives.get(path) ?? (await verified(base, project, binary, fetching.connectMs));
      if (content === undefined) {
        say(`${project.name} ${project.version}: no download from ${base}`);
        return false;
      }
      archives.set(path, content);
      await unpack(content, project, binary, temporary);
    }
    for (const binary of binaries) {
      await chmod(join(temporary, binary.name), 0o755);
      await rename(join(temporary, binary.name), join(cache, binary.name));
    }
    say(`${project.name} ${project.version}: downloaded from ${base}`);
    return true;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function verified(base: string, project: PublishedProject, binary: Binary, connectMs: number): Promise<Buffer | undefined> {
  const path = project.download.path(binary.name);
  const sums = await get(`${base}${project.download.checksumPath(binary.name)}`, connectMs);
  if (sums === undefined) return undefined;
  const expected = expectedChecksum(sums.toString(), basename(path));
  if (expected === undefined) throw new ClusterError(`the checksums of ${basename(path)} at ${base} do not name it`, "put the binaries on PATH or in KUBE_BIN");
  const content = await get(`${base}${path}`, connectMs);
  if (content === undefined) return undefined;
  const actual = createHash("sha256").update(content).digest("hex");
  if (actual !== expected) {
    throw new ClusterError(`${base}${path} has the wrong checksum (${actual}, published ${expected})`, "look for a proxy that changes downloads, or put the binaries on PATH or in KUBE_BIN");
  }
  return content;
}

/** A checksum file is the bare sum, or lines of sum and file name as sha256sum(1) prints them. */
export function expectedChecksum(text: string, file: string): string | undefined {
  const lines = text.trim().split("\n").map((line) => line.trim().split(/\s+/));
  const line = lines.length === 1 && lines[0]?.length === 1 ? lines[0] : lines.find(([, name]) => name !== undefined && basename(name.replace(/^\*/, "")) === file);
  const sum = line?.[0]?.toLowerCase();
  return sum !== undefined && /^[0-9a-f]{64}$/.test(sum) ? sum : undefined;
}

/** The body, or undefined when there is no connection in time, or no such file there. */
async function get(url: string, connectMs: number): Promise<Buffer | undefined> {
  const connecting = new AbortController();
  const timer = setTimeout(() => connecting.abort(), connectMs);
  let response: Response;
  try {
    response = await fetch(url, { signal: connecting.signal });
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) {
    await response.body?.cancel();
    return undefined;
  }
  try {
    return Buffer.from(await response.arrayBuffer());
  } catch {
    return undefined; // The connection broke half way.
  }
}

async function unpack(content: Buffer, project: PublishedProject, binary: Binary, dir: string): Promise<void> {
  const target = join(dir, binary.name);
  if (!project.download.archive) {
    await writeFile(target, content);
    return;
  }
  const archive = join(dir, "archive.tar.gz");
  await writeFile(archive, content);
  const names = (await run(["tar", "-tzf", archive])).split("\n");
  const member = names.find((name) => basename(name) === binary.name && !name.endsWith("/"));
  if (member === undefined) throw new ClusterError(`the download of ${project.name} ${project.version} has no ${binary.name} in it`, "put the binaries on PATH or in KUBE_BIN");
  await run(["tar", "-xzf", archive, "-C", dir, "--no-same-owner", member]);
  if (join(dir, member) !== target) await rename(join(dir, member), target);
  if ((await readFile(target)).length === 0) throw new ClusterError(`${binary.name} in the download of ${project.name} is empty`, "put the binaries on PATH or in KUBE_BIN");
}
