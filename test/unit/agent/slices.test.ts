/** Great maps are read and pruned in slices: who waits for the event loop waits for one slice at most, whatever the machine. */
import { strict as assert } from "node:assert";
import { it } from "node:test";
import { AgentMetrics } from "../../../src/agent/agent-metrics.ts";
import { ProgramMaps } from "../../../src/agent/program-maps.ts";
import type { NodeState } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { quotaCodec, ruleHitCodec } from "../../../src/kernel/gen/types.ts";
import type { BatchResult, Packed } from "../../../src/kernel/port.ts";

/** Of a per-CPU value 64 deletions take the kernel up to 6 ms; a thousand reads take less than 5 ms. */
const [MOST_READ, MOST_DELETED] = [1024, 64];
const ENTRIES = 10_000;

/** Says how much is asked of it between two turns of the event loop. */
class WatchedMap extends FakeMap {
  readonly wantedEntries = ENTRIES;
  mostRead = 0;
  mostDeleted = 0;
  #read = 0;
  #deleted = 0;

  turn(): void {
    [this.#read, this.#deleted] = [0, 0];
  }

  override *batches(size?: number): Iterable<Packed> {
    for (const batch of super.batches(size)) {
      this.#read += batch.count;
      this.mostRead = Math.max(this.mostRead, this.#read);
      yield batch;
    }
  }

  override deleteBatch(keys: Uint8Array, count: number): BatchResult {
    this.#deleted += count;
    this.mostDeleted = Math.max(this.mostDeleted, this.#deleted);
    return super.deleteBatch(keys, count);
  }
}

function filled(name: string, valueSize: number): WatchedMap {
  const map = new WatchedMap({ name, keySize: 4, valueSize, maxEntries: ENTRIES });
  for (let i = 0; i < ENTRIES; i++) map.update(new Uint8Array(Uint32Array.of(i).buffer), new Uint8Array(valueSize));
  return map;
}

async function watched(maps: readonly WatchedMap[], task: () => Promise<unknown>): Promise<void> {
  let isOver = false;
  const turn = (): void => {
    for (const map of maps) map.turn();
    if (!isOver) setImmediate(turn);
  };
  turn();
  await task();
  isOver = true;
}

const noRules = { ruleNames: new Map() } as unknown as NodeState;

it("counters of ten thousand gone rules are deleted, and the arrays of budgets read, in slices", async () => {
  const maps = new Map(["rule_hits", "quotas", "event_budgets"].map((name) => [name, filled(name, name === "rule_hits" ? ruleHitCodec.size : quotaCodec.size)]));
  const counted = new ProgramMaps((name) => maps.get(name));
  await watched([...maps.values()], () => counted.look(() => noRules, 0n));
  assert.deepEqual([...maps.values()].map(({ mostRead, mostDeleted }) => [mostRead > 0 && mostRead <= MOST_READ, mostDeleted <= MOST_DELETED]), [[true, true], [true, true], [true, true]]);
  assert.deepEqual([...counted.counts], [["rule_hits", 0], ["quotas", 0], ["event_budgets", 0]]);
  assert.deepEqual([...maps.get("rule_hits")?.entries() ?? []], []);
});

it("counters of rules that come while others are pruned stay, named before they are read or after", async () => {
  const map = filled("rule_hits", ruleHitCodec.size);
  const ruleNames = new Map<number, never>();
  const last = ENTRIES - 1;
  let isOver = false;
  const come = (): void => {
    ruleNames.set([...map.entries()].length === ENTRIES ? last : last - 1, undefined as never);
    if (!isOver) setImmediate(come);
  };
  setImmediate(come);
  // The node state is another object with every change.
  const stateNow = (): NodeState => ({ ruleNames: new Map(ruleNames) }) as unknown as NodeState;
  const counted = new ProgramMaps((name) => (name === "rule_hits" ? map : undefined));
  await counted.look(stateNow, 0n).finally(() => (isOver = true));
  assert.deepEqual([...map.entries()].map(([key]) => new DataView(key.buffer, key.byteOffset).getUint32(0, true)), [last - 1, last]);
  assert.equal(counted.counts.get("rule_hits"), 2);
});

it("while the node state is not known any more no counter is deleted", async () => {
  const map = filled("rule_hits", ruleHitCodec.size);
  let asked = 0;
  await new ProgramMaps((name) => (name === "rule_hits" ? map : undefined)).look(() => (asked++ === 0 ? noRules : undefined), 0n);
  assert.equal([...map.entries()].length, ENTRIES);
});

it("who asks for a look while one is under way gets that one", async () => {
  const map = filled("rule_hits", ruleHitCodec.size);
  const counted = new ProgramMaps((name) => (name === "rule_hits" ? map : undefined));
  const [first, second] = [counted.look(() => noRules, 0n), counted.look(() => undefined, 0n)];
  assert.equal(first, second);
  await first;
  assert.equal(counted.counts.get("rule_hits"), 0);
  await counted.look(() => undefined, 0n);
});

it("a scrape of ten thousand rules' counters reads them in slices: packets, bytes, and when the last was", async () => {
  const map = filled("rule_hits", ruleHitCodec.size);
  const hit = new Uint8Array(ruleHitCodec.size);
  ruleHitCodec.encode({ packets: 3n, bytes: 2n ** 60n + 1n, lastNs: process.hrtime.bigint() }, new DataView(hit.buffer), 0);
  map.update(new Uint8Array(Uint32Array.of(7).buffer), hit);
  const metrics = new AgentMetrics({ map: (name) => (name === "rule_hits" ? map : undefined), fills: () => [], endpoints: () => ({ total: 0, ready: 0 }), appliedRevision: () => 1, addresses: () => [], encryption: () => Promise.resolve(undefined), health: () => undefined });
  let body = "";
  await watched([map], async () => {
    ({ body } = await metrics.render());
  });
  assert.ok(map.mostRead > 0 && map.mostRead <= MOST_READ, `${map.mostRead}`);
  assert.equal(body.match(/^cilium_rule_packets\{/gm)?.length, ENTRIES);
  assert.match(body, /^cilium_rule_packets\{rule="7"\} 3$/m);
  assert.match(body, /^cilium_rule_bytes\{rule="7"\} 1152921504606846977$/m);
  const [line = "", ...others] = body.match(/^cilium_rule_last_hit_timestamp_seconds\{.*$/gm) ?? [];
  assert.deepEqual(others, [], "of those that were never hit there is none");
  assert.ok(Math.abs(Number(/^cilium_rule_last_hit_timestamp_seconds\{rule="7"\} (\d+)$/.exec(line)?.[1]) - Date.now() / 1000) < 120, line);
});
