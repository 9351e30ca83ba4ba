/**
 * Keys are replaced under load: three nodes send to each other in a ring at a high rate, and whoever counts is the receiver.
 * Agents are killed in the middle of it. No packet is lost, and none is on the wire in clear.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Interface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { Lab, PORT, TUNNEL_PORT, capture } from "./encryption-lab.ts";
import type { LabNode } from "./encryption-lab.ts";
import { sleep } from "../../src/lib/backoff.ts";

const ROTATIONS = 50;
/** At each, so many agents have been killed before. */
const KILL_EVERY = 5;
/** A socket has room for some 250: a receiver may be late by more than a second. */
const PER_SECOND = 200;

/** Sends numbered datagrams to the tunnel's port of the next node until it is told to stop, and counts those of the one before. */
const PROBER = `
const [to, port, rate] = process.argv.slice(1);
const socket = require("node:dgram").createSocket({ type: "udp6", recvBufferSize: 1 << 22 });
const seen = new Set();
let sent = 0, timer;
socket.on("message", (data) => seen.add(data.readUInt32BE(0)));
socket.bind(Number(port), () => console.log("ready"));
function start() {
  const began = performance.now();
  timer = setInterval(() => {
    while (sent < (performance.now() - began) / 1000 * Number(rate)) {
      const data = Buffer.alloc(200);
      data.writeUInt32BE(sent++);
      socket.send(data, Number(port), to);
    }
  }, 2);
}
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "start") start();
  if (line === "stop") clearInterval(timer);
  let missing = 0;
  while (seen.has(missing)) missing++;
  console.log(sent + " " + seen.size + " " + missing);
});
`;

class Prober {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(from: LabNode, to: string) {
    this.#child = from.spawn(process.execPath, "-e", PROBER, to, String(TUNNEL_PORT), String(PER_SECOND));
    this.#lines = createInterface({ input: this.#child.stdout ?? assert.fail("no output") });
  }

  async ready(): Promise<void> {
    await once(this.#lines, "line");
  }

  end(): void {
    this.#child.kill();
  }

  /** [sent, received, the first number that is missing] by now. */
  async ask(what: "start" | "stop" | "count"): Promise<readonly [number, number, number]> {
    const answer = once(this.#lines, "line") as Promise<[string]>;
    this.#child.stdin?.write(`${what}\n`);
    const [sent = 0, received = 0, missing = 0] = (await answer)[0].split(" ").map(Number);
    return [sent, received, missing];
  }
}

/** What the kernel counts, for whoever looks for the cause of a loss. */
function dropped(node: LabNode): string {
  const sockets = node.exec("cat", "/proc/net/snmp6").split("\n").filter((line) => /^Udp6(RcvbufErrors|SndbufErrors|NoPorts|InErrors) /.test(line)).map((line) => line.replace(/\s+/, "=")).join(" ");
  const links = (JSON.parse(node.exec("ip", "-json", "-statistics", "link")) as { ifname: string; stats64: { rx: object; tx: object } }[]).map(({ ifname, stats64 }) => `${ifname} ${JSON.stringify(stats64)}`);
  return `${node.name}: ${sockets} ${node.exec("grep", "^Udp:", "/proc/net/snmp")} ${links.join(" ")}`;
}

describe("keys that are replaced", { timeout: 600_000, skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  let lab: Lab;
  let nodes: readonly LabNode[] = [];
  const never = { intervalMs: undefined, notBefore: undefined };
  const epochs = (): (number | undefined)[] => nodes.map(({ row }) => row.keys?.epoch);
  const isAt = (epoch: number): boolean => nodes.every(({ row }) => row.keys?.epoch === epoch && row.keys.next === undefined && row.encryption?.rotation === undefined);
  const isHealthy = (): boolean => nodes.every(({ isInForce, row }) => isInForce && row.encryption?.phase === "Enforced" && row.encryption.message === undefined);
  const at = (index: number): LabNode => nodes[index % nodes.length] ?? assert.fail("no node");

  /** One node begins, and all are through. */
  async function rotate(from: LabNode, epoch: number, inBetween?: () => Promise<void>): Promise<void> {
    from.wish = { intervalMs: 0, notBefore: undefined };
    await from.pass();
    from.wish = never;
    await inBetween?.();
    await lab.until(`all have keys of epoch ${epoch} alone`, () => isAt(epoch), 20);
  }

  before(async () => {
    lab = new Lab(`cwr${process.pid}`, 3);
    nodes = lab.nodes;
    for (const node of nodes) {
      node.startDevice(0);
      node.startAgent();
    }
    await lab.until("all enforce", isHealthy);
  });
  after(() => lab.remove());

  it("without a second device a node says so, keeps its key, and everything goes on", async () => {
    const keys = nodes.map(({ publicKey }) => publicKey);
    for (const node of nodes.slice(0, 2)) node.startDevice(1);
    at(0).wish = { intervalMs: 0, notBefore: undefined };
    await lab.until("n3 says what is missing", () => /no second device/.test(at(2).row.encryption?.rotation ?? ""));
    at(0).wish = never;
    assert.match(at(0).row.encryption?.rotation ?? "", /n3: it has published no key of epoch 1 yet/);
    assert.deepEqual(nodes.map(({ publicKey }) => publicKey), keys);
    assert.ok(isHealthy(), JSON.stringify([...lab.rows.values()]));
    at(2).startDevice(1);
    await lab.until("all are through", () => isAt(1));
    assert.equal(new Set([...keys, ...nodes.map(({ publicKey }) => publicKey)]).size, 6, "every key is another");
    assert.ok(isHealthy());
  });

  it(`${ROTATIONS} times under load, agents killed in the middle: no packet is lost, none is in clear`, async (t) => {
    const clear = await Promise.all(nodes.map((node) => capture(node, `udp port ${TUNNEL_PORT}`)));
    const probers = nodes.map((node, index) => new Prober(node, index === 0 ? at(index + 1).ipv6 : `::ffff:${at(index + 1).ip}`));
    t.after(() => probers.forEach((prober) => prober.end()));
    await Promise.all(probers.map((prober) => prober.ready()));
    await Promise.all(probers.map((prober) => prober.ask("start")));
    const [first = 0] = epochs();
    const began = performance.now();
    for (let count = 1; count <= ROTATIONS; count++) {
      const victim = at(count);
      await rotate(at(count * 2), first + count, count % KILL_EVERY === 0 ? async () => {
        // Each time a little later on its way.
        for (let pass = 0; pass < count / KILL_EVERY; pass++) await lab.passAll();
        victim.startAgent();
      } : undefined);
    }
    t.diagnostic(`${ROTATIONS} rotations took ${Math.round((performance.now() - began) / 1000)} s`);
    const sent = await Promise.all(probers.map(async (prober) => (await prober.ask("stop"))[0]));
    const received = async (): Promise<number[]> => await Promise.all(probers.map(async (_, index) => (await (probers[(index + 1) % probers.length] ?? assert.fail("no prober")).ask("count"))[1]));
    for (const end = performance.now() + 30_000; performance.now() < end && (await received()).join() !== sent.join();) await sleep(100);
    assert.deepEqual(await received(), sent, `lost; first missing ${(await Promise.all(probers.map((prober) => prober.ask("count")))).map(([, , missing]) => missing).join()}; ${nodes.map(dropped).join("; ")}`);
    await Promise.all(clear.map((each) => each.stop()));
    assert.deepEqual(clear.flatMap((each) => each.lines()).slice(0, 5), []);
    assert.ok(Math.min(...sent) > ROTATIONS * 10, `there was load: ${sent.join()}`);
  });

  it("the old key is in no device, and no packet is sent by it", async () => {
    for (const node of nodes) {
      const used = node.devices.filter((device) => node.exec("wg", "show", device, "private-key").trim() !== "(none)");
      assert.equal(used.length, 1, "devices with a key");
      const unused = node.devices.find((device) => !used.includes(device)) ?? "";
      assert.equal(node.exec("wg", "show", unused, "peers").trim(), "");
      assert.doesNotMatch(node.routes, new RegExp(` dev ${unused} `));
      assert.ok(!readFileSync(node.keyFile, "utf8").includes(node.exec("wg", "show", used[0] ?? "", "private-key").trim()), "the file has the private key");
    }
  });

  it("the process of the next key is killed in the middle: what goes by the old one goes on, and the rotation ends when it is back", async () => {
    const [epoch = 0] = epochs();
    const from = at(0);
    const nextSlot = from.row.keys?.port === PORT ? 1 : 0;
    await rotate(from, epoch + 1, async () => {
      await lab.passAll();
      await from.killDevice(nextSlot);
      for (let pass = 0; pass < 5; pass++) await lab.passAll();
      assert.ok(!isAt(epoch + 1));
      assert.equal(from.isInForce, true);
      from.startDevice(nextSlot);
    });
    await lab.until("all are well", isHealthy);
  });

  it("a session that the other end knows nothing of leads nobody to the new key: what goes by the old one goes on, and the rotation ends", async () => {
    const [epoch = 0] = epochs();
    const [from, to] = [at(0), at(1)];
    const route = (): string => from.routes.split("\n").find((line) => line.startsWith(`${to.ip} `)) ?? "";
    const nextOf = (node: LabNode): NonNullable<NonNullable<LabNode["row"]["keys"]>["next"]> => node.row.keys?.next ?? assert.fail(`${node.name} has begun nothing`);
    const deviceOf = (node: LabNode): string => node.devices.find((device) => node.exec("wg", "show", device, "public-key").trim() === nextOf(node).publicKey) ?? assert.fail("no device has the next key");
    /** As after a handshake whose answer was lost, and a machine too busy to repeat it. */
    const forget = (): void => {
      to.exec("wg", "set", deviceOf(to), "peer", nextOf(from).publicKey, "remove");
      to.exec("wg", "set", deviceOf(to), "peer", nextOf(from).publicKey, "endpoint", `${from.ip}:${nextOf(from).port}`, "allowed-ips", `${from.ip}/32,${from.ipv6}/128`);
    };
    const before = route();
    from.wish = { intervalMs: 0, notBefore: undefined };
    await from.pass();
    from.wish = never;
    await to.pass();
    forget(); // its own questions too
    await from.pass();
    const handshake = (): string => from.exec("wg", "show", deviceOf(from), "latest-handshakes");
    for (const end = performance.now() + 60_000; !new RegExp(`${nextOf(to).publicKey.replaceAll("+", "\\+")}\t[1-9]`).test(handshake());) {
      assert.ok(performance.now() < end, `a handshake: ${handshake()}`);
      await sleep(50);
    }
    forget();
    for (let pass = 0; pass < 5; pass++) {
      await from.pass();
      assert.equal(route(), before);
    }
    await lab.until("all are through", () => isAt(epoch + 1));
    await lab.until("all are well", isHealthy);
  });

  it("a node that is cut off in the middle, and taken out so that the others go on, finds them again when it is back", async () => {
    const [epoch = 0] = epochs();
    const [first, second, third] = [at(0), at(1), at(2)];
    const begin = async (node: LabNode): Promise<void> => {
      node.wish = { intervalMs: 0, notBefore: undefined };
      await node.pass();
      node.wish = never;
    };
    await begin(first);
    await third.pass();
    const cutOff = third.row;
    assert.deepEqual([cutOff.keys?.epoch, cutOff.keys?.next?.epoch], [epoch, epoch + 1]);
    lab.rows.delete(third.name);
    for (const now of [epoch + 1, epoch + 2]) {
      if (now > epoch + 1) await begin(first);
      await lab.until(`the others are at ${now}`, () => [first, second].every(({ row }) => row.keys?.epoch === now && row.keys.next === undefined), 100, [first, second]);
    }
    lab.rows.set(third.name, cutOff);
    third.startAgent();
    await lab.until("all are through", () => isAt(epoch + 2));
    await lab.until("all are well", isHealthy);
  });

  it("all keys that are older than a time are replaced, once", async () => {
    const [epoch = 0] = epochs();
    const notBefore = new Date(Date.now() + 500).toISOString();
    for (const node of nodes) node.wish = { intervalMs: undefined, notBefore };
    await lab.until("all are through", () => isAt(epoch + 1));
    for (let pass = 0; pass < 10; pass++) await lab.passAll();
    assert.deepEqual(epochs(), nodes.map(() => epoch + 1));
    for (const node of nodes) node.wish = never;
  });
});
