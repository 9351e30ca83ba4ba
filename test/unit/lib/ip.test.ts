import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { addToAddress, cidrContains, cidrSize, familyOf, formatAddress, formatCidr, isAddress, parseAddress, parseCidr } from "../../../src/lib/ip.ts";

test("every address survives format and parse", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const text = formatAddress(bytes);
      assert.deepEqual([...parseAddress(text)], [...bytes]);
      assert.equal(isIP(text), familyOf(bytes));
    }),
  );
});

test("what Node takes for an address we take, and nothing else", () => {
  const texts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/));
  fc.assert(fc.property(texts, (text) => assert.equal(isAddress(text), isIP(text) !== 0, text)));
});

test("IPv6 text is canonical as RFC 5952 writes it", () => {
  for (const [given, canonical] of [
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::1", "::1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
  ] as const) {
    assert.equal(formatAddress(parseAddress(given)), canonical);
  }
});

test("ambiguous or broken addresses are refused", () => {
  for (const text of ["", "1.2.3", "01.2.3.4", "256.1.1.1", "1::2::3", ":::", "1:2:3:4:5:6:7", "fe80::1%eth0", "1.2.3.4::"]) {
    assert.throws(() => parseAddress(text), { code: "ADDRESS" }, text);
  }
});

test("a CIDR counts bits of the 16 bytes and refuses host bits", () => {
  assert.equal(parseCidr("10.0.0.0/8").prefix, 104);
  assert.equal(formatCidr(parseCidr("10.0.0.0/8")), "10.0.0.0/8");
  assert.equal(formatCidr(parseCidr("fd00::/64")), "fd00::/64");
  assert.equal(formatCidr(parseCidr("10.1.2.3/8", { maskHostBits: true })), "10.0.0.0/8");
  assert.throws(() => parseCidr("10.1.2.3/8"), /10\.0\.0\.0\/8/);
  for (const text of ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/08", "10.0.0.0/-1"]) assert.throws(() => parseCidr(text), text);
});

test("an address is in a CIDR, and the arithmetic stays in the family", () => {
  const cidr = parseCidr("10.244.1.0/24");
  assert.equal(cidrContains(cidr, parseAddress("10.244.1.255")), true);
  assert.equal(cidrContains(cidr, parseAddress("10.244.2.0")), false);
  assert.equal(cidrContains(parseCidr("::/0"), parseAddress("fd00::1")), true);
  assert.equal(cidrSize(cidr), 256n);
  assert.equal(formatAddress(addToAddress(cidr.address, 257n) ?? new Uint8Array(16)), "10.244.2.1");
  assert.equal(addToAddress(parseAddress("255.255.255.255"), 1n), undefined);
});
