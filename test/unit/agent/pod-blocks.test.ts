/** Whose a block of addresses is, against the plain reading: each claim is held against all that were granted before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Claims, podBlocks } from "../../../src/agent/pod-blocks.ts";
import type { Claimant } from "../../../src/agent/pod-blocks.ts";
import { cidrContains, familyOf, formatAddress, formatCidr, maskAddress, parseAddress, parseCidr } from "../../../src/lib/ip.ts";

function overlap(a: string, b: string): boolean {
  const [x, y] = [parseCidr(a), parseCidr(b)];
  return familyOf(x.address) === familyOf(y.address) && (cidrContains(x, y.address) || cidrContains(y, x.address));
}

function plainly(nodes: readonly Claimant[]): Record<string, readonly string[]> {
  const granted: (readonly [name: string, cidr: string])[] = [];
  for (const { name, podCidrs } of nodes) for (const cidr of podCidrs) if (!granted.some(([other, taken]) => other !== name && overlap(taken, cidr))) granted.push([name, cidr]);
  return Object.fromEntries(nodes.map(({ name }) => [name, granted.filter(([of]) => of === name).map(([, cidr]) => cidr)]));
}

const block = (base: string, spread: number, family: 4 | 6) => fc.tuple(fc.nat(spread), fc.integer({ min: 0, max: 8 })).map(([at, length]) => {
  const prefix = (family === 4 ? 96 : 0) + (family === 4 ? 24 : 120) + length;
  const address = parseAddress(base);
  address[15] = at & 0xff;
  address[14] = at >> 8;
  return formatCidr({ address: maskAddress(address, prefix), prefix });
});
const anyBlock = fc.oneof(block("10.0.0.0", 1023, 4), block("fd00::", 1023, 6), fc.constantFrom("10.0.0.0/16", "0.0.0.0/0", "::/0"));

test("every block is one node's, whatever lengths they have", () => {
  fc.assert(fc.property(fc.array(fc.uniqueArray(anyBlock, { maxLength: 5 }), { minLength: 1, maxLength: 9 }), (all) => {
    const nodes = all.map((podCidrs, index): Claimant => ({ name: `n${index}`, podCidrs }));
    const [local, ...others] = nodes as [Claimant, ...Claimant[]];
    const blocks = podBlocks(local, others.toReversed());
    const wanted = plainly(nodes);
    for (const { name } of others) assert.deepEqual(blocks.of(name), wanted[name], name);
    assert.equal(blocks.refused.length, others.reduce((sum, { name, podCidrs }) => sum + podCidrs.length - (wanted[name]?.length ?? 0), 0));
  }), { numRuns: 500 });
});

test("of thousands of nodes with blocks of mixed lengths each claim looks at its neighbours alone", () => {
  const nodes = Array.from({ length: 20_000 }, (_, index): Claimant => ({ name: `n${index}`, podCidrs: [`10.${index >> 8}.${index & 255}.0/${24 + (index % 5)}`] }));
  const blocks = podBlocks({ name: "local", podCidrs: ["192.168.0.0/24"] }, nodes);
  assert.deepEqual([blocks.refused, blocks.of("n4711").length], [[], 1]);
});

test("whether a block holds an address, or meets another, is found by the neighbours in order as by all", () => {
  fc.assert(fc.property(fc.uniqueArray(anyBlock, { maxLength: 9 }), fc.uniqueArray(anyBlock, { minLength: 1, maxLength: 9 }), (taken, asked) => {
    const claims = new Claims();
    for (const text of taken) claims.take({ name: "one", cidr: parseCidr(text) });
    const { holds } = podBlocks({ name: "local", podCidrs: taken }, []);
    for (const text of asked) {
      assert.equal(claims.meets(parseCidr(text)), taken.some((one) => overlap(one, text)), `${text} of ${taken.join()}`);
      const ip = formatAddress(parseCidr(text).address);
      assert.equal(holds(ip), taken.some((one) => overlap(one, `${ip}/${ip.includes(":") ? 128 : 32}`)), `${ip} in ${taken.join()}`);
    }
  }), { numRuns: 500 });
});

test("no block that is refused holds an address", () => {
  const { holds } = podBlocks({ name: "a", podCidrs: ["10.0.0.0/24"] }, [{ name: "b", podCidrs: ["10.0.0.0/16", "10.1.0.0/24"] }]);
  assert.deepEqual(["10.0.0.9", "10.0.1.9", "10.1.0.9", "10.1.1.9", "fd00::1"].map(holds), [true, false, true, false, false]);
});

test("a node's address among pods' is told with both names, whichever node's they are, and takes no block away", () => {
  const local: Claimant = { name: "a", podCidrs: ["10.0.0.0/24"], internalIps: ["192.0.2.1", "10.0.1.7"] };
  const others: Claimant[] = [{ name: "b", podCidrs: ["10.0.1.0/24", "fd00:1::/64"], internalIps: ["192.0.2.2", "10.0.0.255"] }, { name: "c", podCidrs: ["10.0.2.0/24"], internalIps: ["fd00:1::9", "10.0.3.0", "no address"] }];
  const { doubtful, refused, of } = podBlocks(local, others);
  assert.deepEqual(doubtful.map((text) => text.replace(/: packets.*/, "")), [
    "the address 10.0.1.7 of a is in the pod CIDR 10.0.1.0/24 of b",
    "the address 10.0.0.255 of b is in the pod CIDR 10.0.0.0/24 of a",
    "the address fd00:1::9 of c is in the pod CIDR fd00:1::/64 of b",
  ]);
  assert.deepEqual([refused, of("b")], [[], ["10.0.1.0/24", "fd00:1::/64"]]);
});
