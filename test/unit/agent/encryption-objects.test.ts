/** What is said of a node's encryption by objects and by the chart's values. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { wordsFor } from "../../../src/agent/encryption-objects.ts";
import type { NodeWords } from "../../../src/agent/encryption-objects.ts";
import { decodeEncryption } from "../../../src/agent/objects.ts";
import type { EncryptionRow } from "../../../src/agent/objects.ts";

const values = { port: 51871, persistentKeepalive: 0, keyRotationMs: 3_600_000, userspace: "auto" } as const;
const row = (name: string, spec: Partial<EncryptionRow["spec"]>, keysNotBefore?: string): EncryptionRow => decodeEncryption({
  metadata: { name, generation: 3, ...(keysNotBefore === undefined ? {} : { annotations: { "cilium.io/keys-not-before": keysNotBefore } }) }, spec: { type: "wireguard", ...spec },
});
const words = (...objects: EncryptionRow[]): NodeWords => wordsFor({ values, tunnelPort: 8472, objects, labels: { edge: "yes" } });
const edge = { nodeSelector: { matchLabels: { edge: "yes" } } };

describe("what is said of a node's encryption", () => {
  it("is the chart's values, whatever the object that shows them says by now", () => {
    assert.deepEqual(words(row("default", { port: 7777 })), { said: { port: 51871, keepalive: 0, by: {} }, wish: { intervalMs: 3_600_000, notBefore: undefined } });
  });

  it("is the object's where one selects the node; of what that leaves out, the values'", () => {
    assert.deepEqual(words(row("default", {}), row("edge", { ...edge, persistentKeepalive: 25, port: 7000 })), { said: { port: 7000, keepalive: 25, by: { object: "edge", objectGeneration: 3 } }, wish: { intervalMs: 3_600_000, notBefore: undefined } });
    assert.equal(words(row("edge", { ...edge, keyRotationSeconds: 60 })).wish.intervalMs, 60_000);
    assert.equal(words(row("edge", { ...edge, keyRotationSeconds: 0 })).wish.intervalMs, undefined);
    assert.deepEqual(words(row("edge", { nodeSelector: { matchLabels: { edge: "no" } }, port: 7000 })).said.by, {});
  });

  it("an object that is wrong speaks for no node", () => {
    assert.deepEqual(words(row("edge", { ...edge, port: 8472 })).said.by, {});
    assert.deepEqual(words(row("edge", { ...edge, strict: false } as object)).said.by, {});
  });

  it("keys are asked for by either object, the later time counts, and what is no time is told", () => {
    assert.equal(words(row("default", {}, "2030-01-01T00:00:00Z"), row("edge", edge, "2030-01-01T02:00:00+03:00")).wish.notBefore, "2030-01-01T00:00:00Z");
    assert.equal(words(row("default", {}), row("edge", edge, "2030-01-01T00:00:00Z")).wish.notBefore, "2030-01-01T00:00:00Z");
    assert.equal(words(row("default", {}, "2030-01-01T00:00:00Z"), row("edge", edge, "soon")).wish.notBefore, "soon");
  });
});
