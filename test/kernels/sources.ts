/** What programs of this repository consist of, for a machine that has nothing but that: modules without their types, and packages. */
import { existsSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, posix } from "node:path";

export interface Sources {
  /** Path from the root, as `.js` -> text without types; the same lines and columns, so that a trace of there is one of here. */
  readonly modules: ReadonlyMap<string, string>;
  /** Folders of packages, from the root. */
  readonly packages: ReadonlySet<string>;
}

const IMPORT = /^(?:import|export)\s(?:[\w$*{},\s]+\sfrom\s)?"([^"]+)"/gm;
const DYNAMIC = /\bimport\("([^"]+)"\)/g;
const RELATIVE = /(["'`]\.{1,2}\/[^"'`\n]*)\.ts(?=["'`])/g;

/** What Node runs as it is. */
export const plainName = (path: string): string => path.replace(/\.ts$/, ".js");

/** Everything that the entries import, whole: what is imported for its types alone is gone with them. */
export function sourcesOf(root: string, entries: readonly string[]): Sources {
  const [modules, packages] = [new Map<string, string>(), new Set<string>()];
  const add = (path: string): void => {
    if (modules.has(plainName(path))) return;
    const text = stripTypeScriptTypes(readFileSync(join(root, path), "utf8"));
    modules.set(plainName(path), text.replace(RELATIVE, "$1.js"));
    for (const [, name = ""] of [...text.matchAll(IMPORT), ...text.matchAll(DYNAMIC)]) {
      if (name.startsWith(".")) add(posix.join(posix.dirname(path), name));
      else if (!name.startsWith("node:")) addPackage(root, name.split("/").slice(0, name.startsWith("@") ? 2 : 1).join("/"), packages);
    }
  };
  for (const entry of entries) add(entry);
  return { modules, packages };
}

/** With those that it depends on; optional ones are for other machines where they are not installed. */
function addPackage(root: string, name: string, packages: Set<string>): void {
  const folder = `node_modules/${name}`;
  if (packages.has(folder) || !existsSync(join(root, folder))) return;
  packages.add(folder);
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as Record<string, Record<string, string> | undefined>;
  for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) addPackage(root, each, packages);
}
