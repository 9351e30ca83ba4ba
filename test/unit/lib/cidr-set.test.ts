/** Whether a set of blocks holds a block, beside the plain question to each of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CidrSet } from "../../../src/lib/cidr-set.ts";
import { cidrContains, parseCidr } from "../../../src/lib/ip.ts";
import type { Cidr } from "../../../src/lib/ip.ts";

const block = fc.oneof(
  fc.tuple(fc.nat(3), fc.nat(3), fc.nat(255), fc.integer({ min: 0, max: 32 })).map(([a, b, c, prefix]) => `${a}.${b}.${c}.0/${prefix}`),
  fc.tuple(fc.nat(3), fc.nat(3), fc.integer({ min: 0, max: 128 })).map(([a, b, prefix]) => `fd0${a}:${b}::/${prefix}`),
).map((text) => parseCidr(text, { maskHostBits: true }));
const holds = (outer: Cidr, inner: Cidr): boolean => outer.prefix <= inner.prefix && cidrContains(outer, inner.address);

test("a set holds what one of its blocks holds (property)", () => {
  fc.assert(fc.property(fc.array(block), block, (all, one) => {
    assert.equal(new CidrSet(all).holds(one), all.some((each) => holds(each, one)));
  }), { numRuns: 2000 });
});
