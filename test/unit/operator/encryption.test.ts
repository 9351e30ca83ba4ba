/** What the CiliumEncryption says, from what the nodes say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumEncryption } from "../../../src/api/gen/ciliumencryptions.ts";
import { encryptionStatus, selectingStatus } from "../../../src/operator/encryption.ts";
import type { NodeEncryptionRow } from "../../../src/operator/encryption.ts";

const object: CiliumEncryption = { metadata: { name: "default", generation: 1 }, spec: { type: "wireguard" } };
const row = (phase: NodeEncryptionRow["phase"], device: NodeEncryptionRow["device"] = "Userspace", message?: string): NodeEncryptionRow => ({ phase, device, peers: 2, ...(message === undefined ? {} : { message }) });
const NOW = "2030-01-01T00:00:00Z";

const told = (nodes: Readonly<Record<string, NodeEncryptionRow | undefined>>, enabled = true): ReturnType<typeof encryptionStatus> => encryptionStatus(object, enabled, new Map(Object.entries(nodes)), NOW);
const ready = (status: ReturnType<typeof encryptionStatus>): string => `${status.conditions[0]?.status} ${status.conditions[0]?.reason}`;

describe("the status of encryption", () => {
  it("is ready when every node drops what is in clear and reaches all others", () => {
    const status = told({ a: row("Enforced"), b: row("Enforced", "Kernel") });
    assert.deepEqual([status.nodes, status.kernel, status.userspace, status.failingNodes, ready(status)], ["2/2", 1, 1, [], "True Encrypted"]);
  });

  it("names each node that is not counted, with why, also one that says nothing", () => {
    const status = told({ c: undefined, a: row("Enforced"), b: row("Preparing", "None", "no device") });
    assert.deepEqual([status.nodes, ready(status)], ["1/3", "False Preparing"]);
    assert.deepEqual(status.failingNodes, [{ name: "b", message: "no device" }, { name: "c", message: "its agent does not say that it encrypts" }]);
  });

  it("tells a node that is out of reach from one that is not encrypted", () => {
    const status = told({ a: row("Enforced"), b: row("Enforced", "Userspace", "a: it has not answered yet") });
    assert.equal(ready(status), "False Unreachable");
    assert.match(status.conditions[0]?.message ?? "", /^nothing leaves in clear/);
  });

  it("of an object that somebody made while it is off says so", () => {
    assert.equal(ready(told({ a: undefined }, false)), "False NotEnabled");
  });

  it("keeps the time of the last transition", () => {
    const before = told({ a: row("Enforced") });
    const later = encryptionStatus({ ...object, status: before }, true, new Map([["a", row("Enforced")]]), "2031-01-01T00:00:00Z");
    assert.equal(later.conditions[0]?.lastTransitionTime, NOW);
  });
});

const edge = (more: Partial<CiliumEncryption["spec"]> = {}, name = "edge", created = "2030-01-01T00:00:00Z"): CiliumEncryption => ({
  metadata: { name, generation: 2, creationTimestamp: created }, spec: { type: "wireguard", nodeSelector: { matchLabels: { edge: "yes" } }, ...more },
});
const follows = (object: string | undefined, generation = 2): NodeEncryptionRow => ({ ...row("Enforced"), ...(object === undefined ? {} : { object, objectGeneration: generation }) });
const LABELS = new Map([["a", { edge: "yes" }], ["b", { edge: "yes" }], ["c", {}]]);

function selecting(subject: CiliumEncryption, nodes: Readonly<Record<string, NodeEncryptionRow | undefined>>, others: readonly CiliumEncryption[] = [], enabled = true): string[] {
  const { nodes: count, conditions } = selectingStatus(subject, { routing: enabled ? { tunnelPort: 8472 } : undefined, objects: [subject, ...others], labels: LABELS, nodes: new Map(Object.entries(nodes)) }, NOW);
  return [count, ...conditions.map(({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`)];
}

describe("the status of an object that selects nodes", () => {
  const all = { a: follows("edge"), b: follows("edge"), c: follows(undefined) };

  it("counts the nodes for which it speaks, as soon as they go by it as it is", () => {
    assert.deepEqual(selecting(edge(), all).slice(0, 1), ["2/2"]);
    assert.match(selecting(edge(), all).join("\n"), /Ready True Encrypted[^]*Conflict False None/);
    assert.match(selecting(edge(), { ...all, b: follows(undefined) }).join("\n"), /^1\/2\nReady False/);
    assert.match(selecting(edge(), { ...all, b: follows("edge", 1) }).join("\n"), /^1\/2\nReady False/);
  });

  it("the loser says so, with who speaks where: by priority, then by age", () => {
    const stronger = edge({ priority: 5, nodeSelector: { matchLabels: { edge: "yes" } } }, "stronger", "2031-01-01T00:00:00Z");
    assert.match(selecting(edge(), all, [stronger]).join("\n"), /^0\/0\nReady False Overridden[^]*Conflict True Overridden: .* 2 of 2 nodes that it selects: a \(stronger\), b \(stronger\)/);
    assert.match(selecting(stronger, all, [edge()]).join("\n"), /Conflict False None/);
    const older = edge({}, "older", "2029-01-01T00:00:00Z");
    assert.match(selecting(edge(), all, [older]).join("\n"), /Conflict True Overridden: .*a \(older\)/);
  });

  it("says what is wrong with it, that it selects no node, and that nothing is encrypted", () => {
    assert.match(selecting(edge({ port: 8471 }), all).join("\n"), /Ready False Invalid: .*spec.port: 8471 and 8472 would be WireGuard's/);
    assert.match(selecting(edge({ strict: false } as object), all).join("\n"), /Ready False Invalid: .*spec.strict: not known/);
    assert.match(selecting(edge({ nodeSelector: { matchLabels: { edge: "no" } } }), all).join("\n"), /Ready False NoNodes/);
    assert.match(selecting(edge(), all, [], false).join("\n"), /Ready False NotEnabled/);
  });

  it("one that is wrong takes no node from another", () => {
    assert.match(selecting(edge(), all, [edge({ priority: 9, port: 8472 }, "wrong")]).join("\n"), /^2\/2\nReady True[^]*Conflict False/);
  });
});
