/** A table that a pod tries to fill: what others have stays, and what they begin works. */
import assert from "node:assert/strict";
import { after, beforeEach, describe, it } from "node:test";
import { DropReason } from "../../src/kernel/gen/types.ts";
import { quotaStepNs } from "../../src/targets/flows.ts";
import { ab, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Tcp } from "./lib/packet.ts";
import { Action } from "./lib/rows.ts";
import { World, a, b, outside, remote } from "./lib/world.ts";

const TABLE = 16_384;
const QUOTA = TABLE / 16;
const OPENING_S = 60;
const monotonicSeconds = (): number => Number(process.hrtime.bigint() / 1_000_000_000n);
const outer = { source: "192.0.2.2", vni: remote.identity };

describe("a full table", { timeout: 240_000 }, () => {
  const world = new World({ flows: TABLE, options: { config_flow_quota_step_ns: quotaStepNs(TABLE) } });
  after(() => world.close());
  beforeEach(() => {
    world.reset();
    world.clearQuotas();
  });

  /** The other node's pod and ours shake hands; `port` is the opener's. */
  function connect(port: number): void {
    const there = { from: remote.ipv4, to: b.ipv4, sport: port, dport: 80 };
    world.run("from_overlay", tcpFrame(Tcp.SYN, there), { outer, quiet: true });
    world.run("from_container", tcpFrame(Tcp.SYN | Tcp.ACK, { from: b.ipv4, to: remote.ipv4, sport: 80, dport: port, pod: b }), { at: b, quiet: true });
    world.run("from_overlay", tcpFrame(Tcp.ACK, there), { outer, quiet: true });
  }

  const opens = (): number => world.run("from_container", tcpFrame(Tcp.SYN, { from: b.ipv4, to: remote.ipv4, sport: 5, dport: 6, pod: b }), { at: b }).verdict;

  it("one pod opens 200,000 flows: a thousand idle connections of others live, others open new ones, its own excess is dropped by name", () => {
    for (let i = 0; i < 1000; i++) connect(10_000 + i);
    assert.equal(world.flows().length, 1000);
    const template = tcpFrame(Tcp.SYN, { from: a.ipv4, to: outside.ipv4, pod: a, sport: 1, dport: 1 });
    const ports = new DataView(template.buffer, template.byteOffset + 14 + 20, 4);
    let refused = 0;
    for (let i = 0; i < 200_000; i++) {
      ports.setUint16(0, 1024 + (i % 60_000));
      ports.setUint16(2, 1 + Math.floor(i / 60_000));
      if (world.run("from_container", template, { at: a, quiet: true }).verdict === Action.SHOT) refused++;
    }
    const [event] = world.run("from_container", template, { at: a }).events.slice(-1);
    assert.deepEqual([event?.reason, event?.endpoint], [DropReason.FLOW_QUOTA, a.id]);
    const flows = world.flows();
    // Two for each packet to the outside would be one before and one after translation: only the first is made here.
    assert.ok(flows.length - 1000 <= QUOTA, `${flows.length - 1000} flows of the scan`);
    assert.equal(refused, 200_000 - (flows.length - 1000));
    assert.equal(flows.filter(({ expires }) => expires > monotonicSeconds() + 21_000).length, 1000, "the connections of others");
    for (let i = 0; i < 500; i++) connect(20_000 + i);
    assert.equal(world.flows().filter(({ expires }) => expires > monotonicSeconds() + 21_000).length, 1500);
    assert.equal(opens(), Action.REDIRECT);
  });

  it("what is answered costs nothing: more established connections than the quota", () => {
    for (let i = 0; i < 3 * QUOTA; i++) {
      const there = { from: a.ipv4, to: remote.ipv4, pod: a, sport: 2000 + i, dport: 80 };
      assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, there), { at: a, quiet: true }).verdict, Action.REDIRECT, `connection ${i}`);
      world.run("from_overlay", tcpFrame(Tcp.SYN | Tcp.ACK, { from: remote.ipv4, to: a.ipv4, sport: 80, dport: 2000 + i }), { outer, quiet: true });
      world.run("from_container", tcpFrame(Tcp.ACK, there), { at: a, quiet: true });
    }
    const flows = world.flows();
    assert.deepEqual([flows.length, flows.filter(({ quota }) => quota !== 0).length], [3 * QUOTA, 0]);
  });

  it("a SYN flood from outside spends the pod's quota of what comes in, not of what it opens, and none of it lasts", () => {
    let refused = 0;
    for (let i = 0; i < 2 * QUOTA; i++) {
      const { verdict } = world.run("from_overlay", tcpFrame(Tcp.SYN, { from: remote.ipv4, to: b.ipv4, sport: 3000 + i, dport: 80 }), { outer, quiet: true });
      if (verdict === Action.SHOT) refused++;
      else world.run("from_container", tcpFrame(Tcp.SYN | Tcp.ACK, { from: b.ipv4, to: remote.ipv4, sport: 80, dport: 3000 + i, pod: b }), { at: b, quiet: true });
    }
    assert.ok(refused >= QUOTA, `${refused} refused`);
    assert.ok(world.flows().every(({ expires }) => expires <= monotonicSeconds() + OPENING_S + 1));
    assert.equal(opens(), Action.REDIRECT);
  });

  it("the clock gives the quota back", () => {
    for (let i = 0; i < QUOTA; i++) world.run("from_container", udpFrame({ ...ab, sport: 1000 + i }), { at: a, quiet: true });
    assert.equal(world.run("from_container", udpFrame({ ...ab, sport: 9 }), { at: a }).verdict, Action.SHOT);
    world.moveQuotas(-OPENING_S);
    assert.equal(world.run("from_container", udpFrame({ ...ab, sport: 9 }), { at: a }).verdict, Action.REDIRECT);
  });

  it("above 85 % what was never answered goes early, established flows stay and new ones fit", async () => {
    for (let i = 0; i < 1000; i++) connect(10_000 + i);
    const now = monotonicSeconds();
    world.fillFlows(now + OPENING_S - 10);
    assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, ab), { at: a }).verdict, Action.SHOT, "full");
    const report = await world.collector().collect(now);
    assert.deepEqual([report.error, report.early], [undefined, TABLE - 1000]);
    assert.equal(world.flows().length, 1000);
    assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, ab), { at: a }).verdict, Action.REDIRECT);
  });
});
