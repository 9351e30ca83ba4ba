/** What of this node is read from its Node, and what is not there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { localNode, movedNode, nodeAddresses } from "../../../src/agent/local-node.ts";
import type { CiliumNodeRow, NodeRow } from "../../../src/agent/objects.ts";
import { nodeTables } from "../../../src/agent/peers.ts";
import { reachingBy } from "../../../src/agent/reach.ts";
import type { DeviceAddress } from "../../../src/kernel/index.ts";
import { Identity, PEER_OWN } from "../../../src/kernel/gen/types.ts";

const config = { enableIPv4: true, enableIPv6: true };
const row = { name: "n1", uid: "u", internalIps: ["192.0.2.1"], podCidrs: ["10.1.0.0/24", "fd00:1::/64"] } as unknown as NodeRow;

test("a node has what its devices have, and its own are told from those that a service may have brought", () => {
  const address = (text: string, scope = "global"): DeviceAddress => ({ address: text.split("/")[0] ?? "", prefix: Number(text.split("/")[1]), scope });
  const device = (name: string, ...addresses: DeviceAddress[]) => ({ name, addresses });
  const eth0 = device("eth0", address("192.0.2.1/24"), address("192.0.2.3/24"), address("192.0.2.100/32"), address("fe80::1/64", "link"), address("2001:db8::64/128"));
  const devices = [device("lo", address("127.0.0.1/8", "host"), address("192.0.2.77/32"), address("::1/128", "host")), eth0, device("docker0", address("172.17.0.1/16")), device("lxc1", address("198.51.100.1/24"))];
  assert.deepEqual(nodeAddresses(devices, [eth0], ["192.0.2.1"]), { deviceIps: ["192.0.2.3"], guestIps: ["172.17.0.1", "192.0.2.100", "192.0.2.77", "2001:db8::64"] });
});

test("what a guest address of the node is to others it stays, and the node has it; one of a pod CIDR is no guest", () => {
  const node = { ...(localNode(row, config) ?? assert.fail("no node")), guestIps: ["192.0.2.100", "192.0.2.2", "10.1.0.1", "10.1.0.7", "2001:db8::64"] };
  const other = { name: "n2", internalIps: ["192.0.2.2"], routerIps: [], podCidrs: ["10.2.0.0/24"] } as unknown as CiliumNodeRow;
  const { peers } = nodeTables(node, [other], reachingBy("tunnel"));
  assert.deepEqual(peers.get("192.0.2.100"), { identity: Identity.WORLD_IPV4, node: undefined, flags: PEER_OWN });
  assert.deepEqual(peers.get("2001:db8::64"), { identity: Identity.WORLD_IPV6, node: undefined, flags: PEER_OWN });
  assert.deepEqual(peers.get("192.0.2.2"), { identity: Identity.REMOTE_NODE, node: undefined, flags: PEER_OWN }, "moved here");
  assert.equal(peers.get("10.1.0.1")?.identity, Identity.HOST, "the router's");
  assert.equal(peers.has("10.1.0.7"), false);
});

test("a Node that says the same moves nothing; one that says more keeps the further addresses of the node's devices", () => {
  const found = localNode(row, config) ?? assert.fail("no node");
  const current = { ...found, deviceIps: ["198.51.100.1"] };
  assert.equal(movedNode(current, row, config), undefined);
  assert.equal(movedNode(found, row, config), undefined);
  const moved = movedNode(current, { ...row, internalIps: ["192.0.2.1", "192.0.2.9"] }, config);
  assert.deepEqual(moved, { ...current, internalIps: ["192.0.2.1", "192.0.2.9"] });
});
