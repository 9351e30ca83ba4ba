import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BtfType } from "../../../src/kernel/btf.ts";
import { conversion, memberOffset } from "../../../src/kernel/convert.ts";
import type { Layout } from "../../../src/kernel/convert.ts";

const U8 = 1;
const U32 = 2;
const TYPES: readonly BtfType[] = [{ kind: "void" }, { kind: "int", name: "u8", size: 1, signed: false }, { kind: "int", name: "u32", size: 4, signed: false }];

/** A struct of u32s and byte arrays (`name: length`), in this order and without padding. */
function struct(...members: readonly (readonly [name: string, bytes?: number])[]): Layout {
  const types: BtfType[] = [...TYPES];
  let at = 0;
  const placed = members.map(([name, bytes]) => {
    const type = bytes === undefined ? U32 : types.push({ kind: "array", of: U8, length: bytes }) - 1;
    const member = { name, type, bitOffset: at * 8 };
    at += bytes ?? 4;
    return member;
  });
  return { types, id: types.push({ kind: "struct", name: "s", size: at, members: placed }) - 1, size: at };
}

describe("conversion of a layout", () => {
  it("the same layout is one range", () => {
    assert.deepEqual(conversion(struct(["a"], ["b", 16]), struct(["a"], ["b", 16])), [{ from: 0, to: 0, length: 20 }]);
  });

  it("fields go where their name is now; new ones are left out, gone ones dropped", () => {
    const ranges = conversion(struct(["a"], ["gone"], ["b", 6], ["c"]), struct(["c"], ["a"], ["new"], ["b", 6]));
    assert.deepEqual(ranges, [{ from: 14, to: 0, length: 4 }, { from: 0, to: 4, length: 4 }, { from: 8, to: 12, length: 6 }]);
  });

  it("an array that grew or shrank keeps what both have", () => {
    assert.deepEqual(conversion(struct(["a", 4]), struct(["a", 8])), [{ from: 0, to: 0, length: 4 }]);
    assert.deepEqual(conversion(struct(["a", 8], ["b"]), struct(["a", 4], ["b"])), [{ from: 0, to: 0, length: 4 }, { from: 8, to: 4, length: 4 }]);
  });

  it("bytes without a description are copied when there are as many, else not at all", () => {
    const plain = (size: number): Layout => ({ types: [], id: 0, size });
    assert.deepEqual(conversion(plain(8), plain(8)), [{ from: 0, to: 0, length: 8 }]);
    assert.deepEqual(conversion(plain(8), plain(4)), []);
  });

  it("knows where a member is", () => {
    assert.deepEqual([memberOffset(struct(["a"], ["b"]), "b"), memberOffset(struct(["a"]), "b")], [4, undefined]);
  });
});
