/**
 * Nodes that encrypt: network namespaces on one switch, a real wireguard-go for each device, and the agent's own
 * NodeEncryption, with the API server's part, telling each what the others say, done by the test.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Enforcement } from "../../src/agent/encryption-enforcement.ts";
import { NodeEncryption } from "../../src/agent/encryption.ts";
import type { EncryptionReport, SaidOfNode } from "../../src/agent/encryption.ts";
import type { RotationWish } from "../../src/agent/key-rotation.ts";
import type { CiliumNodeRow } from "../../src/agent/objects.ts";
import type { EncryptionFacts } from "../../src/inspect/index.ts";
import { ENCRYPTION_RECEIPT, ENCRYPTION_SENDING } from "../../src/kernel/gen/types.ts";
import { LibbpfPort, Sysctl, runCommand } from "../../src/kernel/index.ts";
import type { BpfMap, Run } from "../../src/kernel/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import type { Logger } from "../../src/lib/log.ts";

const ROOT = join(import.meta.dirname, "../..");
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
export const PORT = 51_871;
export const TUNNEL_PORT = 8472;
const MTU = 1440;
/** Short, yet longer than a machine with much to do lets a process wait. */
const GRACE_MS = 1000;
const PATIENCE_MS = 90_000;

export class LabNode {
  readonly name: string;
  readonly netns: string;
  readonly ip: string;
  readonly ipv6: string;
  /** The first has the first key. */
  readonly devices: readonly [string, string];
  readonly map: BpfMap;
  wish: RotationWish = { intervalMs: undefined, notBefore: undefined };
  said: SaidOfNode = { port: PORT, keepalive: 0, by: {} };
  /** By so much the agent's clock is ahead. */
  clockMs = 0;
  readonly #rows: Map<string, CiliumNodeRow>;
  readonly #folder: string;
  readonly #processes = new Map<number, ChildProcess>();
  #encryption: NodeEncryption | undefined;
  /** What the API server said last, while this node does not reach it. */
  #heard: readonly CiliumNodeRow[] | undefined;

  constructor(tag: string, number: number, rows: Map<string, CiliumNodeRow>, folder: string) {
    this.name = `n${number}`;
    this.netns = `${tag}-${number}`;
    // A device's socket is named after it, in a folder that all namespaces of a machine share.
    this.devices = [`${tag}${number}a`, `${tag}${number}b`];
    this.ip = `198.18.9.${number}`;
    this.ipv6 = `fd00:9::${number}`;
    this.#rows = rows;
    this.#folder = folder;
    const port = new LibbpfPort();
    port.load({ file: join(ROOT, "build/bpf/netdev.o") });
    this.map = port.map("encryption") ?? assert.fail("no map encryption");
    rows.set(this.name, { name: this.name, internalIps: [this.ip, this.ipv6], routerIps: [], podCidrs: [] });
  }

  get device(): string {
    return this.devices[0];
  }

  exec(...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.netns, ...command], { encoding: "utf8" });
  }

  spawn(...command: string[]): ChildProcess {
    return spawn("ip", ["netns", "exec", this.netns, ...command], { stdio: ["pipe", "pipe", "inherit"] });
  }

  startDevice(slot: 0 | 1 = 0): void {
    const env = { ...process.env, WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "error" };
    const child = spawn("ip", ["netns", "exec", this.netns, join(ROOT, "build/bin/wireguard-go"), "--foreground", this.devices[slot]], { stdio: ["ignore", "inherit", "inherit"], env });
    this.#processes.set(slot, child);
  }

  async killDevice(slot: 0 | 1 = 0): Promise<void> {
    const child = this.#processes.get(slot);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Resolves when the device's process has ended. */
  async deviceEnd(slot: 0 | 1 = 0): Promise<void> {
    const child = this.#processes.get(slot);
    if (child?.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once("exit", resolve));
  }

  /** An agent's process: what it knows beside the devices and the disk is gone with it. */
  startAgent(): void {
    const run: Run = ([program, ...args], input) => runCommand(["ip", "netns", "exec", this.netns, program, ...args], input);
    this.#encryption = new NodeEncryption({
      // The settings of another namespace are out of this process's reach; the test's wire needs none of them.
      run, sysctl: new Sysctl("/nowhere"), logger: silent, local: () => ({ name: this.name, uid: "", internalIps: [this.ip, this.ipv6], routerIps: [], podCidrs: [] }),
      nodes: () => this.#heard ?? this.#rows.values(), isUsable: () => true, enforcement: new Enforcement({ map: this.map, file: join(this.#folder, `${this.name}-in-force`), logger: silent }), port: PORT, tunnelPort: TUNNEL_PORT, mtu: MTU, onReport: () => this.#publish(), devices: this.devices,
      keyFile: this.keyFile, wish: () => this.wish, said: () => this.said, graceMs: GRACE_MS, nowMs: () => Date.now() + this.clockMs,
    });
  }

  get keyFile(): string {
    return join(this.#folder, `${this.name}.json`);
  }

  /** The API server is away for this node: it hears and tells nothing. */
  cutOff(): void {
    this.#heard = [...this.#rows.values()];
  }

  reconnect(): void {
    this.#heard = undefined;
    this.#publish();
  }

  /** What the node says of itself now, whoever hears it; undefined before its agent's first pass. */
  get told(): EncryptionReport | undefined {
    return this.#encryption?.report;
  }

  /** What the API server would carry. */
  #publish(): void {
    if (this.#heard !== undefined) return;
    const { keys, status } = this.#encryption?.report ?? assert.fail("a report without an agent");
    const { keys: _, ...others } = this.row;
    this.#rows.set(this.name, { ...others, ...(keys === undefined ? {} : { keys }), encryption: status });
  }

  async pass(): Promise<void> {
    await this.#encryption?.reconcile();
  }

  async facts(): Promise<EncryptionFacts> {
    return await (this.#encryption ?? assert.fail("no agent")).facts();
  }

  get row(): CiliumNodeRow {
    return this.#rows.get(this.name) ?? assert.fail("the node is gone");
  }

  get publicKey(): string | undefined {
    return this.row.keys?.publicKey;
  }

  get isInForce(): boolean {
    return ((this.map.lookup(new Uint8Array(4))?.[0] ?? 0) & ENCRYPTION_SENDING) !== 0;
  }

  get isOnReceipt(): boolean {
    return ((this.map.lookup(new Uint8Array(4))?.[0] ?? 0) & ENCRYPTION_RECEIPT) !== 0;
  }

  get routes(): string {
    return this.exec("sh", "-c", "ip route show table 193 2>/dev/null || true");
  }
}

export class Lab {
  readonly rows = new Map<string, CiliumNodeRow>();
  readonly nodes: readonly LabNode[];
  readonly #switch: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "encryption-lab-"));

  constructor(tag: string, count: number) {
    execFileSync("make", ["-s", "bpf", "build/bin/wireguard-go"], { cwd: ROOT });
    this.#switch = `${tag}-sw`;
    execFileSync("ip", ["netns", "add", this.#switch]);
    const onSwitch = (...command: string[]): void => void execFileSync("ip", ["-n", this.#switch, ...command]);
    onSwitch("link", "add", "sw", "type", "bridge");
    onSwitch("link", "set", "sw", "up");
    this.nodes = Array.from({ length: count }, (_, index) => new LabNode(tag, index + 1, this.rows, this.#folder));
    for (const [index, node] of this.nodes.entries()) {
      execFileSync("ip", ["netns", "add", node.netns]);
      onSwitch("link", "add", `p${index}`, "type", "veth", "peer", "name", "wire", "netns", node.netns);
      onSwitch("link", "set", `p${index}`, "master", "sw", "up");
      node.exec("ip", "address", "add", `${node.ip}/24`, "dev", "wire");
      node.exec("ip", "address", "add", `${node.ipv6}/64`, "dev", "wire", "nodad");
      for (const device of ["lo", "wire"]) node.exec("ip", "link", "set", device, "up");
    }
  }

  async remove(): Promise<void> {
    for (const node of this.nodes) for (const slot of [0, 1] as const) await node.killDevice(slot);
    // A killed process leaves its socket.
    for (const node of this.nodes) for (const device of node.devices) rmSync(`/var/run/wireguard/${device}.sock`, { force: true });
    for (const netns of [this.#switch, ...this.nodes.map((node) => node.netns)]) execFileSync("ip", ["netns", "delete", netns]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** @returns what failed: a device may go or come while it is looked at, and the queue would try again */
  async passAll(nodes = this.nodes): Promise<readonly unknown[]> {
    const passed = await Promise.allSettled(nodes.map((node) => node.pass()));
    return passed.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : []));
  }

  async until(what: string, check: () => boolean, everyMs = 100, nodes = this.nodes): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    let error: unknown;
    while (!check()) {
      if (performance.now() > end) throw new Error(`not in 90 s: ${what}\n${JSON.stringify([...this.rows.values()], undefined, 1)}`, { cause: error });
      error = (await this.passAll(nodes))[0] ?? error;
      await sleep(everyMs);
    }
  }
}

/** What leaves on a node's wire and matches, from now until `stop`. */
export async function capture(node: LabNode, filter: string): Promise<{ lines(): string[]; stop(): Promise<void> }> {
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
