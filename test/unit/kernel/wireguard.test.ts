/** What wg(8) prints and is told. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { changes, isWireGuardKey, parseDump } from "../../../src/kernel/wireguard.ts";
import type { WireGuardPeer, WireGuardState } from "../../../src/kernel/wireguard.ts";

const KEY_A = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const KEY_B = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
const PRIVATE = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA=";

const DUMP = [
  `${PRIVATE}\t${KEY_B}\t51871\toff`,
  `${KEY_A}\t(none)\t192.0.2.2:51871\t192.0.2.2/32,2001:db8::2/128\t1700000000\t1024\t2048\toff`,
  `${KEY_B}\t(none)\t(none)\t(none)\t0\t0\t0\t5`,
].join("\n");

const peer = (publicKey: string, more: Partial<WireGuardPeer> = {}): WireGuardPeer => ({ publicKey, endpoint: { ip: "192.0.2.2", port: 51871 }, allowedIps: ["2001:db8::2/128", "192.0.2.2/32"], keepalive: 0, ...more });
const empty: WireGuardState = { privateKey: undefined, publicKey: undefined, port: 0, peers: new Map() };

describe("the state of a WireGuard device", () => {
  it("is read from what wg show prints", () => {
    const state = parseDump(`${DUMP}\n`);
    assert.deepEqual([state.privateKey, state.publicKey, state.port], [PRIVATE, KEY_B, 51871]);
    assert.deepEqual(state.peers.get(KEY_A), { publicKey: KEY_A, endpoint: "192.0.2.2:51871", allowedIps: ["192.0.2.2/32", "2001:db8::2/128"], lastHandshake: 1_700_000_000, received: 1024, sent: 2048, keepalive: 0 });
    assert.deepEqual(state.peers.get(KEY_B), { publicKey: KEY_B, endpoint: undefined, allowedIps: [], lastHandshake: 0, received: 0, sent: 0, keepalive: 5 });
  });

  it("of a device that nobody has told anything has no key and no peer", () => {
    assert.deepEqual(parseDump("(none)\t(none)\t0\toff\n"), empty);
  });

  it("is told what differs, and nothing else", () => {
    const now = parseDump(DUMP);
    assert.deepEqual(changes(now, { privateKey: PRIVATE, port: 51871, peers: [peer(KEY_A), peer(KEY_B, { keepalive: 5 })] }), ["peer", KEY_B, "endpoint", "192.0.2.2:51871", "allowed-ips", "2001:db8::2/128,192.0.2.2/32"]);
    assert.deepEqual(changes(now, { privateKey: PRIVATE, port: 51871, peers: [peer(KEY_A, { keepalive: 1 })] }), ["peer", KEY_B, "remove", "peer", KEY_A, "persistent-keepalive", "1"]);
    assert.deepEqual(changes(empty, { privateKey: PRIVATE, port: 0, peers: [peer(KEY_A)] }), ["peer", KEY_A, "endpoint", "192.0.2.2:51871", "persistent-keepalive", "0", "allowed-ips", "2001:db8::2/128,192.0.2.2/32"]);
    assert.deepEqual(changes(now, { privateKey: PRIVATE, port: 51872, peers: [peer(KEY_A)] }), ["listen-port", "51872", "peer", KEY_B, "remove"]);
  });

  it("frees the addresses of who goes before another gets them", () => {
    const args = changes(parseDump(DUMP), { privateKey: PRIVATE, port: 51871, peers: [peer(PRIVATE)] });
    assert.ok(args.lastIndexOf("remove") < args.indexOf("endpoint"));
  });

  it("writes an IPv6 endpoint in brackets", () => {
    assert.ok(changes(empty, { privateKey: PRIVATE, port: 0, peers: [peer(KEY_A, { endpoint: { ip: "2001:db8::2", port: 1 } })] }).includes("[2001:db8::2]:1"));
  });
});

describe("a WireGuard key", () => {
  it("is 32 bytes in canonical base64", () => {
    for (const key of [KEY_A, KEY_B]) assert.ok(isWireGuardKey(key));
    for (const text of ["", KEY_A.slice(1), `${KEY_A}\n`, `${KEY_A.slice(0, 42)}B=`, "remove", "--help"]) assert.ok(!isWireGuardKey(text), text);
  });
});
