/** When a node begins another key, whom it follows, and when the old one may go. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { encryptionPlan } from "../../../src/agent/encryption-plan.ts";
import type { OwnKey } from "../../../src/agent/encryption-plan.ts";
import { FARTHEST, firstTurn, isOvertaken, isSetBack, keysOf, LAST_EPOCH, nextTurn, SKEW_MS, waitsFor } from "../../../src/agent/key-rotation.ts";
import type { NodeKey } from "../../../src/agent/key-rotation.ts";
import { Keyring } from "../../../src/agent/keyring.ts";
import type { CiliumNodeRow } from "../../../src/agent/objects.ts";
import type { WireGuardState } from "../../../src/kernel/index.ts";

const NOW = Date.parse("2030-01-01T12:00:00.000Z");
const text = (ms: number): string => new Date(ms).toISOString();
const letterKey = (letter: string): string => `${letter.repeat(42)}A=`;
const key = (epoch: number, created = NOW - 3600_000, letter = "K"): NodeKey => ({ publicKey: letterKey(letter), port: 51871 + (epoch % 2), epoch, created: text(created) });
const never = { intervalMs: undefined, notBefore: undefined };
const epochOf = (turn: { readonly epoch: number } | undefined): number | undefined => turn?.epoch;

describe("the turn of keys", () => {
  it("comes with their age, or when somebody asks, and not before the time that is asked for", () => {
    assert.equal(nextTurn(key(4), [[key(4)]], never, NOW), undefined);
    assert.deepEqual(nextTurn(key(4), [[key(4)]], { ...never, intervalMs: 3600_000 }, NOW), { epoch: 5, created: text(NOW) });
    assert.equal(nextTurn(key(4), [], { ...never, intervalMs: 3600_001 }, NOW), undefined);
    assert.equal(epochOf(nextTurn(key(4), [], { ...never, notBefore: text(NOW) }, NOW)), 5);
    assert.equal(nextTurn(key(4), [], { ...never, notBefore: text(NOW + 1) }, NOW), undefined);
    assert.equal(nextTurn(key(4, NOW), [], { ...never, notBefore: text(NOW) }, NOW), undefined);
    assert.equal(nextTurn(key(4), [], { ...never, notBefore: "soon" }, NOW), undefined);
  });

  it("a port that the settings do not name any more is left by the next key", () => {
    assert.equal(epochOf(nextTurn(key(4), [], { ...never, isUnusable: true }, NOW)), 5);
  });

  it("whoever has begun is followed, under the later clock: nobody begins once more for the same wish", () => {
    const ahead = key(5, NOW + 60_000);
    const turn = nextTurn(key(4), [[key(4), ahead], [key(4)]], never, NOW);
    assert.deepEqual(turn, { epoch: 5, created: ahead.created });
    assert.equal(nextTurn({ ...key(5), ...turn }, [[ahead]], { ...never, notBefore: text(NOW + 60_000) }, NOW + 61_000), undefined);
  });

  it("a node that was left behind, or starts, takes the epoch that others have alone", () => {
    assert.equal(epochOf(nextTurn(key(1), [[key(7)], [key(6), key(7)]], never, NOW)), 7);
    assert.equal(firstTurn(0, [[key(6), key(7)], [key(7)], []], NOW).epoch, 7);
    assert.equal(firstTurn(3, [[key(2)]], NOW).epoch, 3);
    // Of nodes that start with different memories none stays alone.
    assert.equal(epochOf(nextTurn(key(0), [[key(3)], [key(0)]], never, NOW)), 3);
    // Where others went on from different epochs, by keys that are begun.
    assert.equal(epochOf(nextTurn(key(4), [[key(4), key(7)]], never, NOW)), 7);
  });

  it("nobody's clock puts the next turn off: a time that is ahead counts for minutes, and one that is far ahead not at all", () => {
    const far = Date.parse("9999-12-31T00:00:00Z");
    const turn = nextTurn(key(4), [[key(4), key(5, far)]], never, NOW);
    assert.deepEqual(turn, { epoch: 5, created: text(NOW + SKEW_MS) });
    assert.ok(SKEW_MS <= 600_000);
    const later = NOW + SKEW_MS + 3600_000;
    assert.equal(epochOf(nextTurn({ ...key(5), ...turn }, [], { ...never, intervalMs: 3600_000 }, later)), 6);
    assert.equal(epochOf(nextTurn({ ...key(5), ...turn }, [], { ...never, notBefore: text(later) }, later)), 6);
    // As a version left it that believed any time, or this machine's own clock.
    assert.equal(epochOf(nextTurn(key(4, far), [], { ...never, notBefore: text(NOW) }, NOW)), 5);
    assert.equal(epochOf(nextTurn(key(4, far), [], { ...never, intervalMs: 3600_000 }, NOW)), 5);
    assert.equal(nextTurn(key(4, far), [], never, NOW), undefined);
  });

  it("nobody's epoch takes the others to the end of all epochs", () => {
    for (const wild of [[key(LAST_EPOCH)], [key(4), key(LAST_EPOCH)], [key(FARTHEST + 5)]]) {
      assert.equal(nextTurn(key(4), [wild, [key(4)]], never, NOW), undefined, JSON.stringify(wild));
      assert.equal(epochOf(nextTurn(key(4), [wild, [key(5)]], never, NOW)), 5);
      assert.equal(firstTurn(0, [wild, [key(4)], [key(4), key(5)]], NOW).epoch, 4);
      assert.equal(firstTurn(4, [wild, [key(4)]], NOW).epoch, 4);
      assert.equal(isOvertaken(key(4), key(5), [wild, [key(4)]]), false);
    }
    assert.equal(firstTurn(LAST_EPOCH, [[key(4)], [key(4)]], NOW).epoch, 4);
    assert.equal(nextTurn(key(LAST_EPOCH), [], { ...never, intervalMs: 0 }, NOW), undefined, "what comes after would be refused");
  });

  it("a next key is given up when others are past it, and not while they are on their way to it", () => {
    assert.equal(isOvertaken(key(5), key(6), [[key(7)], [key(7)]]), true);
    // One that still has it waits for this node in turn.
    assert.equal(isOvertaken(key(5), key(6), [[key(6), key(7)], [key(7)]]), true);
    assert.equal(isOvertaken(key(4), key(5), [[key(4), key(7)]]), true);
    assert.equal(epochOf(nextTurn(key(5), [[key(7)], [key(7)]], never, NOW)), 7);
    for (const others of [[], [[]], [[key(5)]], [[key(5), key(6)]], [[key(6)]], [[key(6), key(7)], [key(5), key(6)]]]) assert.equal(isOvertaken(key(5), key(6), others), false, JSON.stringify(others));
  });
});

describe("the old key", () => {
  const row = (name: string, present: NodeKey, next?: NodeKey, sends?: number): CiliumNodeRow => ({
    name, internalIps: [], routerIps: [], podCidrs: [], keys: { ...present, ...(next === undefined ? {} : { next }) },
    encryption: { phase: "Enforced", device: "Kernel", peers: 1, ...(sends === undefined ? {} : { sends }) },
  });

  it("is due when the clock was set back since a handshake, by more than clocks are kept by; never when it was set ahead", () => {
    const state = (lastHandshake: number): Pick<WireGuardState, "peers"> => ({ peers: new Map([["K", { publicKey: "K", endpoint: undefined, allowedIps: [], lastHandshake, received: 0, sent: 0, keepalive: 0 }]]) });
    assert.deepEqual([0, 1000, 1020, 1060, 5000].map((seconds) => isSetBack(state(seconds), 1_000_000)), [false, false, false, true, true]);
    assert.equal(isSetBack({ peers: new Map() }, 0), false);
    const present = { publicKey: letterKey("A"), port: 51871, epoch: 4, created: "" };
    assert.equal(nextTurn(present, [], { intervalMs: undefined, notBefore: undefined, isUnusable: true }, 1_000_000)?.epoch, 5);
  });

  it("goes only when every other node is reached by the new one, and says that it sends by it to all", () => {
    const all = new Set(["a", "b", "c"]);
    const of = (...rows: readonly CiliumNodeRow[]): string => waitsFor(5, rows, 51871, all).join("; ");
    assert.match(of(row("a", key(4))), /^a: it has published no key of epoch 5 yet$/);
    assert.match(of(row("a", key(4), key(5), 4)), /^a: it does not send to all others yet by keys of epoch 5$/);
    assert.match(of(row("a", key(4), key(5))), /^a: it does not send to all/);
    assert.match(waitsFor(5, [row("a", key(5))], 51871, new Set()).join(), /^a: it has not answered yet by its key of epoch 5$/);
    assert.match(of({ name: "a", internalIps: [], routerIps: [], podCidrs: [] }), /no key of epoch 5/);
    assert.equal(of(row("a", key(4), key(5), 5), row("b", key(5)), row("c", key(5), key(6), 5)), "");
    assert.equal(waitsFor(5, [], 51871, new Set()).length, 0);
  });

  it("of a version that knows one key, is of epoch 0 behind the usual port", () => {
    assert.deepEqual(keysOf({ keys: { publicKey: letterKey("K") } }, 51871), [{ publicKey: letterKey("K"), port: 51871, epoch: 0, created: "" }]);
    assert.deepEqual(keysOf({}, 51871), []);
  });
});

describe("the ways while a key is replaced", () => {
  const local = { name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] };
  const own = (epoch: number, ...answered: readonly string[]): OwnKey => ({
    publicKey: letterKey(epoch === 4 ? "O" : "P"), epoch, device: `wg${epoch % 2}`, proven: new Map(answered.map((letter) => [letterKey(letter), NOW])),
    now: { privateKey: "p", publicKey: "", port: 0, peers: new Map(answered.map((letter) => [letterKey(letter), { publicKey: letterKey(letter), endpoint: undefined, allowedIps: [], lastHandshake: 1, received: 0, sent: 0, keepalive: 0 }])) },
  });
  const node = (name: string, ip: string, present: NodeKey, next?: NodeKey): CiliumNodeRow => ({ name, internalIps: [ip], routerIps: [], podCidrs: [], keys: { ...present, ...(next === undefined ? {} : { next }) } });
  const b = node("n2", "192.0.2.2", key(4, NOW, "B"), key(5, NOW, "C"));
  const c = node("n3", "192.0.2.3", key(4, NOW, "D"), key(5, NOW, "E"));
  const plan = (keys: readonly OwnKey[], ...nodes: readonly CiliumNodeRow[]): ReturnType<typeof encryptionPlan> => encryptionPlan({ local, nodes, port: 51871, keys, nowMs: NOW, inForce: true });
  const ways = (of: ReturnType<typeof encryptionPlan>): string[] => of.routes.map(({ destination, device }) => `${destination} ${device}`);

  it("a handshake alone leads no node to the new key: the other end may know nothing of it", () => {
    const found = plan([own(4, "B", "D"), { ...own(5, "C", "E"), proven: new Map([[letterKey("C"), NOW]]) }], b, c);
    assert.deepEqual([found.sends, ways(found), [...found.reachedByLast], found.missing], [4, ["192.0.2.2 wg1", "192.0.2.3 wg0"], ["n2"], []]);
    assert.deepEqual(found.peers.map((peers) => peers.map(({ keepalive }) => keepalive)), [[0, 0], [1, 5]], "whoever was heard hears of it");
  });

  it("what was heard is told for a while: a node that is away keeps the rotation open, and the others silent", () => {
    const keepalives = (sinceMs: number): readonly number[] | undefined => {
      const keys = [own(4, "B", "D"), { ...own(5, "C"), proven: new Map([[letterKey("C"), NOW - sinceMs]]) }];
      return encryptionPlan({ local, nodes: [b, c], port: 51871, keys, keepalive: 25, nowMs: NOW, inForce: true }).peers[1]?.map(({ keepalive }) => keepalive);
    };
    assert.deepEqual([0, 29_000, 31_000, 36_000_000].map(keepalives), [[1, 5], [1, 5], [25, 5], [25, 5]]);
    assert.deepEqual(keepalives(-3_600_000), [25, 5], "the clock was set back");
  });

  it("each node is sent to by the new key as soon as it has answered by it, others by the old one", () => {
    const found = plan([own(4, "B", "D"), own(5, "C")], b, c);
    assert.deepEqual(ways(found), ["192.0.2.2 wg1", "192.0.2.3 wg0"]);
    assert.deepEqual(found.peers.map((peers) => peers.map(({ publicKey, endpoint }) => `${publicKey[0]} ${endpoint.port}`)), [["B 51871", "D 51871"], ["C 51872", "E 51872"]]);
    assert.deepEqual([found.sends, [...found.reachedByLast], found.confirmed, found.missing], [4, ["n2"], true, []]);
  });

  it("says that it sends by the new key when that is so for all", () => {
    const found = plan([own(4, "B", "D"), own(5, "C", "E")], b, c);
    assert.deepEqual([found.sends, ways(found)], [5, ["192.0.2.2 wg1", "192.0.2.3 wg1"]]);
  });

  it("a node that has the new key alone is sent to by it, answered or not", () => {
    assert.deepEqual(ways(plan([own(4, "B"), own(5)], b, node("n3", "192.0.2.3", key(5, NOW, "E")))), ["192.0.2.2 wg0", "192.0.2.3 wg1"]);
  });

  it("a node of a version without epochs is spoken to by the present key, whatever its epoch, behind the usual port", () => {
    const old: CiliumNodeRow = { name: "n3", internalIps: ["192.0.2.3"], routerIps: [], podCidrs: [], keys: { publicKey: letterKey("E") } };
    const found = plan([own(4, "B", "E"), own(5, "C")], b, old);
    assert.deepEqual(ways(found), ["192.0.2.2 wg1", "192.0.2.3 wg0"]);
    assert.deepEqual(found.peers[0]?.map(({ publicKey, endpoint }) => `${publicKey[0]} ${endpoint.port}`), ["B 51871", "E 51871"]);
    assert.deepEqual([found.sends, found.confirmed, [...found.reachedByLast]], [4, true, ["n2"]]);
    assert.match(waitsFor(5, [old], 51871, new Set()).join(), /^n3: it has published no key of epoch 5 yet$/);
  });

  it("without an epoch in common nothing leaves in clear, and both are named", () => {
    const found = plan([own(4)], node("n3", "192.0.2.3", key(9, NOW, "E")));
    assert.deepEqual(ways(found), ["192.0.2.3 wg0"]);
    assert.deepEqual([found.sends, found.missing], [undefined, ["n3: its keys are of epoch 9, this node's of 4"]]);
  });
});

describe("the memory of keys", () => {
  const folder = mkdtempSync(join(tmpdir(), "keyring-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const none: WireGuardState = { privateKey: undefined, publicKey: undefined, port: 0, peers: new Map() };
  const stateOf = (ring: Keyring, slot: number): WireGuardState => {
    const held = ring.keys.find((one) => one.slot === slot);
    return held === undefined ? none : { ...none, privateKey: held.privateKey, publicKey: held.publicKey };
  };
  const restored = async (file: string, states: readonly (WireGuardState | undefined)[], others: readonly (readonly NodeKey[])[] = [], port = 51871): Promise<Keyring> => {
    const ring = new Keyring(join(folder, file), () => port);
    await ring.restore(states, others, NOW);
    return ring;
  };

  it("a process that starts in the middle has both keys again; the file has no private one", async () => {
    const ring = await restored("a", [none, none]);
    await ring.begin({ epoch: 1, created: text(NOW) }, 1);
    assert.deepEqual(ring.keys.map(({ slot, port, epoch }) => [slot, port, epoch]), [[0, 51871, 0], [1, 51872, 1]]);
    const again = await restored("a", [stateOf(ring, 0), stateOf(ring, 1)]);
    assert.deepEqual(again.keys, ring.keys);
    for (const { privateKey } of ring.keys) assert.ok(!readFileSync(join(folder, "a"), "utf8").includes(privateKey));
    await again.finish();
    assert.deepEqual(again.published, { publicKey: ring.keys[1]?.publicKey, port: 51872, epoch: 1, created: text(NOW) });
    await again.begin({ epoch: 2, created: text(NOW) }, 0);
    assert.deepEqual(again.published?.next?.port, 51871);
  });

  it("a next key that is given up is forgotten, and its device has the one that is begun instead", async () => {
    const ring = await restored("e", [none, none]);
    await ring.begin({ epoch: 1, created: text(NOW) }, 1);
    const [present, next] = ring.keys;
    await ring.giveUp();
    assert.deepEqual(ring.keys, [present]);
    await ring.begin({ epoch: 3, created: text(NOW) }, 1);
    assert.deepEqual(ring.keys.map(({ slot, port, epoch }) => [slot, port, epoch]), [[0, 51871, 0], [1, 51872, 3]]);
    assert.notEqual(ring.keys[1]?.publicKey, next?.publicKey);
  });

  it("a device that is gone meanwhile: the key that is left is the present one; with none left there is a fresh one of the others' epoch", async () => {
    const ring = await restored("b", [none, none]);
    await ring.begin({ epoch: 1, created: text(NOW) }, 1);
    assert.deepEqual((await restored("b", [undefined, stateOf(ring, 1)])).keys, ring.keys.slice(1));
    assert.deepEqual((await restored("b", [undefined, none], [[key(6)]])).keys, [], "the first device is waited for");
    const [fresh, ...more] = (await restored("b", [none, none], [[key(6)]])).keys;
    assert.deepEqual([fresh?.slot, fresh?.epoch, more.length], [0, 6, 0]);
    assert.ok(!ring.keys.some(({ publicKey }) => publicKey === fresh?.publicKey));
  });

  it("a key of a device that no file knows, as a version without it left one, is taken on", async () => {
    const [held] = (await restored("c", [none, none])).keys;
    const [adopted] = (await restored("unknown", [{ ...none, privateKey: held?.privateKey, publicKey: held?.publicKey }, none], [[key(2)]])).keys;
    assert.deepEqual([adopted?.publicKey, adopted?.privateKey, adopted?.epoch], [held?.publicKey, held?.privateKey, 2]);
  });

  it("another port of the settings is the next key's, never one that is in use", async () => {
    const ring = await restored("d", [none, none]);
    const moved = await restored("d", [stateOf(ring, 0), none], [], 51870);
    assert.deepEqual([moved.keys[0]?.port, moved.ports], [51871, [51870, 51871]]);
    await moved.begin({ epoch: 1, created: text(NOW) }, 1);
    assert.equal(moved.keys[1]?.port, 51870);
  });
});
