import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import fc from "fast-check";
import { AddressPool } from "../../../src/cni/ipam.ts";
import { formatAddress, parseAddress, parseCidr } from "../../../src/lib/ip.ts";

const REST_MS = 60_000;

function pool(cidr: string, clock = { ms: 1_000_000 }): { readonly pool: AddressPool; readonly clock: { ms: number } } {
  return { pool: new AddressPool({ cidr: parseCidr(cidr), restMs: REST_MS, nowMs: () => clock.ms }), clock };
}

describe("AddressPool", () => {
  it("keeps network, router and broadcast", () => {
    const { pool: p } = pool("10.0.1.0/29");
    assert.equal(formatAddress(p.router), "10.0.1.1");
    const given = Array.from({ length: 10 }, (_, index) => p.allocate(`u${index}`)).filter((address) => address !== undefined);
    assert.deepEqual(given, ["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6"]);
    assert.equal(p.capacity, 5);
    for (const wrong of ["10.0.1.0", "10.0.1.1", "10.0.1.7", "10.0.2.2"]) assert.equal(p.claim(parseAddress(wrong), "x"), false, wrong);
  });

  it("serves a large IPv6 CIDR without listing it", () => {
    const { pool: p } = pool("fd00:10:1::/64");
    assert.equal(p.allocate("a"), "fd00:10:1::2");
    assert.equal(p.capacity, 65_534);
  });

  it("refuses a CIDR without room", () => {
    assert.throws(() => pool("10.0.0.0/31"), /no room/);
    assert.throws(() => pool("fd00::1/128"), /no room/);
  });

  it("lets a released address rest, then gives the one that rests longest", () => {
    const { pool: p, clock } = pool("10.0.1.0/29");
    const given = ["a", "b", "c", "d", "e"].map((owner) => p.allocate(owner) ?? "");
    p.release(given[3] ?? "");
    clock.ms += 1000;
    p.release(given[1] ?? "");
    assert.equal(p.allocate("new"), undefined);
    assert.equal(p.nextRestedMs(), 1_000_000 + REST_MS);
    clock.ms += REST_MS - 1000;
    assert.equal(p.allocate("new"), given[3]);
    assert.equal(p.allocate("newer"), undefined);
    clock.ms += 1000;
    assert.equal(p.allocate("newer"), given[1]);
  });

  it("gives an owner its former address at once, unless another has it by now", () => {
    const { pool: p, clock } = pool("10.0.1.0/29");
    const first = p.allocate("pod") ?? "";
    p.release(first);
    assert.equal(p.allocate("pod"), first);
    p.release(first);
    for (const owner of ["b", "c", "d", "e"]) p.allocate(owner);
    clock.ms += REST_MS;
    assert.equal(p.allocate("thief"), first);
    assert.equal(p.allocate("pod"), undefined);
  });

  it("remembers rests over a restart", () => {
    const { pool: p, clock } = pool("10.0.1.0/29");
    const a = p.allocate("a") ?? "";
    const b = p.allocate("b") ?? "";
    p.release(a);
    const { pool: next } = pool("10.0.1.0/29", clock);
    next.restore(p.memory());
    assert.equal(next.claim(parseAddress(b), "b"), true);
    assert.equal(next.claim(parseAddress(b), "b"), false);
    const others = ["c", "d", "e", "f"].map((owner) => next.allocate(owner));
    assert.ok(!others.includes(a) && !others.includes(b));
    assert.equal(next.allocate("a"), a);
  });

  it("never gives one address twice nor an address that rests, whatever happens (property)", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("allocate" as const), owner: fc.integer({ min: 0, max: 20 }) }),
      fc.record({ kind: fc.constant("release" as const), index: fc.nat(30) }),
      fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 70_000 }) }),
      fc.record({ kind: fc.constant("restart" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const clock = { ms: 1_000_000 };
        let { pool: p } = pool("10.9.0.0/28", clock);
        const held: { address: string; owner: string }[] = [];
        const freed = new Map<string, { ms: number; owner: string }>();
        for (const item of steps) {
          if (item.kind === "wait") clock.ms += item.ms;
          if (item.kind === "release") {
            const [entry] = held.splice(item.index % Math.max(1, held.length), 1);
            if (entry === undefined) continue;
            p.release(entry.address);
            freed.set(entry.address, { ms: clock.ms, owner: entry.owner });
          }
          if (item.kind === "restart") {
            const memory = p.memory();
            p = pool("10.9.0.0/28", clock).pool;
            p.restore(memory);
            for (const entry of held) assert.ok(p.claim(parseAddress(entry.address), entry.owner));
          }
          if (item.kind === "allocate") {
            const owner = `u${item.owner}`;
            const address = p.allocate(owner);
            const resting = [...freed.values()].filter((entry) => clock.ms - entry.ms < REST_MS).length;
            if (address === undefined) {
              assert.ok(held.length + resting >= p.capacity, "refused although an address was free");
              continue;
            }
            assert.ok(!held.some((entry) => entry.address === address), `${address} given twice`);
            const rest = freed.get(address);
            if (rest !== undefined) assert.ok(rest.owner === owner || clock.ms - rest.ms >= REST_MS, `${address} did not rest`);
            freed.delete(address);
            held.push({ address, owner });
          }
        }
        assert.equal(p.used, held.length);
      }),
      { numRuns: 300 },
    );
  });
});
