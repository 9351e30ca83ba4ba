/** What the ring cannot hold is counted, to the event; and no pod fills it alone. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { EVENT_BURST, EVENT_STEP_NS, METRIC_SPARED_EVENTS } from "../../src/kernel/gen/types.ts";
import { lostEvents } from "../../src/agent/events.ts";
import { tcpFrame } from "./lib/frames.ts";
import { Tcp } from "./lib/packet.ts";
import { Action } from "./lib/rows.ts";
import { World, a, b, outside, self } from "./lib/world.ts";

test("a full ring loses events, never verdicts, and says how many", () => {
  const world = new World();
  after(() => world.close());
  world.ingress(b, []);
  const runs = 3000;
  const seen = world.run("from_container", tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: a }), { at: a, repeat: runs });
  assert.equal(seen.verdict, Action.SHOT);
  assert.ok(seen.events.length > 0 && seen.events.length < runs, `${seen.events.length} events fitted`);
  assert.equal(Number(lostEvents(world.map("metrics"))), runs - seen.events.length);
});

/** In steps of events: the programs' clock may be the one of the kernel's last tick. */
const TICKS = 100;

/** Longer than the test takes: what is told of a pod comes back only with the clock. */
const NEVER_PAID = 3_600_000_000_000n;

test("a pod whose packets are dropped by the thousand blinds nobody else: others' drops and its own verdicts are told, what was spared is counted", () => {
  const world = new World({ options: { config_event_step_ns: NEVER_PAID } });
  after(() => world.close());
  world.ingress(b, []);
  const scan = tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: a });
  const told = (): number => world.run("from_container", scan, { at: a, repeat: 100 }).events.length;
  let events = 0;
  for (let round = 0; round < 15; round++) events += told();
  assert.equal(events, EVENT_BURST);
  assert.equal(Number(lostEvents(world.map("metrics"), METRIC_SPARED_EVENTS)), 1500 - EVENT_BURST);
  assert.equal(Number(lostEvents(world.map("metrics"))), 0);
  // The victim has a budget of its own, although its policy dropped the scan.
  const fromOutside = { at: b, cameFrom: 99, mark: 0x300 } as const;
  if (world.refusal(fromOutside) === undefined) assert.equal(world.run("to_container", tcpFrame(Tcp.SYN, { from: outside.ipv4, to: b.ipv4 }), fromOutside).events.length, 1);
  assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, { from: b.ipv4, to: a.ipv4, pod: b, dport: 81 }), { at: b }).verdict, Action.REDIRECT);
  assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: b }), { at: b }).events.length, 1, "a drop of the other pod");
  world.egress(a, [{ rule: 31 }]);
  assert.equal(world.run("from_container", tcpFrame(Tcp.SYN, { from: a.ipv4, to: self.ipv4, pod: a }), { at: a }).events.length, 1, "its own verdict");
});

test("what is told of a pod is paid by the clock", () => {
  const world = new World({ options: { config_event_step_ns: BigInt(EVENT_STEP_NS) } });
  after(() => world.close());
  world.ingress(b, []);
  const told = (): number => world.run("from_container", tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, pod: a }), { at: a }).events.length;
  const drops = new Uint8Array(Uint32Array.of(a.id * 2 + 1).buffer);
  /** As if the pod had told so much that it is paid at this time from now on. */
  const owes = (ns: bigint): void => world.map("event_budgets").update(drops, new Uint8Array(BigUint64Array.of(process.hrtime.bigint() + ns).buffer));
  assert.equal(told(), 1);
  owes(NEVER_PAID);
  assert.equal(told(), 0);
  owes(BigInt(EVENT_BURST - TICKS) * BigInt(EVENT_STEP_NS));
  assert.equal(told(), 1, "what a second pays");
});
