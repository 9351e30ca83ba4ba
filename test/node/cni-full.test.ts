/** A node whose pod CIDR is full: the error says so with numbers, and addresses come free again. */
import { strict as assert } from "node:assert";
import { after, before, describe, it } from "node:test";
import { AgentLab } from "./agent-lab.ts";

const CAPACITY = 5; // 10.79.0.0/29 less network, router and broadcast address
const TRY_AGAIN = 11;
const names = Array.from({ length: CAPACITY + 1 }, (_, index) => `full${index}`);
const lab = new AgentLab({ prefix: `cilcnif${process.pid}`, pods: names.length, subnet: "198.51.100", podCidrs: ["10.79.0.0/29", "fd79::/64"] });

describe("a small pod CIDR", { timeout: 280_000 }, () => {
  before(async () => {
    await lab.setUp();
    await lab.ready("app", names);
  });
  after(() => lab.tearDown());

  it("when it is full an ADD fails with numbers; an address that has rested a minute is given again, the longest rested first", async () => {
    // Of the pod that came and went, one address rests already.
    const seen = new Map<string, string>();
    const add = async (index: number): Promise<string> => {
      const given = await lab.until(`an address for ${names[index]}`, async () => {
        const { code, answer } = await lab.plugin("ADD", names[index] ?? "", index);
        return code === 0 ? answer : undefined;
      }, 100_000);
      const address = given.ips?.[0]?.address.replace(/\/.*/, "") ?? "";
      assert.ok(![...seen.values()].includes(address), `${address} is given twice`);
      seen.set(names[index] ?? "", address);
      lab.ping(lab.nodeNs, address);
      return address;
    };
    for (let index = 0; index < CAPACITY; index++) await add(index);
    const { answer: refusal } = await lab.plugin("ADD", `full${CAPACITY}`, CAPACITY);
    assert.equal(refusal?.code, TRY_AGAIN);
    assert.equal(refusal.msg, "no free IPv4 address on this node");
    assert.match(refusal.details ?? "", /^5 of 5 addresses of 10\.79\.0\.0\/29 are in use/);
    const freed = performance.now();
    const first = seen.get("full3");
    for (const index of [3, 1]) {
      assert.equal((await lab.plugin("DEL", `full${index}`, index)).code, 0);
      seen.delete(`full${index}`);
    }
    const { answer: resting } = await lab.plugin("ADD", `full${CAPACITY}`, CAPACITY);
    assert.match(resting?.details ?? "", /^3 of 5 .*the next one is free in \d+ s$/);
    assert.equal(await add(CAPACITY), first);
    assert.ok(performance.now() - freed >= 59_000, "it rested for a minute");
  });
});
