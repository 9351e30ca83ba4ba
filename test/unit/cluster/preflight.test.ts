import assert from "node:assert/strict";
import { test } from "node:test";

import { clusterConfig } from "../../../src/cluster/config.ts";
import { judge, type MachineFacts, overlaps } from "../../../src/cluster/preflight.ts";

const CONFIG = clusterConfig({ CLUSTER_DIR: "/srv/checkout/.cluster", XDG_CACHE_HOME: "/home/dev/.cache" });
const GIB = 1024 ** 3;
const FIT: MachineFacts = {
  isRoot: true,
  missingCommands: [],
  cgroups: { kind: "hybrid", hierarchies: [{ version: 1, mountPoint: "/sys/fs/cgroup/cpu", folder: "cpu", options: "cpu" }] },
  hasIpv6: true,
  routes: [{ dst: "192.0.2.0/24", dev: "eth0" }],
  firewall: "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n",
  disk: { freeBytes: 50 * GIB, isOverlay: false },
  inotify: { used: 10, limit: 128 },
  foreignCluster: undefined,
  foreignDirectory: false,
  isRunning: false,
};
const V2 = { kind: "unified", hierarchies: [{ version: 2, mountPoint: "/sys/fs/cgroup", folder: "", options: "" }] } as const;

test("a fit machine has nothing to be said about", () => assert.deepEqual(judge(CONFIG, FIT), []));

const refusals: readonly (readonly [string, Partial<MachineFacts>, RegExp])[] = [
  ["not root", { isRoot: false }, /^not root: .*sudo make cluster/],
  ["a program is missing", { missingCommands: ["containerd", "runc"] }, /^not installed: containerd, runc: run make setup/],
  ["no cgroups", { cgroups: { kind: "unified", hierarchies: [] } }, /^no cgroup hierarchy/],
  ["no IPv6", { hasIpv6: false }, /IPv6 switched off.*ipv6\.disable=1/],
  ["the subnet is routed elsewhere", { routes: [{ dst: "172.16.0.0/12", dev: "docker0" }] }, /subnet 172\.29\.0\.0\/24 is taken: this machine routes 172\.16\.0\.0\/12 to docker0: choose another.*CLUSTER_SUBNET=/],
  ["the IPv6 subnet is", { routes: [{ dst: "fd00:172::/32", dev: "vpn0" }] }, /fd00:172:29:0::\/64 is taken/],
  ["disk full", { disk: { freeBytes: GIB / 2, isOverlay: false } }, /^disk full: 512 MiB free at .* need 1600 MiB: free space/],
  ["inotify instances", { inotify: { used: 103, limit: 128 } }, /^too few inotify instances: 103 of 128 are in use, and 3 nodes need 45: sysctl -w fs\.inotify\.max_user_instances=1024/],
  ["overlayfs", { disk: { freeBytes: 50 * GIB, isOverlay: true } }, /overlayfs.*CLUSTER_DIR/],
  ["somebody's files in the directory", { foreignDirectory: true }, /holds files that are not a cluster's: choose a new or an empty one/],
  ["the cluster of another directory", { foreignCluster: "/home/other/.cluster" }, /^a cluster named cilium is on this machine, made in \/home\/other\/\.cluster: make cluster-down CLUSTER_DIR=\/home\/other\/\.cluster, or choose CLUSTER_NAME/],
  ["a cluster whose directory is gone", { foreignCluster: "" }, /^a cluster named cilium is on this machine, but not in \/srv\/checkout\/\.cluster: make cluster-down, or/],
];
for (const [name, facts, message] of refusals) {
  test(`refused in one line: ${name}`, () => assert.throws(() => judge(CONFIG, { ...FIT, ...facts }), (error: Error) => message.test(error.message) && !error.message.includes("\n")));
}

test("our own link's routes and a running cluster's disk are no obstacle", () => {
  const routes = [{ dst: "172.29.0.0/24", dev: "cilium-host" }, { dst: "fd00:172:29::/64", dev: "cilium-host" }];
  assert.deepEqual(judge(CONFIG, { ...FIT, routes, isRunning: true, disk: { freeBytes: 0, isOverlay: false } }), []);
});

test("a directory that every node replaces cannot hold the nodes' disks", () => {
  assert.throws(() => judge({ ...CONFIG, dir: "/opt/checkout/.cluster" }, FIT), /below \/opt, which each node replaces/);
});

test("cgroup v2 only is used, and said", () => assert.match(judge(CONFIG, { ...FIT, cgroups: V2 }).join(), /^cgroup v2 only/));

test("Docker's FORWARD DROP is said to be harmless; INPUT DROP has a remedy unless replies are let in", () => {
  assert.match(judge(CONFIG, { ...FIT, firewall: "-P FORWARD DROP\n" }).join(), /FORWARD policy is DROP.*no need to change it/);
  assert.match(judge(CONFIG, { ...FIT, firewall: "-P INPUT DROP\n" }).join(), /iptables -I INPUT -i cilium-host -j ACCEPT/);
  assert.deepEqual(judge(CONFIG, { ...FIT, firewall: "-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n" }), []);
});

test("prefixes overlap when one holds the other", () => {
  for (const [a, b, expected] of [
    ["10.0.0.0/8", "10.1.2.0/24", true],
    ["10.1.2.0/24", "10.1.3.0/24", false],
    ["10.1.2.9", "10.1.2.0/24", true],
    ["fd00::/16", "fd00:1::/64", true],
    ["fd00:1::/64", "fd00:2::/64", false],
    ["0.0.0.0/0", "fd00::/64", false],
    ["unreachable", "10.0.0.0/8", false],
  ] as const) assert.equal(overlaps(a, b), expected, `${a} ${b}`);
});
