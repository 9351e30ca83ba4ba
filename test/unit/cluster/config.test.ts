import assert from "node:assert/strict";
import { test } from "node:test";

import { clusterConfig, findNode, nodeIdentities } from "../../../src/cluster/config.ts";

test("without settings: three nodes, our CNI, kube-proxy", () => {
  const config = clusterConfig({ HOME: "/root", PATH: "/usr/bin" });
  assert.deepEqual([config.nodes, config.kubernetes, config.cni, config.kubeProxy, config.podCidrSize], [3, "1.36.3", "cilium", true, 24]);
});

test("addresses follow from the subnets, and no two nodes share one", () => {
  const nodes = nodeIdentities(clusterConfig({ NODES: "20", CLUSTER_SUBNET: "10.9.8.0/24", CLUSTER_SUBNET6: "fd01:2::/64" }));
  assert.deepEqual([nodes[0]?.ipv4, nodes[0]?.ipv6, nodes[19]?.ipv4, nodes[19]?.ipv6], ["10.9.8.11", "fd01:2::b", "10.9.8.30", "fd01:2::1e"]);
  for (const property of ["ipv4", "ipv6", "mac", "port", "netns"] as const) assert.equal(new Set(nodes.map((node) => node[property])).size, 20, property);
});

for (const [env, message] of [
  [{ CNI: "calico" }, /CNI=calico is not valid: give one of cilium, ptp, none/],
  [{ NODES: "0" }, /NODES=0 is not valid: give a number from 1 to 100/],
  [{ K8S: "latest" }, /K8S=latest is not valid/],
  [{ POD_CIDR_SIZE: "30" }, /POD_CIDR_SIZE=30 is not valid: give one of 24, 25, 26, 27, 28/],
  [{ KUBE_PROXY: "yes" }, /KUBE_PROXY=yes is not valid: give one of 0, 1/],
  [{ CLUSTER_SUBNET: "10.0.0.0/16" }, /CLUSTER_SUBNET=10.0.0.0\/16 is not valid/],
  [{ CLUSTER_NAME: "much-too-long-a-name" }, /CLUSTER_NAME/],
] as const) {
  test(`refused: ${JSON.stringify(env)}`, () => assert.throws(() => clusterConfig(env), message));
}

test("a node that is not there is named with those that are", () => {
  assert.throws(() => findNode(clusterConfig({ NODES: "2" }), "node-3"), /has no node node-3: give one of node-1, node-2/);
});
