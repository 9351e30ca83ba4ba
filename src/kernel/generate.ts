/**
 * Writes gen/types.ts from bpf/lib/types.h: `node src/kernel/generate.ts <types.h> <output.ts>`.
 *
 * The compiler is asked for the layout (clang → BTF), never a second parser of C. The header's own text is
 * read for two things that BTF lacks: which structs and enums there are (so that none is forgotten), and the
 * flag constants that are macros.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { layoutHash, layoutText, parseBtf, resolveAlias } from "./btf.ts";
import type { BtfMember, BtfType } from "./btf.ts";
import { objectBtf } from "./btf-file.ts";

const HEADER = `// Generated from bpf/lib/types.h by \`make generate\`; \`make verify\` fails when they differ.
// Fields that end in _be in C are numbers in host order here: the codec converts. Padding is written as zero.
import type { Codec } from "../port.ts";
`;

function compile(header: string): Uint8Array {
  const text = readFileSync(header, "utf8");
  const names = [...text.matchAll(/^(struct|enum) (\w+) \{/gm)].map(([, kind, name]) => `${kind} ${name}`);
  // A variable of each type keeps it in the BTF.
  const source = [`#include "${header}"`, ...names.map((type, i) => `volatile ${type} keep_${i};`)].join("\n");
  const folder = mkdtempSync(join(tmpdir(), "types-"));
  try {
    const object = join(folder, "types.o");
    execFileSync("clang-19", ["-target", "bpf", "-g", "-O2", "-c", "-x", "c", "-", "-o", object], { input: source });
    return objectBtf(object);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const pascal = (name: string): string => name.replace(/(^|_)([a-z0-9])/g, (_, _separator: string, c: string) => c.toUpperCase());
const camel = (name: string): string => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

interface Field {
  readonly name: string;
  readonly type: string;
  readonly read: string;
  readonly write: string;
}

function field(types: readonly BtfType[], owner: string, member: BtfMember): Field {
  const type = resolveAlias(types, member.type);
  const bigEndian = member.name.endsWith("_be");
  const name = camel(bigEndian ? member.name.slice(0, -3) : member.name);
  const offset = member.bitOffset / 8;
  if (type.kind === "int" || type.kind === "enum") {
    const method = type.size === 8 ? "BigUint64" : `Uint${type.size * 8}`;
    const order = type.size === 1 ? "" : `, ${!bigEndian}`;
    return {
      name,
      type: type.size === 8 ? "bigint" : "number",
      read: `from.get${method}(at + ${offset}${order})`,
      write: `into.set${method}(at + ${offset}, value.${name}${order});`,
    };
  }
  const element = type.kind === "array" ? resolveAlias(types, type.of) : undefined;
  if (type.kind === "array" && element?.kind === "int" && element.size === 1) {
    return {
      name,
      type: "Uint8Array",
      read: `readBytes(from, at + ${offset}, ${type.length})`,
      write: `writeBytes(into, at + ${offset}, ${type.length}, value.${name});`,
    };
  }
  throw new Error(`${owner}.${member.name}: no codec for this type`);
}

function sizeOf(types: readonly BtfType[], { type: id }: { readonly type: number }): number {
  const type = resolveAlias(types, id);
  if (type.kind === "array") return type.length * sizeOf(types, { type: type.of });
  return type.kind === "int" || type.kind === "enum" || type.kind === "struct" ? type.size : Number.NaN;
}

/** A statement that writes zeros. */
function zeros(offset: number, size: number): string {
  return Array.from({ length: size }, (_, i) => `into.setUint8(at + ${offset + i}, 0);`).join(" ");
}

/** Every byte of a struct must belong to a member: map keys are compared with their padding. */
function checkNoHoles(types: readonly BtfType[], name: string, size: number, members: readonly BtfMember[]): void {
  let end = 0;
  for (const member of members) {
    if (member.bitOffset !== end * 8) throw new Error(`struct ${name} has a hole before ${member.name}`);
    end += sizeOf(types, member);
  }
  if (end !== size) throw new Error(`struct ${name} has a hole at its end`);
}

function renderStruct(types: readonly BtfType[], id: number, name: string, size: number, members: readonly BtfMember[]): string {
  checkNoHoles(types, name, size, members);
  const isPadding = (member: BtfMember): boolean => member.name === "pad";
  const fields = members.filter((member) => !isPadding(member)).map((member) => field(types, name, member));
  const padding = members.filter(isPadding).map((member) => zeros(member.bitOffset / 8, sizeOf(types, member)));
  const type = pascal(name);
  return `
export interface ${type} {
${fields.map((f) => `  readonly ${f.name}: ${f.type};`).join("\n")}
}

export const ${camel(name)}Codec: Codec<${type}> = {
  size: ${size},
  encode(value, into, at = 0) {
${[...fields.map((f) => f.write), ...padding].map((line) => `    ${line}`).join("\n")}
  },
  decode(from, at = 0) {
    return {
${fields.map((f) => `      ${f.name}: ${f.read},`).join("\n")}
    };
  },
};

/** Changes when the layout of struct ${name} does. */
export const ${camel(name)}Layout = "${layoutHash(layoutText(types, id))}";
`;
}

function renderEnum(name: string, values: ReadonlyMap<string, number>): string {
  const prefix = commonPrefix([...values.keys()]);
  const type = pascal(name);
  const entries = [...values].map(([key, value]) => [key.slice(prefix.length), value] as const);
  return `
export const ${type} = {
${entries.map(([key, value]) => `  ${key}: ${value},`).join("\n")}
} as const;
export type ${type} = (typeof ${type})[keyof typeof ${type}];
/** ${type} by number. */
export const ${camel(name)}Names: ReadonlyMap<number, keyof typeof ${type}> = new Map([
${entries.map(([key, value]) => `  [${value}, "${key}"],`).join("\n")}
]);
`;
}

/** The longest start that ends in `_` and that all names share. */
function commonPrefix(names: readonly string[]): string {
  const first = names[0] ?? "";
  let length = first.length;
  for (const name of names) while (!name.startsWith(first.slice(0, length))) length--;
  return first.slice(0, first.lastIndexOf("_", length - 1) + 1);
}

function renderConstants(header: string): string {
  const macros = [...header.matchAll(/^#define ([A-Z]\w*) (0x[0-9a-fA-F]+|\d+)u\b[ \t]*(?:\/\*[ \t]*(.*?)[ \t]*\*\/)?/gm)];
  return macros
    .map(([, name, value, comment]) => `${comment === undefined ? "" : `/** ${comment} */\n`}export const ${name} = ${value};\n`)
    .join("");
}

const BYTE_FUNCTIONS = `
function readBytes(from: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(from.buffer, from.byteOffset + at, length).slice();
}

function writeBytes(into: DataView, at: number, length: number, bytes: Uint8Array): void {
  if (bytes.length !== length) throw new RangeError(\`\${length} bytes wanted, \${bytes.length} given\`);
  // Byte by byte: for so few, a view on the buffer costs many times what it saves, and maps are filled by the hundred thousand.
  for (let i = 0; i < length; i++) into.setUint8(at + i, bytes[i] as number);
}
`;

/** The whole of gen/types.ts. */
export function generate(header: string): string {
  const types = parseBtf(compile(header));
  const parts = [HEADER, "\n", renderConstants(readFileSync(header, "utf8"))];
  types.forEach((type, id) => {
    if (type.kind === "enum" && type.name !== "") parts.push(renderEnum(type.name, type.values));
    if (type.kind === "struct" && type.name !== "") parts.push(renderStruct(types, id, type.name, type.size, type.members));
  });
  return parts.join("") + BYTE_FUNCTIONS;
}

if (import.meta.main) {
  const [header, output] = process.argv.slice(2);
  if (header === undefined || output === undefined) throw new Error(`usage: generate.ts <types.h> <output.ts>`);
  writeFileSync(output, generate(resolve(header)));
}
