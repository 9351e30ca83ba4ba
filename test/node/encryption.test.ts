/** Two nodes that encrypt, and what happens to their devices, keys, routes and agents. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Lab, PORT, TUNNEL_PORT, capture } from "./encryption-lab.ts";
import type { LabNode } from "./encryption-lab.ts";

let lab: Lab;
let a: LabNode;
let b: LabNode;

const until = (what: string, check: () => boolean): Promise<void> => lab.until(what, check);

/** Of the device: seconds of the last handshake with each peer. */
function handshakes(node: LabNode): ReadonlyMap<string, number> {
  const lines = node.exec("wg", "show", node.device, "latest-handshakes").trim().split("\n");
  return new Map(lines.map((line) => line.split("\t")).map(([peer = "", seconds]) => [peer, Number(seconds)]));
}

/** A datagram to the tunnel's port, as the tunnel device sends them. */
function sendTunnel(from: LabNode, to: LabNode, text: string): void {
  from.exec("bash", "-c", `echo ${text} > /dev/udp/${to.ip}/${TUNNEL_PORT}`);
}

describe("two nodes that encrypt", { timeout: 280_000, skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  before(() => {
    lab = new Lab(`cwg${process.pid}`, 2);
    [a, b] = lab.nodes as [LabNode, LabNode];
  });
  after(() => lab.remove());

  it("without a device a node says so, publishes no key, and enforces nothing by itself", async () => {
    for (const node of [a, b]) {
      node.startAgent();
      await node.pass();
      assert.equal(node.publicKey, undefined);
      assert.match(node.row.encryption?.message ?? "", /there is no device/);
      assert.equal(node.row.encryption?.phase, "Preparing");
      assert.equal(node.isInForce, false);
    }
  });

  it("does not enforce while the other node is not there: peers first", async () => {
    a.startDevice();
    await until("a has a key", () => a.publicKey !== undefined);
    for (let pass = 0; pass < 10; pass++) await a.pass();
    assert.deepEqual([a.isInForce, a.isOnReceipt], [false, false]);
    assert.equal(a.routes, "");
    assert.match(a.row.encryption?.message ?? "", /n2: it has published no key/);
  });

  it("enforces on both when both have answered, and the tunnel's packets are WireGuard's from then on", async () => {
    b.startDevice();
    await until("both enforce", () => a.isInForce && b.isInForce && a.row.encryption?.message === undefined && b.row.encryption?.message === undefined);
    await until("both take nothing in clear", () => a.isOnReceipt && b.isOnReceipt);
    assert.match(a.routes, new RegExp(`${b.ip.replaceAll(".", "\\.")} dev ${a.device} proto 193 .*src ${a.ip.replaceAll(".", "\\.")}`));
    assert.match(a.exec("ip", "rule"), /ipproto udp dport 8472 lookup 193/);
    assert.deepEqual([a.row.encryption?.phase, a.row.encryption?.device, a.row.encryption?.peers], ["Enforced", "Userspace", 1]);
    const [clear, encrypted] = [await capture(a, `udp port ${TUNNEL_PORT}`), await capture(a, `udp port ${PORT}`)];
    sendTunnel(a, b, "hello");
    await until("an encrypted packet", () => encrypted.lines().length > 0);
    await Promise.all([clear.stop(), encrypted.stop()]);
    assert.deepEqual(clear.lines(), []);
  });

  it("what the devices say is told by peer, with handshakes and bytes", async () => {
    const { keys, peers, inForce, inForceOnReceipt, phase } = await a.facts();
    assert.deepEqual([keys, inForce, inForceOnReceipt, phase], [[{ publicKey: a.publicKey, device: a.device, port: PORT }], true, true, "Enforced"]);
    const [peer] = peers;
    assert.deepEqual([peers.length, peer?.peer, peer?.publicKey, peer?.endpoint], [1, b.name, b.publicKey, `${b.ip}:${PORT}`]);
    assert.ok((peer?.handshakeAge ?? Number.NaN) < 400, `a handshake ${peer?.handshakeAge} s ago`);
    assert.ok(BigInt(peer?.sent ?? 0) > 0n && BigInt(peer?.received ?? 0) > 0n, JSON.stringify(peer));
  });

  it("what is not the tunnel's keeps its way", () => {
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "udp", "dport", String(PORT)), / dev wire /);
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "tcp", "dport", "6443"), / dev wire /);
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "udp", "dport", String(TUNNEL_PORT)), new RegExp(` dev ${a.device} `));
  });

  it("an agent that starts anew finds the device's key, and changes nothing", async () => {
    const { publicKey } = a;
    const before = handshakes(a);
    a.startAgent();
    await a.pass();
    assert.equal(a.publicKey, publicKey);
    // A peer that is set anew has never shaken hands.
    const now = handshakes(a);
    assert.deepEqual([...now.keys()], [...before.keys()]);
    for (const [peer, seconds] of before) assert.ok(seconds > 0 && (now.get(peer) ?? 0) >= seconds, `${peer}: ${seconds}, then ${now.get(peer)}`);
  });

  it("a killed process: the agent tells the next one the same key, and both reach each other again", async () => {
    const { publicKey } = a;
    await a.killDevice();
    await until("a says so", () => a.row.encryption?.device === "None");
    assert.equal(a.isInForce, true);
    assert.equal(a.row.encryption?.phase, "Enforced");
    a.startDevice();
    await until("a is back", () => a.row.encryption?.device === "Userspace" && a.row.encryption.message === undefined && a.routes !== "");
    assert.equal(a.publicKey, publicKey);
  });

  it("a node that comes back with another key is taken up under it, without a way in clear", async () => {
    const { publicKey } = b;
    await b.killDevice();
    b.startAgent();
    b.startDevice();
    await until("b has another key", () => b.publicKey !== undefined && b.publicKey !== publicKey);
    await until("both reach each other", () => a.row.encryption?.message === undefined && b.row.encryption?.message === undefined && b.row.encryption?.device === "Userspace");
    assert.deepEqual(a.exec("wg", "show", a.device, "peers").trim().split("\n"), [b.publicKey]);
    assert.equal(a.isInForce && b.isInForce, true);
  });

  it("rule and routes that somebody takes away are back with the next look; those of others stay", async () => {
    a.exec("ip", "rule", "add", "priority", "500", "table", "500");
    a.exec("ip", "route", "flush", "table", "193");
    a.exec("ip", "rule", "delete", "priority", "193");
    await a.pass();
    assert.match(a.routes, new RegExp(a.device));
    assert.match(a.exec("ip", "rule"), /lookup 193[\s\S]*500:/);
  });

  it("a device that somebody deletes: its process ends, the next one gets the same key, and enforcement stays", async () => {
    const { publicKey } = a;
    const ended = a.deviceEnd();
    a.exec("ip", "link", "delete", "dev", a.device);
    await ended;
    await until("a says so", () => a.row.encryption?.device === "None");
    assert.equal(a.isInForce, true);
    a.startDevice();
    await until("a is back", () => a.row.encryption?.device === "Userspace" && a.row.encryption.message === undefined && a.routes !== "");
    assert.equal(a.publicKey, publicKey);
  });

  it("without an API server an agent that starts anew goes on; a node whose key is lost with its device is not believed, and is found again", async () => {
    const { publicKey } = b;
    for (const node of [a, b]) node.cutOff();
    a.startAgent();
    await a.pass();
    const clear = await capture(a, `udp port ${TUNNEL_PORT}`);
    const encrypted = await capture(a, `udp port ${PORT}`);
    sendTunnel(a, b, "hello");
    await until("an encrypted packet", () => encrypted.lines().length > 0);
    await b.killDevice();
    b.startAgent();
    b.startDevice();
    await until("b has another key, of which nobody hears", () => b.told?.keys !== undefined && b.told.keys.publicKey !== publicKey);
    assert.equal(a.isInForce && b.isInForce, true);
    assert.match(b.told?.status.message ?? "", /n1: it has not answered yet/);
    for (const [from, to] of [[a, b], [b, a]] as const) sendTunnel(from, to, "lost");
    assert.deepEqual(a.exec("wg", "show", a.device, "peers").trim().split("\n"), [publicKey], "a stale key is not taken for another's");
    for (const node of [a, b]) node.reconnect();
    await until("both reach each other", () => a.row.encryption?.message === undefined && b.row.encryption?.message === undefined && b.row.encryption?.device === "Userspace" && a.publicKey !== undefined);
    await Promise.all([clear.stop(), encrypted.stop()]);
    assert.deepEqual(clear.lines(), []);
  });

  it("what is said for one node holds for it: its keepalive, and its port by a key of its own, which the other takes up", async () => {
    a.said = { port: 52_000, keepalive: 20, by: { object: "edge", objectGeneration: 4 } };
    a.startDevice(1);
    b.startDevice(1);
    await until("a is on the other port", () => a.row.keys?.port === 52_000 && a.row.keys.next === undefined && b.row.keys?.next === undefined && a.row.encryption?.message === undefined && b.row.encryption?.message === undefined);
    assert.deepEqual([a.row.encryption?.object, a.row.encryption?.objectGeneration, a.row.encryption?.phase], ["edge", 4, "Enforced"]);
    const [device = ""] = a.routes.match(/dev (\S+)/)?.slice(1) ?? [];
    await until("its keepalive", () => /\t20\n/.test(a.exec("wg", "show", device, "persistent-keepalive")));
    const there = b.routes.match(/dev (\S+)/)?.[1] ?? "";
    assert.match(b.exec("wg", "show", there, "endpoints"), new RegExp(`${a.ip.replaceAll(".", "\\.")}:52000`));
    a.said = { port: PORT, keepalive: 0, by: {} };
    await until("a is back on the usual port", () => a.row.keys?.port === PORT && a.row.keys.next === undefined && b.row.keys?.next === undefined && a.row.encryption?.message === undefined && b.row.encryption?.message === undefined);
    assert.equal(a.row.encryption?.object, undefined);
  });

  it("a port that somebody else has is told; nothing leaves in clear, and it goes on when the port is free", async () => {
    await a.killDevice();
    const other = a.spawn(process.execPath, "-e", `const s = require("node:dgram").createSocket("udp6"); s.bind(${PORT}, () => console.log("bound")); process.stdin.on("end", () => s.close()).resume()`);
    await new Promise((resolve) => other.stdout?.once("data", resolve));
    a.startDevice();
    await until("a says why", () => /cannot be set up: .*listen-port/.test(a.row.encryption?.message ?? ""));
    assert.equal(a.isInForce, true);
    assert.equal(a.row.encryption?.phase, "Enforced");
    other.stdin?.end();
    await until("a is back", () => a.row.encryption?.device === "Userspace" && a.row.encryption.message === undefined && a.routes !== "");
  });

  it("a node whose clock is set back has another key soon, as others would take no handshake by the old one; one that is ahead goes on", async () => {
    const epochs = (): (number | undefined)[] => [a, b].map(({ row }) => row.keys?.epoch);
    const isDone = (): boolean => [a, b].every(({ row }) => row.keys !== undefined && row.keys.next === undefined && row.encryption?.message === undefined && row.encryption?.rotation === undefined);
    await until("all is well", isDone);
    const [before = 0] = epochs();
    a.clockMs = 3_600_000;
    for (let pass = 0; pass < 5; pass++) for (const node of [a, b]) await node.pass();
    assert.deepEqual(epochs(), [before, before]);
    a.clockMs = -3_600_000;
    await until("a begins another key", () => a.row.keys?.next !== undefined);
    // The devices have this machine's clock, which cannot be set: what they do from now on is of the time that a had.
    a.clockMs = 0;
    await until("both have another key", () => isDone() && epochs().every((epoch) => epoch === before + 1));
    for (let pass = 0; pass < 5; pass++) for (const node of [a, b]) await node.pass();
    assert.deepEqual(epochs(), [before + 1, before + 1], "once");
    assert.ok(a.isInForce && b.isInForce);
  });
});
