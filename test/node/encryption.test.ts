/**
 * Two nodes that encrypt: network namespaces with a wire between them, a real wireguard-go each, and the agent's own
 * NodeEncryption, with the API server's part, telling each what the other says, done by the test.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Enforcement } from "../../src/agent/encryption-enforcement.ts";
import { NodeEncryption } from "../../src/agent/encryption.ts";
import type { CiliumNodeRow } from "../../src/agent/objects.ts";
import type { EncryptionFacts } from "../../src/inspect/index.ts";
import { LibbpfPort, Sysctl, runCommand } from "../../src/kernel/index.ts";
import type { BpfMap, Run } from "../../src/kernel/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import type { Logger } from "../../src/lib/log.ts";

const ROOT = join(import.meta.dirname, "../..");
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
const PORT = 51_871;
const TUNNEL_PORT = 8472;
const MTU = 1440;
/** A device's socket is named after it, in a folder that all namespaces of a machine share. */
const TAG = `cwg${process.pid}`;

class LabNode {
  readonly name: string;
  readonly netns: string;
  readonly ip: string;
  readonly device: string;
  readonly map: BpfMap;
  readonly rows: Map<string, CiliumNodeRow>;
  /** Of the agent's state. */
  readonly folder = mkdtempSync(join(tmpdir(), "cilium-encryption-"));
  #process: ChildProcess | undefined;
  #encryption: NodeEncryption | undefined;

  constructor(number: number, rows: Map<string, CiliumNodeRow>) {
    this.name = `n${number}`;
    this.netns = `${TAG}-${number}`;
    this.device = `${TAG}${number}`;
    this.ip = `198.18.9.${number}`;
    this.rows = rows;
    const port = new LibbpfPort();
    port.load({ file: join(ROOT, "build/bpf/netdev.o") });
    this.map = port.map("encryption") ?? assert.fail("no map encryption");
    rows.set(this.name, { name: this.name, internalIps: [this.ip], routerIps: [], podCidrs: [] });
  }

  exec(...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.netns, ...command], { encoding: "utf8" });
  }

  startDevice(): void {
    const env = { ...process.env, WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "error" };
    this.#process = spawn("ip", ["netns", "exec", this.netns, join(ROOT, "build/bin/wireguard-go"), "--foreground", this.device], { stdio: ["ignore", "inherit", "inherit"], env });
  }

  async killDevice(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** An agent's process: what it knows beside the device is gone with it. */
  startAgent(): void {
    const run: Run = ([program, ...args], input) => runCommand(["ip", "netns", "exec", this.netns, program, ...args], input);
    this.#encryption = new NodeEncryption({
      // The settings of another namespace are out of this process's reach; the test's wire needs none of them.
      run, sysctl: new Sysctl("/nowhere"), logger: silent, local: () => ({ name: this.name, uid: "", internalIps: [this.ip], routerIps: [], podCidrs: [] }),
      nodes: () => this.rows.values(), isUsable: () => true, enforcement: new Enforcement({ map: this.map, file: join(this.folder, "in-force"), logger: silent }), port: PORT, tunnelPort: TUNNEL_PORT, mtu: MTU, onReport: () => this.#publish(), device: this.device,
    });
  }

  /** What the API server would carry. */
  #publish(): void {
    const { publicKey, status } = this.#encryption?.report ?? assert.fail("a report without an agent");
    const row = this.rows.get(this.name) ?? assert.fail("the node is gone");
    const { publicKey: _, ...others } = row;
    this.rows.set(this.name, { ...others, ...(publicKey === undefined ? {} : { publicKey }), encryption: status });
  }

  async pass(): Promise<void> {
    await this.#encryption?.reconcile();
  }

  async facts(): Promise<EncryptionFacts> {
    return await (this.#encryption ?? assert.fail("no agent")).facts();
  }

  get row(): CiliumNodeRow {
    return this.rows.get(this.name) ?? assert.fail("the node is gone");
  }

  get isInForce(): boolean {
    return this.map.lookup(new Uint8Array(4))?.[0] === 1;
  }

  get routes(): string {
    return this.exec("sh", "-c", "ip route show table 193 2>/dev/null || true");
  }
}

const rows = new Map<string, CiliumNodeRow>();
let a: LabNode;
let b: LabNode;

async function until(what: string, check: () => boolean): Promise<void> {
  const end = performance.now() + 90_000;
  // A device may go or come while it is looked at; the queue would try again.
  let error: unknown;
  while (!check()) {
    if (performance.now() > end) throw new Error(`not in 90 s: ${what}\n${JSON.stringify([...rows.values()], undefined, 1)}`, { cause: error });
    for (const node of [a, b]) await node.pass().catch((thrown: unknown) => (error = thrown));
    await sleep(100);
  }
}

/** Of the device: seconds of the last handshake with each peer. */
function handshakes(node: LabNode): ReadonlyMap<string, number> {
  const lines = node.exec("wg", "show", node.device, "latest-handshakes").trim().split("\n");
  return new Map(lines.map((line) => line.split("\t")).map(([peer = "", seconds]) => [peer, Number(seconds)]));
}

/** What leaves on a node's wire and matches, from now until `stop`. */
async function capture(node: LabNode, filter: string): Promise<{ lines(): string[]; stop(): Promise<void> }> {
  const child = spawn("ip", ["netns", "exec", node.netns, "tcpdump", "--immediate-mode", "-l", "-nn", "-i", "wire", filter], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => { if (chunk.toString().includes("listening on")) resolve(); });
    child.on("close", (code) => reject(new Error(`tcpdump: exit status ${code}`)));
  });
  return {
    lines: () => out.split("\n").filter((line) => line !== ""),
    stop: () => new Promise((resolve) => { child.on("close", () => resolve()); child.kill("SIGINT"); }),
  };
}

/** A datagram to the tunnel's port, as the tunnel device sends them. */
function sendTunnel(from: LabNode, to: LabNode, text: string): void {
  from.exec("bash", "-c", `echo ${text} > /dev/udp/${to.ip}/${TUNNEL_PORT}`);
}

describe("two nodes that encrypt", { timeout: 280_000, skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  before(() => {
    execFileSync("make", ["-s", "bpf", "build/bin/wireguard-go"], { cwd: ROOT });
    [a, b] = [new LabNode(1, rows), new LabNode(2, rows)];
    for (const node of [a, b]) execFileSync("ip", ["netns", "add", node.netns]);
    execFileSync("ip", ["-n", a.netns, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b.netns]);
    for (const node of [a, b]) {
      node.exec("ip", "address", "add", `${node.ip}/24`, "dev", "wire");
      for (const device of ["lo", "wire"]) node.exec("ip", "link", "set", device, "up");
    }
  });
  after(async () => {
    await Promise.all([a, b].map((node) => node.killDevice()));
    // A killed process leaves its socket.
    for (const node of [a, b]) rmSync(`/var/run/wireguard/${node.device}.sock`, { force: true });
    for (const node of [a, b]) execFileSync("ip", ["netns", "delete", node.netns]);
    for (const node of [a, b]) rmSync(node.folder, { recursive: true, force: true });
  });

  it("without a device a node says so, publishes no key, and enforces nothing by itself", async () => {
    for (const node of [a, b]) {
      node.startAgent();
      await node.pass();
      assert.equal(node.row.publicKey, undefined);
      assert.match(node.row.encryption?.message ?? "", /there is no device/);
      assert.equal(node.row.encryption?.phase, "Preparing");
      assert.equal(node.isInForce, false);
    }
  });

  it("does not enforce while the other node is not there: peers first", async () => {
    a.startDevice();
    await until("a has a key", () => a.row.publicKey !== undefined);
    for (let pass = 0; pass < 10; pass++) await a.pass();
    assert.equal(a.isInForce, false);
    assert.equal(a.routes, "");
    assert.match(a.row.encryption?.message ?? "", /n2: it has published no key/);
  });

  it("enforces on both when both have answered, and the tunnel's packets are WireGuard's from then on", async () => {
    b.startDevice();
    await until("both enforce", () => a.isInForce && b.isInForce && a.row.encryption?.message === undefined && b.row.encryption?.message === undefined);
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
    const { keys, peers, inForce, phase } = await a.facts();
    assert.deepEqual([keys, inForce, phase], [[{ publicKey: a.row.publicKey, device: a.device, port: PORT }], true, "Enforced"]);
    const [peer] = peers;
    assert.deepEqual([peers.length, peer?.peer, peer?.publicKey, peer?.endpoint], [1, b.name, b.row.publicKey, `${b.ip}:${PORT}`]);
    assert.ok((peer?.handshakeAge ?? Number.NaN) < 400, `a handshake ${peer?.handshakeAge} s ago`);
    assert.ok(BigInt(peer?.sent ?? 0) > 0n && BigInt(peer?.received ?? 0) > 0n, JSON.stringify(peer));
  });

  it("what is not the tunnel's keeps its way", () => {
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "udp", "dport", String(PORT)), / dev wire /);
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "tcp", "dport", "6443"), / dev wire /);
    assert.match(a.exec("ip", "route", "get", b.ip, "ipproto", "udp", "dport", String(TUNNEL_PORT)), new RegExp(` dev ${a.device} `));
  });

  it("an agent that starts anew finds the device's key, and changes nothing", async () => {
    const { publicKey } = a.row;
    const before = handshakes(a);
    a.startAgent();
    await a.pass();
    assert.equal(a.row.publicKey, publicKey);
    // A peer that is set anew has never shaken hands.
    const now = handshakes(a);
    assert.deepEqual([...now.keys()], [...before.keys()]);
    for (const [peer, seconds] of before) assert.ok(seconds > 0 && (now.get(peer) ?? 0) >= seconds, `${peer}: ${seconds}, then ${now.get(peer)}`);
  });

  it("a killed process: the agent tells the next one the same key, and both reach each other again", async () => {
    const { publicKey } = a.row;
    await a.killDevice();
    await until("a says so", () => a.row.encryption?.device === "None");
    assert.equal(a.isInForce, true);
    assert.equal(a.row.encryption?.phase, "Enforced");
    a.startDevice();
    await until("a is back", () => a.row.encryption?.device === "Userspace" && a.row.encryption.message === undefined && a.routes !== "");
    assert.equal(a.row.publicKey, publicKey);
  });

  it("a node that comes back with another key is taken up under it, without a way in clear", async () => {
    const { publicKey } = b.row;
    await b.killDevice();
    b.startAgent();
    b.startDevice();
    await until("b has another key", () => b.row.publicKey !== undefined && b.row.publicKey !== publicKey);
    await until("both reach each other", () => a.row.encryption?.message === undefined && b.row.encryption?.message === undefined && b.row.encryption?.device === "Userspace");
    assert.deepEqual(a.exec("wg", "show", a.device, "peers").trim().split("\n"), [b.row.publicKey]);
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
});
