import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { flowKeyCodec, flowStateCodec } from "../../../src/kernel/gen/types.ts";
import { formatAddress, parseAddress } from "../../../src/lib/ip.ts";
import { FlowCollector, nextWalkMs } from "../../../src/targets/flows.ts";
import { viewOf } from "../../../src/targets/map-target.ts";

function flows(...rows: readonly (readonly [low: string, high: string, port: number, expires: number])[]): FakeMap {
  const map = new FakeMap({ name: "flows", keySize: flowKeyCodec.size, valueSize: flowStateCodec.size });
  for (const [low, high, port, expires] of rows) {
    const [key, value] = [new Uint8Array(flowKeyCodec.size), new Uint8Array(flowStateCodec.size)];
    flowKeyCodec.encode({ low: parseAddress(low), high: parseAddress(high), lowPort: port, highPort: 80, protocol: 6, zone: 0 }, viewOf(key));
    const state = { expires, flags: 0, sourceIdentity: 0, destinationIdentity: 0, sourceGeneration: 0, destinationGeneration: 0, egressRule: 0, ingressRule: 0, quota: 0, moved: 0, packets: 0n, bytes: 0n };
    flowStateCodec.encode(state, viewOf(value));
    map.update(key, value);
  }
  return map;
}

const left = (map: FakeMap): string[] =>
  [...map.entries()].map(([key]) => flowKeyCodec.decode(viewOf(key))).map(({ low, high, lowPort }) => `${formatAddress(low)} ${formatAddress(high)} ${lowPort}`);

describe("flows", () => {
  it("whose time is over are deleted, others stay", async () => {
    const map = flows(["10.0.0.1", "10.0.0.2", 1, 99], ["10.0.0.1", "10.0.0.2", 2, 100], ["10.0.0.1", "10.0.0.2", 3, 101]);
    assert.deepEqual(await new FlowCollector(map).collect(100), { seen: 3, deleted: 1, early: 0, maxEntries: 1024, error: undefined });
    assert.deepEqual(left(map), ["10.0.0.1 10.0.0.2 2", "10.0.0.1 10.0.0.2 3"]);
  });

  it("are walked the sooner the fuller the table is, and never for more than a tenth of the time", () => {
    const quick = [0, 0.3, 0.6, 0.9].map((fill) => nextWalkMs({ fill, tookMs: 1 }));
    assert.deepEqual(quick, quick.toSorted((one, other) => other - one));
    assert.equal(new Set(quick).size, 4);
    assert.ok(nextWalkMs({ fill: 0.99, tookMs: 400 }) >= 9 * 400);
  });

  it("of an address that is gone are deleted on whichever side it stands", async () => {
    const map = flows(["10.0.0.1", "10.0.0.2", 1, 9], ["10.0.0.2", "10.0.0.3", 2, 9], ["10.0.0.1", "10.0.0.3", 3, 9], ["10.0.0.1", "10.0.0.20", 4, 9]);
    assert.equal((await new FlowCollector(map).purge(["10.0.0.2"])).deleted, 2);
    assert.deepEqual(left(map), ["10.0.0.1 10.0.0.3 3", "10.0.0.1 10.0.0.20 4"]);
  });

  it("of many addresses that go together are found in one walk, one walk at a time", async () => {
    const map = flows(["10.0.0.1", "10.0.0.2", 1, 9], ["10.0.0.3", "10.0.0.9", 2, 9], ["10.0.0.4", "10.0.0.9", 3, 9], ["10.0.0.8", "10.0.0.9", 4, 9]);
    let [walks, atOnce, most] = [0, 0, 0];
    const batches = map.batches.bind(map);
    map.batches = function* (size) {
      walks++;
      most = Math.max(most, ++atOnce);
      yield* batches(size);
      atOnce--;
    };
    const collector = new FlowCollector(map);
    const expired = collector.collect(1);
    await Promise.all([...["10.0.0.2", "10.0.0.3", "10.0.0.4"].map((address) => collector.purge([address])), expired]);
    assert.deepEqual(left(map), ["10.0.0.8 10.0.0.9 4"]);
    assert.deepEqual([walks, most], [2, 1]);
    const during = collector.purge(["10.0.0.7"]);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([during, collector.purge(["10.0.0.8"])]);
    assert.deepEqual(left(map), []);
  });
});
