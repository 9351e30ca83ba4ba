/** What the CiliumEncryption says, from what the nodes say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumEncryption } from "../../../src/api/gen/ciliumencryptions.ts";
import { encryptionStatus } from "../../../src/operator/encryption.ts";
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
