/** What the ring cannot hold is counted, to the event. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { lostEvents } from "../../src/agent/events.ts";
import { tcpFrame } from "./lib/frames.ts";
import { Tcp } from "./lib/packet.ts";
import { Action } from "./lib/rows.ts";
import { World, a, b } from "./lib/world.ts";

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
