/** Targets on maps of the real kernel. Needs root. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { LibbpfPort } from "../../src/kernel/bpf.ts";
import type { BatchMap } from "../../src/kernel/port.ts";
import { PolicyTarget } from "../../src/targets/policy.ts";
import { expandRuleSet } from "../../src/targets/expand.ts";
import { cidrsTarget } from "../../src/targets/peers.ts";
import { makeFixture } from "./kernel-fixture.ts";
import type { Fixture } from "./kernel-fixture.ts";

let fixture: Fixture;
before(() => (fixture = makeFixture()));
after(() => fixture.remove());

function open(name: string, port = new LibbpfPort()): BatchMap {
  const map = port.load({ file: fixture.object }).maps.get(name);
  assert.ok(map);
  return map;
}

describe("targets on kernel maps", () => {
  it("cidrs: what is put is listed, of both families, and removed, absent ones included", () => {
    const target = cidrsTarget(open("ranges"));
    const rows = new Map([
      ["10.1.0.0/16", { identity: 0, node: "192.168.0.2", flags: 3 }],
      ["10.1.2.0/24", { identity: 0, node: undefined, flags: 2 }],
      ["fd00:1::/64", { identity: 2, node: "fd00::2", flags: 0 }],
      ["0.0.0.0/0", { identity: 2, node: undefined, flags: 0 }],
    ]);
    assert.deepEqual(target.put(rows), []);
    assert.deepEqual(new Map([...target.list()].sort()), new Map([...rows].sort()));
    assert.deepEqual(target.remove(["10.9.0.0/16", "10.1.0.0/16", "fd00:1::/64"]), []);
    assert.deepEqual([...new Map(target.list()).keys()].sort(), ["0.0.0.0/0", "10.1.2.0/24"]);
  });

  it("policy: programs, is found again after a restart, and refuses what does not fit", () => {
    const port = new LibbpfPort();
    const maps = { policy: open("rules", port), subjects: open("slots", port), blocks: open("blocks", port) };
    const rules = (count: number, verdict: "allow" | "deny" = "allow") =>
      expandRuleSet(
        {
          ingressDefault: 9,
          egressDefault: undefined,
          rules: Array.from({ length: count }, (_, i) => ({ id: i + 1, direction: "ingress", peer: i === 0 ? "c" : undefined, ports: [{ protocol: 6, port: i + 1, prefix: 16 }], verdict, precedence: 1 })),
        },
        new Map([["c", { kind: "cidrs", blocks: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }, { cidr: "2001:db8::/32", except: [] }], scopes: ["world"] }]]),
      );
    let now = 0;
    const first = new PolicyTarget(maps, 1, () => now);
    first.recover();
    const apply = (target: PolicyTarget, content: ReturnType<typeof rules>) => target.apply({ subjects: new Map([[256, "r"]]), ruleSets: new Map([["r", content]]), isComplete: true });
    assert.deepEqual(apply(first, rules(30)).failures, []);
    now += 1000;
    const second = new PolicyTarget(maps, 1, () => now);
    second.recover();
    const again = apply(second, rules(30));
    assert.equal(again.written + again.removed, 0);
    assert.deepEqual(apply(second, rules(20, "deny")).failures, []);
    now += 1000;
    assert.equal(second.sweep(), 30 + 3, "entries and blocks");
    const refused = apply(second, rules(63));
    assert.match(refused.failures[0]?.error.message ?? "", /map policy needs 83 entries and has room for 64/);
    assert.ok(refused.slots.has(256));
  });
});
