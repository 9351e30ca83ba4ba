/**
 * The kernel's own VXLAN between two nodes of the peer cluster, for one pair of pods: what encapsulation costs without
 * us. The other pods of the peer keep their plain routes.
 */
import type { BenchCluster, Pod } from "./cluster.ts";
import { run } from "../../src/cluster/process.ts";
import { findNode } from "../../src/cluster/config.ts";

const DEVICE = "bench_vxlan";
const VNI = 77;
const PORT = 8472;
/** Outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348). */
const OVERHEAD = 50;

export async function routeThroughVxlan(cluster: BenchCluster, one: Pod, other: Pod): Promise<void> {
  await Promise.all([tunnel(cluster, one, other, 1, 2), tunnel(cluster, other, one, 2, 1)]);
}

async function tunnel(cluster: BenchCluster, near: Pod, far: Pod, own: number, theirs: number): Promise<void> {
  const { ipv4: local } = findNode(cluster.config, near.node);
  const { ipv4: remote } = findNode(cluster.config, far.node);
  const script = [
    `if ip link show ${DEVICE} >/dev/null 2>&1; then ip link delete ${DEVICE}; fi`, // of an earlier run on a peer that was kept
    `ip link add ${DEVICE} type vxlan id ${VNI} local ${local} remote ${remote} dstport ${PORT} dev eth0`,
    `ip address add 192.0.2.${own}/30 dev ${DEVICE}`,
    `ip link set ${DEVICE} up`,
    `ip route add ${far.ipv4}/32 via 192.0.2.${theirs} dev ${DEVICE}`,
  ];
  await cluster.inNode(near.node, ["sh", "-e", "-c", script.join("\n")]);
  await run(["nsenter", `--net=${near.netns}`, "--", "ip", "link", "set", "eth0", "mtu", String(1500 - OVERHEAD)]);
}
