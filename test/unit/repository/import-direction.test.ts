/** The folders of src/ form layers: each imports only those above it in this list, so that every part can be read alone. */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const LAYERS = [
  "lib",
  "api",
  "model",
  "compile",
  "kube",
  "kernel",
  "reconcile",
  "targets",
  "feed",
  "hubble",
  "inspect",
  "explain",
  "cni",
  "preflight",
  "operator",
  "agent",
  "cli",
];
/** What is no part of the running product: image and cluster know lib and each other, the demo may know all. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  cluster: ["lib", "image"],
  image: ["lib", "cluster"],
  demo: [...LAYERS, "cluster", "image"],
};
/** Neighbours that must stay strangers although one stands above the other. */
const STRANGERS = new Set(["feed", "hubble", "cni"]);
/** A process is the end of the line: nothing imports one. */
const PROCESSES = new Set(["operator", "agent", "cli"]);

const source = resolve(import.meta.dirname, "..", "..", "..", "src");

function allowed(from: string, to: string): boolean {
  if (from === to) return true;
  const tools = TOOLS[from];
  if (tools !== undefined) return tools.includes(to);
  if (STRANGERS.has(from) && STRANGERS.has(to)) return false;
  if (PROCESSES.has(to)) return false;
  return LAYERS.includes(to) && LAYERS.indexOf(to) < LAYERS.indexOf(from);
}

/** Relative imports of files that exist; the rest is text, such as what a generator writes. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const specifiers = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']+)["']/g)].map((match) => match[1] ?? "");
  return specifiers.filter((specifier) => existsSync(resolve(dirname(file), specifier)));
}

const folders = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);

test("every folder of src has its place in the list", () => {
  assert.deepEqual(folders.filter((name) => !LAYERS.includes(name) && TOOLS[name] === undefined), []);
});

test("a folder imports only folders above it", () => {
  const wrong: string[] = [];
  for (const file of globSync("**/*.ts", { cwd: source })) {
    const from = file.split("/")[0] ?? "";
    for (const specifier of importsOf(join(source, file))) {
      const to = relative(source, resolve(dirname(join(source, file)), specifier)).split("/")[0] ?? "";
      if (to !== ".." && !allowed(from, to)) wrong.push(`${file} imports ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("every folder opens with an index.ts that says what it is", () => {
  const wrong = folders.filter((name) => {
    const index = join(source, name, "index.ts");
    return !existsSync(index) || !readFileSync(index, "utf8").startsWith("/**");
  });
  assert.deepEqual(wrong, []);
});
