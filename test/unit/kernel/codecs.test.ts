import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Codec } from "../../../src/kernel/port.ts";
import * as types from "../../../src/kernel/gen/types.ts";

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });

describe("generated codecs", () => {
  it("give back what they were given, at any place in a buffer, and touch no other byte", () => {
    const event = fc.record({
      timeNs: u64, type: u8, direction: u8, verdict: u8, protocol: u8, reason: u16, endpoint: u16, rule: u32,
      sourceIdentity: u32, destinationIdentity: u32, ifindex: u32, length: u32, sourcePort: u16, destinationPort: u16,
      source: bytes(16), destination: bytes(16), tcpFlags: u8, hook: u8, icmpType: u8,
    }, { noNullPrototype: true });
    fc.assert(
      fc.property(event, fc.integer({ min: 0, max: 9 }), (value, at) => {
        const buffer = new Uint8Array(types.eventCodec.size + 20).fill(0xee);
        const view = new DataView(buffer.buffer, 5);
        types.eventCodec.encode(value, view, at);
        assert.deepEqual(types.eventCodec.decode(view, at), value);
        assert.ok(buffer.subarray(0, 5 + at).every((byte) => byte === 0xee));
        assert.ok(buffer.subarray(5 + at + types.eventCodec.size).every((byte) => byte === 0xee));
      }),
    );
  });

  it("write ports in network order and padding as zero, since keys are compared byte by byte", () => {
    const buffer = new Uint8Array(types.policyKeyCodec.size).fill(0xff);
    const key = { ruleSet: 1, peer: 2, port: 8080, protocol: 6, direction: types.Direction.EGRESS, portPrefix: 16, tier: types.Tier.ADMIN };
    types.policyKeyCodec.encode(key, new DataView(buffer.buffer));
    assert.deepEqual([...buffer], [1, 0, 0, 0, 2, 0, 0, 0, 0x1f, 0x90, 6, 1, 16, 1, 0, 0]);
  });

  it("write every byte of every struct, whatever was there: its padding too", () => {
    const codecs = Object.entries(types).flatMap(([name, value]) => (name.endsWith("Codec") ? [[name, value as Codec<unknown>] as const] : []));
    assert.ok(codecs.length > 10);
    for (const [name, codec] of codecs) {
      const nothing = codec.decode(new DataView(new ArrayBuffer(codec.size)));
      const buffer = new Uint8Array(codec.size).fill(0xff);
      codec.encode(nothing, new DataView(buffer.buffer));
      assert.deepEqual([...buffer], new Array(codec.size).fill(0), name);
    }
  });

  it("refuse bytes of a wrong length", () => {
    const view = new DataView(new ArrayBuffer(16));
    assert.throws(() => types.addressCodec.encode({ bytes: new Uint8Array(4) }, view), RangeError);
  });

  it("name enumerators without their prefix", () => {
    assert.equal(types.DropReason.POLICY_DENIED, 133);
    assert.equal(types.dropReasonNames.get(133), "POLICY_DENIED");
    assert.equal(types.Identity.FIRST_CLUSTER, 256);
  });
});
