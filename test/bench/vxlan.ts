/**
 * The kernel's own VXLAN between two nodes of the peer cluster, for one pair of pods: what encapsulation costs without
 * us, between the nodes themselves or in another device between them. The other pods of the peer keep their plain routes.
 */
import type { BenchCluster, Pod } from "./cluster.ts";
import { run } from "../../src/cluster/process.ts";
import { findNode } from "../../src/cluster/config.ts";

const PORT = 8472;
/** Outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348). */
const OVERHEAD = 50;

/** What the tunnel runs over: a device of both nodes, and the addresses that they have there. */
export interface Under {
  readonly device: string;
  readonly mtu: number;
  readonly addresses: readonly [one: string, other: string];
}

/** `number` tells two tunnels of one run from each other. */
export async function routeThroughVxlan(cluster: BenchCluster, one: Pod, other: Pod, number = 0, under = nodesOwn(cluster, one, other)): Promise<void> {
  const [first, second] = under.addresses;
  await Promise.all([
    tunnel(cluster, { near: one, far: other, local: first, remote: second, own: 1, theirs: 2, number, under }),
    tunnel(cluster, { near: other, far: one, local: second, remote: first, own: 2, theirs: 1, number, under }),
  ]);
}

function nodesOwn({ config }: BenchCluster, one: Pod, other: Pod): Under {
  return { device: "eth0", mtu: 1500, addresses: [findNode(config, one.node).ipv4, findNode(config, other.node).ipv4] };
}

interface End {
  readonly near: Pod;
  readonly far: Pod;
  readonly local: string;
  readonly remote: string;
  /** Last numbers of the ends' addresses in the tunnel. */
  readonly own: number;
  readonly theirs: number;
  readonly number: number;
  readonly under: Under;
}

async function tunnel(cluster: BenchCluster, { near, far, local, remote, own, theirs, number, under }: End): Promise<void> {
  const device = `bench_vxlan${number}`;
  const script = [
    `if ip link show ${device} >/dev/null 2>&1; then ip link delete ${device}; fi`, // of an earlier run on a peer that was kept
    `ip link add ${device} type vxlan id ${77 + number} local ${local} remote ${remote} dstport ${PORT} dev ${under.device}`,
    `ip address add 192.0.2.${number * 4 + own}/30 dev ${device}`,
    `ip link set ${device} up`,
    `ip route add ${far.ipv4}/32 via 192.0.2.${number * 4 + theirs} dev ${device}`,
  ];
  await cluster.inNode(near.node, ["sh", "-e", "-c", script.join("\n")]);
  await run(["nsenter", `--net=${near.netns}`, "--", "ip", "link", "set", "eth0", "mtu", String(under.mtu - OVERHEAD)]);
}
