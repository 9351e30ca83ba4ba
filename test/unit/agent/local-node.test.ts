/** What of this node is read from its Node, and what is not there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { localNode, movedNode } from "../../../src/agent/local-node.ts";
import type { NodeRow } from "../../../src/agent/objects.ts";

const config = { enableIPv4: true, enableIPv6: true };
const row = { name: "n1", uid: "u", internalIps: ["192.0.2.1"], podCidrs: ["10.1.0.0/24", "fd00:1::/64"] } as unknown as NodeRow;

test("a Node that says the same moves nothing; one that says more keeps the further addresses of the node's devices", () => {
  const found = localNode(row, config) ?? assert.fail("no node");
  const current = { ...found, deviceIps: ["198.51.100.1"] };
  assert.equal(movedNode(current, row, config), undefined);
  assert.equal(movedNode(found, row, config), undefined);
  const moved = movedNode(current, { ...row, internalIps: ["192.0.2.1", "192.0.2.9"] }, config);
  assert.deepEqual(moved, { ...current, internalIps: ["192.0.2.1", "192.0.2.9"] });
});
