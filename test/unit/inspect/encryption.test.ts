/** What WireGuard's devices say → what `cilium encryption` and the metrics tell. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encryptionFacts } from "../../../src/agent/encryption-facts.ts";
import { encryptionMetrics } from "../../../src/agent/encryption-metrics.ts";
import type { PeerState } from "../../../src/kernel/wireguard.ts";
import { createMetrics } from "../../../src/lib/metrics.ts";
import { cells, rowsOf, rowsWith } from "./facts.ts";

const key = (letter: string): string => `${letter.repeat(42)}A=`;
const NOW_S = 1_900_000_000;
const peer = (letter: string, lastHandshake: number, sent = 0): readonly [string, PeerState] => [
  key(letter),
  { publicKey: key(letter), endpoint: "192.0.2.9:51871", allowedIps: [], lastHandshake, received: 5, sent, keepalive: 0 },
];
const facts = encryptionFacts({
  status: { phase: "Enforced", device: "Kernel", peers: 2, message: "n3: it has not answered yet" }, inForce: true, inForceOnReceipt: true, nowMs: NOW_S * 1000,
  devices: [{ name: "cilium_wg0", state: { privateKey: "secret", publicKey: key("O"), port: 51871, peers: new Map([peer("C", 0), peer("B", NOW_S - 30, 2 ** 52), peer("X", NOW_S + 9, 2 ** 52)]) } }],
  nodes: ["B", "C"].map((letter, index) => ({ name: `n${index + 2}`, internalIps: [], routerIps: [], podCidrs: [], keys: { publicKey: key(letter) } })),
});

test("a node that encrypts: who, how far, which key, peers by name, ages and bytes", async () => {
  const rows = await rowsWith("encryption-status", async () => facts);
  assert.deepEqual(cells("encryption-status", rows), [{
    ENCRYPTION: "wireguard", BY: "kernel", PHASE: "Enforced", "CLEAR IS DROPPED": "yes", KEY: "OOOOOOOO… port 51871", PEERS: "2/3",
    HANDSHAKES: "0s-30s ago", RECEIVED: "15", SENT: String(2n ** 53n), MISSING: "n3: it has not answered yet", "ROTATION WAITS FOR": "-",
  }]);
  const peers = cells("encryption-peers", await rowsWith("encryption-peers", async () => facts));
  assert.deepEqual(peers.map((row) => `${row["PEER"]} ${row["KEY"]} ${row["HANDSHAKE"]}`), ["- XXXXXXXX… 0s ago", "n2 BBBBBBBB… 30s ago", "n3 CCCCCCCC… never"]);
  assert.ok(!JSON.stringify(rows).includes("secret"), "the private key is told");
});

test("a node that does not encrypt says so", async () => {
  const [row] = cells("encryption-status", await rowsOf("encryption-status"));
  assert.deepEqual([row?.["ENCRYPTION"], row?.["CLEAR IS DROPPED"], row?.["PEERS"]], ["off", "no", "-"]);
  assert.deepEqual(await rowsOf("encryption-peers"), []);
});

test("metrics: peers that answered and not, ages, bytes beyond 2^53; none of a node that does not encrypt", async () => {
  const metrics = createMetrics("cilium");
  let now: typeof facts | undefined = facts;
  const refresh = encryptionMetrics(metrics, async () => now ?? assert.fail("the device is gone"));
  await refresh();
  const { body } = await metrics.render();
  for (const line of ["cilium_encryption_in_force 1", 'cilium_encryption_peers{state="answered"} 2', 'cilium_encryption_peers{state="silent"} 1', 'cilium_encryption_handshake_age_seconds{peer="oldest"} 30', 'cilium_encryption_bytes{direction="sent"} 9007199254740992']) {
    assert.ok(body.includes(`${line}\n`), `${line}\n${body}`);
  }
  now = undefined;
  await refresh();
  assert.doesNotMatch((await metrics.render()).body, /^cilium_encryption_(peers|bytes|handshake)[^ ]*\{/m);
});
