/** What is read of the sockets for ICMP, against one that never runs dry. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EchoSockets, MOST_AT_A_TIME } from "../../../src/kernel/echo.ts";
import type { Datagrams } from "../../../src/kernel/ffi.ts";

/** An answer of IPv4 without options, as the memory of a new message reads: type 0 and a token of zeros. */
const BYTES = 24;
const TOKEN = "00".repeat(16);

function flooded(): { readonly echo: EchoSockets; readonly reads: () => number } {
  let reads = 0;
  const libc: Datagrams = { socket: () => 7, setOption: () => 0, sendTo: (_, __, length) => length, receiveMessage: () => (reads++, BYTES), now: () => 0, close: () => 0 };
  const echo = new EchoSockets(libc);
  echo.send("192.0.2.1", new Uint8Array(16));
  return { echo, reads: () => reads };
}

test("a flood of answers is read so many at a time, and what nobody asked is not kept", () => {
  const { echo, reads } = flooded();
  for (const turn of [1, 2]) {
    assert.deepEqual(echo.received(() => false), { replies: [], isCutOff: true });
    assert.equal(reads(), turn * MOST_AT_A_TIME);
  }
});

test("what was asked is found among them", () => {
  const { echo } = flooded();
  const { replies, isCutOff } = echo.received((token) => token === TOKEN);
  assert.deepEqual([replies.length, isCutOff, replies[0]], [MOST_AT_A_TIME, true, { from: "0.0.0.0", token: TOKEN, atNs: 0n }]);
});
