/** Peers first, enforcement last; and what others claim that is not theirs. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encryptionPlan, encryptionStatus } from "../../../src/agent/encryption-plan.ts";
import type { EncryptionView } from "../../../src/agent/encryption-plan.ts";
import type { CiliumNodeRow, EncryptionStatus } from "../../../src/agent/objects.ts";

const key = (letter: string): string => `${letter.repeat(42)}A=`;
const local = { name: "n1", uid: "u", internalIps: ["192.0.2.1", "2001:db8::1"], routerIps: [], podCidrs: [] };
const node = (number: number, letter: string | undefined, phase?: EncryptionStatus["phase"], more: Partial<CiliumNodeRow> = {}): CiliumNodeRow => ({
  name: `n${number}`, internalIps: [`192.0.2.${number}`, `2001:db8::${number}`], routerIps: [], podCidrs: [],
  ...(letter === undefined ? {} : { keys: { publicKey: key(letter) } }),
  ...(phase === undefined ? {} : { encryption: { phase, device: "Userspace", peers: 0 } }), ...more,
});

function view(nodes: readonly CiliumNodeRow[], answered: readonly string[] = [], inForce = false): EncryptionView {
  const peers = new Map(answered.map((letter) => [key(letter), { publicKey: key(letter), endpoint: undefined, allowedIps: [], lastHandshake: 1, received: 0, sent: 0, keepalive: 0 }]));
  return { local, nodes, port: 51871, keys: [{ publicKey: key("O"), epoch: 0, device: "wg0", now: { privateKey: key("P"), publicKey: key("O"), port: 51871, peers }, proven: new Map() }], nowMs: 0, inForce };
}

describe("the plan of a node's encryption", () => {
  it("makes a peer of every node that has a key, asks it until it answers, and routes nothing before", () => {
    const plan = encryptionPlan(view([node(1, "O"), node(2, "B"), node(3, undefined)]));
    assert.deepEqual(plan.peers[0], [{ publicKey: key("B"), endpoint: { ip: "192.0.2.2", port: 51871 }, allowedIps: ["192.0.2.2/32", "2001:db8::2/128"], keepalive: 5 }]);
    assert.deepEqual([plan.routes, plan.enforce, plan.confirmed], [[], false, false]);
    assert.equal(plan.missing.length, 2);
    assert.match(plan.missing.join(), /n3: it has published no key/);
  });

  it("routes to who has answered, by both families, and is silent then", () => {
    const plan = encryptionPlan(view([node(2, "B"), node(3, "C")], ["B"]));
    assert.deepEqual(plan.routes, [{ destination: "192.0.2.2", source: "192.0.2.1", device: "wg0" }, { destination: "2001:db8::2", source: "2001:db8::1", device: "wg0" }]);
    assert.deepEqual(plan.peers[0]?.map(({ keepalive }) => keepalive), [0, 5]);
    assert.equal(plan.enforce, false);
  });

  it("enforces only when every node was answered by all others", () => {
    assert.equal(encryptionPlan(view([node(2, "B", "Preparing"), node(3, "C", "Confirmed")], ["B", "C"])).enforce, false);
    assert.equal(encryptionPlan(view([node(2, "B", "Confirmed"), node(3, "C", "Confirmed")], ["B"])).enforce, false);
    assert.equal(encryptionPlan(view([node(2, "B", "Confirmed"), node(3, "C", "Confirmed")], ["B", "C"])).enforce, true);
  });

  it("of a node that comes later, or comes back, enforces from the start, as the others do", () => {
    assert.equal(encryptionPlan(view([node(2, "B", "Enforced"), node(3, "C")])).enforce, true);
    assert.equal(encryptionPlan(view([node(1, "O", "Enforced"), node(2, "B")])).enforce, true);
  });

  it("never leaves the enforcement, and then routes every node to WireGuard, whoever answers", () => {
    const plan = encryptionPlan(view([node(2, "B"), node(3, undefined)], [], true));
    assert.equal(plan.enforce, true);
    assert.deepEqual(plan.routes.map(({ destination }) => destination), ["192.0.2.2", "2001:db8::2", "192.0.2.3", "2001:db8::3"]);
  });

  it("believes nobody who claims another's key or address, its own ones least of all", () => {
    const thief = node(3, "B", undefined, { internalIps: ["192.0.2.3"] });
    const liar = node(4, "D", undefined, { internalIps: ["192.0.2.2"] });
    const mirror = node(5, "E", undefined, { internalIps: ["192.0.2.5", "192.0.2.1"] });
    const plan = encryptionPlan(view([node(2, "B"), thief, liar, mirror, node(6, "O")]));
    assert.deepEqual(plan.peers[0]?.map(({ publicKey }) => publicKey), [key("B")]);
    assert.match(plan.missing.join("\n"), /n3: its key is the one of n2\nn4: it claims an address of n2\nn5: it claims an address of n1\nn6: its key is the one of n1/);
    assert.ok(!encryptionPlan(view([mirror], [], true)).routes.some(({ destination }) => destination === "192.0.2.1"));
  });

  it("takes no option of wg for a key", () => {
    assert.deepEqual(encryptionPlan(view([node(2, undefined, undefined, { keys: { publicKey: "remove" } })])).peers, [[]]);
  });
});

describe("what a node says of its encryption", () => {
  it("is Confirmed only with a device, and names what is missing, ten nodes at most", () => {
    const plan = { enforce: false, confirmed: true, reached: 0, missing: [] };
    assert.equal(encryptionStatus(plan, undefined).phase, "Preparing");
    assert.deepEqual(encryptionStatus(plan, "Kernel"), { phase: "Confirmed", device: "Kernel", peers: 0 });
    const missing = Array.from({ length: 12 }, (_, index) => `n${index}: no`);
    assert.match(encryptionStatus({ ...plan, enforce: true, missing }, "Kernel").message ?? "", /n9: no; and 2 more$/);
  });
});
