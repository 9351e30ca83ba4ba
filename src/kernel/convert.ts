/**
 * Values of one struct layout as values of another, by the names of their fields (BTF of both): what both have is
 * copied, what is new is zero, what is gone is dropped. Pure.
 *
 * So zero must mean of a new field what programs did before there was one.
 */
import { resolveAlias } from "./btf.ts";
import type { BtfType } from "./btf.ts";

/** A type where it is described; id 0: no description, only bytes. */
export interface Layout {
  readonly types: readonly BtfType[];
  readonly id: number;
  readonly size: number;
}

export interface ByteRange {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** The bytes of `old` that make up `now`, in ranges as long as possible. */
export function conversion(old: Layout, now: Layout): readonly ByteRange[] {
  if (old.id === 0 || now.id === 0) return old.size === now.size ? [{ from: 0, to: 0, length: now.size }] : [];
  return joined(rangesOf(old, old.id, 0, now, now.id, 0));
}

/** Offset of a member of a struct; undefined when the type has none of that name. */
export function memberOffset({ types, id }: Layout, name: string): number | undefined {
  const type = id === 0 ? undefined : resolveAlias(types, id);
  const member = type?.kind === "struct" ? type.members.find((one) => one.name === name) : undefined;
  return member === undefined ? undefined : member.bitOffset / 8;
}

function rangesOf(old: Layout, oldId: number, from: number, now: Layout, nowId: number, to: number): ByteRange[] {
  const [a, b] = [resolveAlias(old.types, oldId), resolveAlias(now.types, nowId)];
  if ((a.kind === "int" || a.kind === "enum") && (b.kind === "int" || b.kind === "enum")) return [{ from, to, length: Math.min(a.size, b.size) }]; // little endian
  if (a.kind === "array" && b.kind === "array") {
    const [strideA, strideB] = [sizeOf(old.types, a.of), sizeOf(now.types, b.of)];
    return Array.from({ length: Math.min(a.length, b.length) }, (_, i) => rangesOf(old, a.of, from + i * strideA, now, b.of, to + i * strideB)).flat();
  }
  if (a.kind !== "struct" || b.kind !== "struct") return [];
  return b.members.flatMap((member) => {
    const same = a.members.find(({ name }) => name === member.name);
    return same === undefined ? [] : rangesOf(old, same.type, from + same.bitOffset / 8, now, member.type, to + member.bitOffset / 8);
  });
}

function sizeOf(types: readonly BtfType[], id: number): number {
  const type = resolveAlias(types, id);
  if (type.kind === "array") return type.length * sizeOf(types, type.of);
  if (type.kind === "int" || type.kind === "enum" || type.kind === "struct") return type.size;
  throw new Error(`a ${type.kind} has no size`);
}

function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const result: ByteRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    if (last !== undefined && last.from + last.length === range.from && last.to + last.length === range.to) result[result.length - 1] = { ...last, length: last.length + range.length };
    else result.push(range);
  }
  return result;
}
