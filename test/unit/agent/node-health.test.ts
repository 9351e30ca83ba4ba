/** Who is asked when, and what an answer, a late one, a forged one and none mean. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { healthMetrics } from "../../../src/agent/health-metrics.ts";
import { NodeHealth, PEERS_PER_SECOND } from "../../../src/agent/node-health.ts";
import type { HealthPeer, HealthType } from "../../../src/agent/node-health.ts";
import type { EchoPort, EchoReplies, EchoReply } from "../../../src/kernel/index.ts";
import { createMetrics } from "../../../src/lib/metrics.ts";
import type { Logger } from "../../../src/lib/log.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
const TICK_MS = 200;

/** A network in which whoever is not `silent` answers after `delayMs`. */
class World implements EchoPort {
  nowMs = 1_000;
  /** Of the clock of the stamps, beside that of `nowMs`. */
  stampSkewNs = 0n;
  delayMs = 1;
  refuses: Error | undefined;
  /** What others send is before what was answered. */
  isFlooded = false;
  readonly silent = new Set<string>();
  readonly sent: { readonly address: string; readonly token: string; readonly atMs: number }[] = [];
  #underWay: EchoReply[] = [];

  send(address: string, token: Uint8Array): boolean {
    if (this.refuses !== undefined) throw this.refuses;
    const text = Buffer.from(token).toString("hex");
    this.sent.push({ address, token: text, atMs: this.nowMs });
    if (!this.silent.has(address)) this.answer(address, text);
    return true;
  }

  answer(from: string, token: string): void {
    this.#underWay.push({ from, token, atNs: this.nowNs() + this.stampSkewNs + BigInt(this.delayMs * 1e6) });
  }

  received(isAsked: (token: string) => boolean): EchoReplies {
    if (this.isFlooded) return { replies: [], isCutOff: true };
    const come = this.#underWay;
    this.#underWay = [];
    return { replies: come.filter(({ token }) => isAsked(token)), isCutOff: false };
  }

  nowNs(): bigint {
    return BigInt(Math.round(this.nowMs * 1e6));
  }

  close(): void {}
}

const peerOf = (number: number): HealthPeer => ({ name: `n${number}`, addresses: [{ type: "endpoint", address: `10.0.${number}.1` }, { type: "node", address: `192.0.2.${number}` }] });

function lab(peers: HealthPeer[]): { world: World; health: NodeHealth; heard: [HealthType, number][]; pass: (ms: number) => void; states: () => Record<string, string> } {
  const world = new World();
  const heard: [HealthType, number][] = [];
  const health = new NodeHealth({ echo: world, logger: silent, nowMs: () => world.nowMs, current: () => peers, onAnswer: (...answer) => heard.push(answer) });
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= TICK_MS) {
      health.tick();
      world.nowMs += TICK_MS;
    }
  };
  const states = (): Record<string, string> => Object.fromEntries(health.report().peers.flatMap(({ probes }) => probes.map(({ address, state }) => [address, state])));
  return { world, health, heard, pass, states };
}

describe("health of the other nodes", () => {
  test("each is asked at both addresses; an answer says how long it took, as the kernel's stamp has it", () => {
    const { world, health, heard, pass, states } = lab([peerOf(1), peerOf(2)]);
    world.delayMs = 3;
    assert.deepEqual(health.report(), { failure: undefined, peers: [] });
    pass(600);
    assert.deepEqual(states(), { "10.0.1.1": "reachable", "192.0.2.1": "reachable", "10.0.2.1": "reachable", "192.0.2.2": "reachable" });
    assert.deepEqual(heard.map(([type, seconds]) => `${type} ${seconds}`).sort(), ["endpoint 0.003", "endpoint 0.003", "node 0.003", "node 0.003"]);
  });

  test("a lost packet is no failure; none that arrives is one, until the next answer", () => {
    const { world, pass, states } = lab([peerOf(1)]);
    world.silent.add("10.0.1.1");
    pass(1_200);
    assert.equal(states()["10.0.1.1"], "unknown");
    world.silent.clear();
    pass(1_200);
    assert.equal(states()["10.0.1.1"], "reachable");
    world.silent.add("10.0.1.1");
    pass(14_000);
    assert.deepEqual(states(), { "10.0.1.1": "unreachable", "192.0.2.1": "reachable" });
    world.silent.clear();
    pass(14_000);
    assert.equal(states()["10.0.1.1"], "reachable");
  });

  test("what nobody asked, what was asked of another address, and what comes too late says nothing", () => {
    const { world, pass, states } = lab([peerOf(1)]);
    world.silent.add("10.0.1.1").add("192.0.2.1");
    pass(TICK_MS);
    const [question] = world.sent;
    world.answer("10.0.1.1", "00".repeat(16));
    world.answer("203.0.113.9", question?.token ?? "");
    pass(TICK_MS);
    assert.equal(states()["10.0.1.1"], "unknown");
    pass(4_000);
    world.answer("10.0.1.1", question?.token ?? "");
    pass(TICK_MS);
    assert.equal(states()["10.0.1.1"], "unreachable");
  });

  test("thousands of nodes are asked one after the other, so many a second and no more; a new one is not kept waiting", () => {
    const peers = Array.from({ length: 1_000 }, (_, index): HealthPeer => ({ name: `n${index}`, addresses: [{ type: "endpoint", address: `10.${index >> 8}.${index & 255}.1` }] }));
    const { world, health, pass } = lab(peers);
    pass(10_000);
    assert.equal(world.sent.length, 10 * PEERS_PER_SECOND);
    pass((1_000 / PEERS_PER_SECOND) * 1_000 - 10_000);
    assert.equal(new Set(world.sent.map(({ address }) => address)).size, 1_000);
    peers.push(peerOf(5_000));
    health.touch();
    const before = world.sent.length;
    pass(TICK_MS);
    assert.ok(world.sent.slice(before).some(({ address }) => address === "10.0.5000.1"));
  });

  test("while answers are still to be read nobody is unreachable, and questions do not pile up; then it goes on", () => {
    const { world, pass, states } = lab([peerOf(1), peerOf(2)]);
    pass(TICK_MS);
    const before = world.sent.length;
    world.isFlooded = true;
    pass(60_000);
    assert.deepEqual([world.sent.length, new Set(Object.values(states()))], [before, new Set(["unknown"])]);
    world.isFlooded = false;
    pass(TICK_MS);
    assert.deepEqual(new Set(Object.values(states())), new Set(["reachable"]));
  });

  test("few nodes are not asked without end", () => {
    const { world, pass } = lab([peerOf(1)]);
    pass(60_000);
    assert.equal(world.sent.length, 2 * 6);
  });

  test("a node that goes is forgotten, one that moves is asked anew, what is known of the others stays", () => {
    const peers = [peerOf(1), peerOf(2), peerOf(3)];
    const { world, health, pass, states } = lab(peers);
    pass(1_000);
    peers.splice(0, 2, { name: "n2", addresses: [{ type: "endpoint", address: "10.0.22.1" }] });
    world.silent.add("10.0.22.1");
    health.touch();
    pass(TICK_MS);
    assert.deepEqual(states(), { "10.0.22.1": "unknown", "10.0.3.1": "reachable", "192.0.2.3": "reachable" });
  });

  test("a clock that is put back or far ahead makes no latency below zero or above the time that went by", () => {
    const { world, heard, pass } = lab([peerOf(1)]);
    world.stampSkewNs = -3_600_000_000_000n;
    pass(1_000);
    world.stampSkewNs = 3_600_000_000_000n;
    pass(12_000);
    assert.ok(heard.length >= 4 && heard.every(([, seconds]) => seconds >= 0 && seconds <= 1), JSON.stringify(heard));
  });

  test("without the right to ask nothing is known of anybody, and why is told; with it, it goes on", () => {
    const { world, health, pass, states } = lab([peerOf(1)]);
    pass(1_000);
    world.refuses = Object.assign(new Error("open a socket"), { code: "EPERM" });
    pass(12_000);
    assert.match(health.report().failure ?? "", /NET_RAW/);
    assert.equal(states()["10.0.1.1"], "unknown");
    world.refuses = undefined;
    pass(12_000);
    assert.equal(health.report().failure, undefined);
    assert.equal(states()["10.0.1.1"], "reachable");
  });

  test("metrics: how many nodes are reached by either way, and how fast", async () => {
    const metrics = createMetrics("cilium");
    const { world, health, heard, pass } = lab([peerOf(1), peerOf(2)]);
    const figures = healthMetrics(metrics, () => health.report());
    world.silent.add("10.0.2.1");
    pass(5_000);
    for (const answer of heard) figures.observe(...answer);
    figures.read();
    const { body } = await metrics.render();
    for (const line of ['cilium_node_health_connectivity_status{type="endpoint",status="reachable"} 1', 'cilium_node_health_connectivity_status{type="endpoint",status="unreachable"} 1', 'cilium_node_health_connectivity_status{type="node",status="reachable"} 2', 'cilium_node_health_connectivity_latency_seconds_count{type="node",protocol="icmp"} 2']) {
      assert.ok(body.includes(`${line}\n`), `${line}\n${body}`);
    }
  });
});
