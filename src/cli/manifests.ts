/** Objects of Kubernetes in files, folders and standard input, each with the lines on which it is written. */
import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { KubeObject } from "../api/meta.ts";
import type { LineOf } from "../explain/index.ts";
import { codeOf, describeError } from "../lib/errors.ts";
import { CliError } from "./errors.ts";
import { parseDocuments } from "./yaml-lines.ts";

export interface Manifest {
  readonly file: string;
  readonly object: KubeObject;
  readonly line: LineOf;
}

/** A document that is no object, or a file that is no YAML. */
export interface Unreadable {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

export interface Manifests {
  readonly objects: readonly Manifest[];
  readonly unreadable: readonly Unreadable[];
}

const ENDINGS = [".yaml", ".yml", ".json"];

/** `-` is standard input; of a folder, all files below it that end as such files do. */
export async function readManifests(paths: readonly string[]): Promise<Manifests> {
  const found: Manifests[] = [];
  for (const path of paths) for (const file of await filesOf(path)) found.push(manifestsOf(file, await readSource(file)));
  return { objects: found.flatMap(({ objects }) => objects), unreadable: found.flatMap(({ unreadable }) => unreadable) };
}

async function filesOf(path: string): Promise<readonly string[]> {
  if (path === "-" || !(await isFolder(path))) return [path];
  const below = await readdir(path, { recursive: true });
  const files = below.filter((name) => ENDINGS.some((ending) => name.endsWith(ending))).sort().map((name) => join(path, name));
  if (files.length === 0) throw new CliError(`${path}: no file below it ends with ${ENDINGS.join(", ")}`);
  return files;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (thrown) {
    throw new CliError(codeOf(thrown) === "ENOENT" ? `${path}: there is no such file or folder` : `${path}: ${describeError(thrown)}`);
  }
}

/** The text of a file; of - standard input. */
export async function readSource(file: string): Promise<string> {
  if (file === "-") return await text(process.stdin);
  // Says it in words where there is none.
  if (await isFolder(file)) throw new CliError(`${file}: is a folder`);
  return await readFile(file, "utf8");
}

export function manifestsOf(file: string, source: string): Manifests {
  let documents: ReturnType<typeof parseDocuments>;
  try {
    documents = parseDocuments(source, file);
  } catch (thrown) {
    const { mark, reason } = thrown as { mark?: { line: number }; reason?: string };
    return { objects: [], unreadable: [{ file, line: (mark?.line ?? 0) + 1, message: `no YAML: ${reason ?? describeError(thrown)}` }] };
  }
  const objects: Manifest[] = [];
  const unreadable: Unreadable[] = [];
  for (const { value, line } of documents) {
    if (value === null || value === undefined) continue;
    if (!isObject(value)) unreadable.push({ file, line: line(""), message: "no object of Kubernetes: kind and metadata.name are needed" });
    else if (value.kind?.endsWith("List") === true && Array.isArray((value as { items?: unknown }).items)) objects.push(...itemsOf(file, value as unknown as { items: unknown[] }, line));
    else objects.push({ file, object: value, line });
  }
  return { objects, unreadable };
}

function itemsOf(file: string, { items }: { readonly items: readonly unknown[] }, line: LineOf): readonly Manifest[] {
  return items.flatMap((item, index) => (isObject(item) ? [{ file, object: item, line: (path: string) => line(path === "" ? `items[${index}]` : `items[${index}].${path}`) }] : []));
}

function isObject(value: unknown): value is KubeObject {
  if (typeof value !== "object" || value === null) return false;
  const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown } | null };
  if (typeof kind !== "string") return false;
  return kind.endsWith("List") || (typeof metadata === "object" && metadata !== null && typeof metadata.name === "string");
}
