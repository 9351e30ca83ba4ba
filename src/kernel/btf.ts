/**
 * Reader of BTF, the type format inside BPF objects (kernel: Documentation/bpf/btf.rst).
 *
 * Pure: bytes in, types out. Used by the loader (offsets of `volatile const` options, layout hashes of
 * maps) and by the codec generator, so that both see one truth about a layout.
 */
import { createHash } from "node:crypto";

export type BtfMember = { readonly name: string; readonly type: number; readonly bitOffset: number };

export type BtfType =
  | { readonly kind: "void" }
  | { readonly kind: "int"; readonly name: string; readonly size: number; readonly signed: boolean }
  | { readonly kind: "ref"; readonly name: string; readonly of: number; readonly what: "pointer" | "alias" | "function" | "variable" }
  | { readonly kind: "array"; readonly of: number; readonly length: number }
  | { readonly kind: "struct"; readonly name: string; readonly size: number; readonly members: readonly BtfMember[] }
  | { readonly kind: "enum"; readonly name: string; readonly size: number; readonly values: ReadonlyMap<string, number> }
  | { readonly kind: "section"; readonly name: string; readonly variables: readonly BtfVariable[] }
  | { readonly kind: "other"; readonly name: string };

export interface BtfVariable {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

const MAGIC = 0xeb9f;
const HEADER_TYPE_OFFSET = 8;

/** Types by id; id 0 is void. Throws on anything that is not BTF of this machine's byte order. */
export function parseBtf(raw: Uint8Array): readonly BtfType[] {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  if (view.getUint16(0, true) !== MAGIC) throw new Error("not little-endian BTF");
  const headerLength = view.getUint32(4, true);
  const typesAt = headerLength + view.getUint32(HEADER_TYPE_OFFSET, true);
  const typesEnd = typesAt + view.getUint32(HEADER_TYPE_OFFSET + 4, true);
  const stringsAt = headerLength + view.getUint32(HEADER_TYPE_OFFSET + 8, true);
  const text = new TextDecoder();
  const stringAt = (offset: number): string => {
    const start = stringsAt + offset;
    return text.decode(raw.subarray(start, raw.indexOf(0, start)));
  };
  const types: BtfType[] = [{ kind: "void" }];
  for (let at = typesAt; at < typesEnd; ) {
    const { type, size } = readType(view, at, stringAt);
    types.push(type);
    at += size;
  }
  return types;
}

function readType(view: DataView, at: number, stringAt: (offset: number) => string): { type: BtfType; size: number } {
  const u32 = (offset: number): number => view.getUint32(at + offset, true);
  const name = stringAt(u32(0));
  const info = u32(4);
  const count = info & 0xffff;
  const sizeOrType = u32(8);
  const list = <T>(stride: number, read: (offset: number) => T): T[] =>
    Array.from({ length: count }, (_, i) => read(12 + i * stride));
  switch ((info >>> 24) & 0x1f) {
    case 1: // INT
      return { type: { kind: "int", name, size: sizeOrType, signed: ((u32(12) >>> 24) & 1) === 1 }, size: 16 };
    case 2: // PTR
      return { type: { kind: "ref", name, of: sizeOrType, what: "pointer" }, size: 12 };
    case 3: // ARRAY
      return { type: { kind: "array", of: u32(12), length: u32(20) }, size: 24 };
    case 4: // STRUCT
    case 5: {
      // UNION; with the kind flag the upper 8 bits of an offset are a bit field's width
      const bits = info >>> 31 === 1 ? 0xffffff : 0xffffffff;
      const members = list(12, (o) => ({ name: stringAt(u32(o)), type: u32(o + 4), bitOffset: (u32(o + 8) & bits) >>> 0 }));
      return { type: { kind: "struct", name, size: sizeOrType, members }, size: 12 + count * 12 };
    }
    case 6: {
      // ENUM
      const values = new Map(list(8, (o) => [stringAt(u32(o)), u32(o + 4)] as const));
      return { type: { kind: "enum", name, size: sizeOrType, values }, size: 12 + count * 8 };
    }
    case 8: // TYPEDEF
    case 9: // VOLATILE
    case 10: // CONST
    case 11: // RESTRICT
    case 18: // TYPE_TAG
      return { type: { kind: "ref", name, of: sizeOrType, what: "alias" }, size: 12 };
    case 12: // FUNC
      return { type: { kind: "ref", name, of: sizeOrType, what: "function" }, size: 12 };
    case 13: // FUNC_PROTO
      return { type: { kind: "other", name }, size: 12 + count * 8 };
    case 14: // VAR
      return { type: { kind: "ref", name, of: sizeOrType, what: "variable" }, size: 16 };
    case 15: {
      // DATASEC
      const variables = list(12, (o) => ({ type: u32(o), offset: u32(o + 4), size: u32(o + 8) }));
      return { type: { kind: "section", name, variables }, size: 12 + count * 12 };
    }
    case 17: // DECL_TAG
      return { type: { kind: "other", name }, size: 16 };
    case 19: // ENUM64
      return { type: { kind: "other", name }, size: 12 + count * 12 };
    default: // FWD, FLOAT: no trailing data
      return { type: { kind: "other", name }, size: 12 };
  }
}

/** The type behind typedefs and qualifiers. */
export function resolveAlias(types: readonly BtfType[], id: number): BtfType {
  const type = types[id];
  if (type === undefined) throw new Error(`BTF has no type ${id}`);
  return type.kind === "ref" && type.what !== "pointer" ? resolveAlias(types, type.of) : type;
}

/** Where each variable of a data section lies, by name. */
export function sectionVariables(types: readonly BtfType[], section: string): ReadonlyMap<string, BtfVariable> {
  const found = types.find((type) => type.kind === "section" && type.name === section);
  const variables = new Map<string, BtfVariable>();
  if (found?.kind !== "section") return variables;
  for (const variable of found.variables) {
    const type = types[variable.type];
    if (type?.kind === "ref" && type.what === "variable") variables.set(type.name, variable);
  }
  return variables;
}

/** Names, offsets and sizes of a type, down to its integers: what must not differ between two users of one map. */
export function layoutText(types: readonly BtfType[], id: number): string {
  const type = resolveAlias(types, id);
  switch (type.kind) {
    case "int":
      return `${type.signed ? "i" : "u"}${type.size * 8}`;
    case "enum":
      return `u${type.size * 8}`;
    case "array":
      return `[${type.length}]${layoutText(types, type.of)}`;
    case "struct": {
      const members = type.members.map((m) => `${m.name}@${m.bitOffset}:${layoutText(types, m.type)}`);
      return `{${members.join(",")}}${type.size}`;
    }
    case "void":
      return "-";
    default:
      throw new Error(`a ${type.kind} has no layout`);
  }
}

/** Eight hex digits that change when a layout changes; part of the pin path of a map. */
export function layoutHash(...texts: readonly string[]): string {
  return createHash("sha256").update(texts.join("|")).digest("hex").slice(0, 8);
}
