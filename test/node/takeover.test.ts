/** Flows that move to a map of another layout while packets come, and a start that is killed on the way. Real maps; needs root. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CT_CLOSING, CT_CONFIRMED, CT_FIN_OPENER, CT_REPLIED } from "../../src/kernel/gen/types.ts";
import { compile, makeFixture } from "./kernel-fixture.ts";
import type { Fixture } from "./kernel-fixture.ts";
import { flowMap, flowsOf, see, start } from "./killed-takeover.ts";
import type { Meanwhile, Packet } from "./killed-takeover.ts";

const [FORMER, PRESENT, NEXT] = [64, 128, 256];
const OPEN = CT_REPLIED | CT_CONFIRMED;
const ENDING = OPEN | CT_FIN_OPENER;
const ENDED = ENDING | CT_CLOSING;
const [IDLE, ENDS, BUSY, REUSED, LATE, FRESH] = [1001, 1002, 1003, 1004, 1005, 1006];

const AT_FIRST: readonly Packet[] = [
  { port: IDLE, packets: 7, flags: OPEN }, { port: ENDS, packets: 5, flags: OPEN }, { port: BUSY, packets: 100, flags: OPEN }, { port: REUSED, packets: 1000, flags: ENDED },
];
const MEANWHILE: Meanwhile = {
  old: [{ port: ENDS, packets: 8, flags: ENDING }, { port: BUSY, packets: 105, flags: OPEN }, { port: LATE, packets: 1, flags: 0 }],
  now: [{ port: BUSY, packets: 102, flags: ENDED }, { port: REUSED, packets: 1, flags: 0 }, { port: FRESH, packets: 1, flags: 0 }],
};
const UNTIL_THE_FLIP: readonly Packet[] = [
  { port: IDLE, packets: 7, flags: OPEN }, { port: ENDS, packets: 8, flags: ENDING }, { port: BUSY, packets: 105, flags: OPEN }, { port: REUSED, packets: 1000, flags: ENDED }, { port: LATE, packets: 1, flags: 0 },
];
/** Of each flow what the last program that saw a packet of it wrote. */
const AT_LAST: readonly Packet[] = [
  { port: IDLE, packets: 7, flags: OPEN }, { port: ENDS, packets: 8, flags: ENDING }, { port: BUSY, packets: 102, flags: ENDED }, { port: REUSED, packets: 1, flags: 0 },
  { port: LATE, packets: 1, flags: 0 }, { port: FRESH, packets: 1, flags: 0 },
];

describe("a take-over", () => {
  let fixture: Fixture;
  let objects: string;
  before(() => {
    fixture = makeFixture();
    objects = join(fixture.folder, "objects");
    mkdirSync(objects);
    compile(join(import.meta.dirname, "../bpf/fixtures/hooks.bpf.c"), join(objects, "hooks.o"));
  });
  after(() => fixture.remove());

  /** The version in force, and one that takes over from it and is killed in `step`. @returns the pins. */
  function story(name: string, step: string): string {
    const pins = join(fixture.bpffs, name);
    const flows = flowMap(start(objects, pins, FORMER));
    for (const packet of AT_FIRST) see(flows, packet);
    const { signal, status, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, "killed-takeover.ts"), objects, pins, String(PRESENT), JSON.stringify(MEANWHILE), step], { encoding: "utf8" });
    assert.deepEqual([signal, status], step === "none" ? [null, 0] : ["SIGKILL", null], stderr);
    return pins;
  }

  const pinned = (pins: string): number => readdirSync(pins).filter((file) => file.startsWith("flows_")).length;

  it("of each flow the newest is kept: what the old programs wrote until the flip, unless a new one has seen a packet since", () => {
    const pins = story("whole", "none");
    assert.deepEqual(flowsOf(start(objects, pins, PRESENT)), AT_LAST);
    assert.equal(pinned(pins), 1);
  });

  for (const [who, flows] of [["itself", PRESENT], ["the version before it", FORMER], ["a third version", NEXT]] as const) {
    it(`killed after its flip: the next start, of ${who}, takes over what was still to follow`, () => {
      const pins = story(`flipped-${flows}`, "finish");
      assert.equal(pinned(pins), 2);
      assert.deepEqual(flowsOf(start(objects, pins, flows)), AT_LAST);
      assert.equal(pinned(pins), 1);
    });
  }

  it("killed before its flip: the next start takes over what is in force, and nothing that the dead one had made", () => {
    const pins = story("unflipped", "lend");
    assert.equal(pinned(pins), 2);
    assert.deepEqual(flowsOf(start(objects, pins, PRESENT)), UNTIL_THE_FLIP);
    assert.equal(pinned(pins), 1);
  });
});
