/** When what is sent by a new key is known to arrive. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyProofs } from "../../../src/agent/key-proofs.ts";
import type { WireGuardState } from "../../../src/kernel/index.ts";

const [INITIATION, ANSWER, KEEPALIVE] = [148, 92, 32];

const NOW_MS = 20_000;

/** Seconds of the handshake and bytes of each look after the first, which finds no peer: whether the peer is proven after the last one. */
function after(...looks: readonly (readonly [handshake: number, received: number] | undefined)[]): boolean {
  const proofs = new KeyProofs();
  for (const look of [undefined, ...looks]) {
    const peers: WireGuardState["peers"] = new Map(look === undefined ? [] : [["K", { publicKey: "K", endpoint: undefined, allowedIps: [], lastHandshake: look[0], received: look[1], sent: 0, keepalive: 0 }]]);
    proofs.observe([{ privateKey: undefined, publicKey: undefined, port: 0, peers }], NOW_MS);
  }
  return proofs.proven.has("K");
}

test("handshakes alone prove nothing, however many", () => {
  for (const received of [0, ANSWER, INITIATION, INITIATION + ANSWER, 2 * INITIATION + ANSWER, 3 * ANSWER, 2 * INITIATION + 3 * ANSWER]) assert.equal(after([7, received]), false, String(received));
});

test("data beside them do: the first use of a session by who began it, or an answer to that", () => {
  for (const handshakes of [ANSWER, INITIATION, INITIATION + ANSWER, 2 * INITIATION, 2 * ANSWER]) {
    for (const data of [KEEPALIVE, 2 * KEEPALIVE, KEEPALIVE + 112]) assert.equal(after([7, handshakes + data]), true, `${handshakes} + ${data}`);
  }
  assert.equal(after([7, 1_000_000]), true);
});

test("one that has stood for longer than a dead one would does too: other versions are silent", () => {
  assert.equal(after([1, ANSWER]), false);
  const proofs = new KeyProofs();
  const peers: WireGuardState["peers"] = new Map([["K", { publicKey: "K", endpoint: undefined, allowedIps: [], lastHandshake: 7, received: ANSWER, sent: 0, keepalive: 0 }]]);
  proofs.observe([], 26_000);
  proofs.observe([{ privateKey: undefined, publicKey: undefined, port: 0, peers }], 27_000);
  assert.ok(proofs.proven.has("K"));
});

test("it stays so while the peer is there; one that is made anew has proven nothing, and without a handshake nobody has", () => {
  assert.equal(after([7, ANSWER + KEEPALIVE], [7, 3 * INITIATION]), true);
  assert.equal(after([7, ANSWER + KEEPALIVE], undefined, [9, ANSWER]), false);
  assert.equal(after([7, ANSWER + KEEPALIVE], [0, 0], [9, ANSWER]), false);
  assert.equal(after([0, INITIATION + KEEPALIVE]), false);
});

test("what the first look of a process finds was proven to the one before: no way is taken back", () => {
  const proofs = new KeyProofs();
  const look = (...keys: readonly (readonly [key: string, handshake: number])[]): void => proofs.observe([{ privateKey: undefined, publicKey: undefined, port: 0, peers: new Map(keys.map(([publicKey, lastHandshake]) => [publicKey, { publicKey, endpoint: undefined, allowedIps: [], lastHandshake, received: ANSWER, sent: 0, keepalive: 0 }])) }], NOW_MS);
  look(["K", 7], ["L", 0]);
  assert.deepEqual([...proofs.proven], [["K", NOW_MS]]);
  look(["K", 7], ["L", 8], ["M", 8]);
  assert.deepEqual([...proofs.proven], [["K", NOW_MS]]);
});

test("since when is known while the peer is there", () => {
  const proofs = new KeyProofs();
  const look = (nowMs: number, ...keys: readonly string[]): void => proofs.observe([{ privateKey: undefined, publicKey: undefined, port: 0, peers: new Map(keys.map((publicKey) => [publicKey, { publicKey, endpoint: undefined, allowedIps: [], lastHandshake: 7, received: ANSWER + KEEPALIVE, sent: 0, keepalive: 0 }])) }], nowMs);
  look(8_000);
  look(9_000, "K");
  look(12_000, "K", "L");
  assert.deepEqual([...proofs.proven], [["K", 9_000], ["L", 12_000]]);
  look(13_000, "L");
  look(14_000, "K", "L");
  assert.deepEqual([...proofs.proven].sort(), [["K", 14_000], ["L", 12_000]]);
});
