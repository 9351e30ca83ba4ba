/** The programs' time: CLOCK_MONOTONIC, by the kernel's last tick where it tells that. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TIMEOUT_UDP } from "../../src/kernel/gen/types.ts";
import { LibbpfPort, kernelOptions } from "../../src/kernel/index.ts";
import { ab, udpFrame } from "./lib/frames.ts";
import { World, a, b } from "./lib/world.ts";

const COARSE = kernelOptions(new LibbpfPort()).config_coarse_clock === 1;
/** From a packet to the look at what it left, at most: the machine may be busy. */
const LATE_S = 120;

function showsNow(config_coarse_clock: number): void {
  const world = new World({ options: { config_coarse_clock } });
  after(() => world.close());
  world.ingress(b, [{ rule: 41 }]);
  const before = process.hrtime.bigint();
  const { events } = world.run("from_container", udpFrame(ab), { at: a });
  const isNow = (seconds: number): boolean => seconds >= Number(before / 1_000_000_000n) - 1 && seconds <= Number(before / 1_000_000_000n) + LATE_S;
  const [flow] = world.flows();
  assert.ok(flow !== undefined && isNow(flow.expires - TIMEOUT_UDP), `flow ends at ${flow?.expires}, the packet was at ${before}`);
  assert.ok(events[0] !== undefined && isNow(Number(events[0].timeNs / 1_000_000_000n)), `event of ${events[0]?.timeNs}`);
  const [hit] = [...world.map("rule_hits").entries()].map(([, bytes]) => [...new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8)].filter((_, i) => i % 3 === 2).reduce((most, one) => (one > most ? one : most), 0n));
  assert.ok(hit !== undefined && isNow(Number(hit / 1_000_000_000n)), `hit at ${hit}`);
  // Over as soon as its second has come: the same packet opens a new flow, which is judged.
  world.changeFlows(() => ({ expires: Number(process.hrtime.bigint() / 1_000_000_000n) - 1 }));
  assert.equal(world.run("from_container", udpFrame(ab), { at: a }).events.length, 1);
}

test("a flow's end, a rule's last hit and an event have the time of CLOCK_MONOTONIC", () => showsNow(0));
test("so they have by the clock of the kernel's last tick", { skip: COARSE ? false : "this kernel has no bpf_ktime_get_coarse_ns (Linux 5.11)" }, () => showsNow(1));
