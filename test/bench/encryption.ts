/**
 * What encryption costs: our cluster with the chart's two values, and wireguard-go alone between two nodes of the peer, made by
 * hand for one pair of pods. Both run it in a container, as processes of equal standing: where the kernel has WireGuard too.
 */
import { join } from "node:path";

import { BUSYBOX_IMAGE, type ClusterConfig, clusterPaths, findNode } from "../../src/cluster/config.ts";
import { run } from "../../src/cluster/process.ts";
import { CILIUM_ENCRYPTIONS } from "../../src/kube/index.ts";
import { type BenchCluster, NAMESPACE, type Pod, type PodSpec, until } from "./cluster.ts";
import { ROOT } from "./config.ts";
import type { Under } from "./vxlan.ts";

const SWITCH_MS = 300_000;
const PROGRAM = "wireguard-go";
const DEVICE = "bench_wg0";
const PORT = 51_999;
/** Outer IPv4 and UDP header, WireGuard's header and authentication tag (the WireGuard paper, section 5.4.6). */
const OVERHEAD = 60;
const ADDRESSES = ["192.0.2.129", "192.0.2.130"] as const;

/** Switches encryption on, by processes, and off again. `task` gets the processes of the two nodes. */
export async function whileEncrypted<T>(cluster: BenchCluster, nodes: readonly string[], task: (carriers: readonly number[]) => Promise<T>): Promise<T> {
  try {
    await upgrade(cluster.config, "encryption.enabled=true", "encryption.type=wireguard", "encryption.wireguard.userspace=always");
    await until("every node encrypts", async () => {
      const { status } = (await cluster.client.get(CILIUM_ENCRYPTIONS, { name: "default" })) ?? {};
      const all = `${cluster.config.nodes}/${cluster.config.nodes}`;
      return status?.nodes === all && status.conditions.some(({ type, status: is }) => type === "Ready" && is === "True") ? true : undefined;
    }, SWITCH_MS);
    const processes = await cluster.processes("k8s-app=cilium-wireguard", PROGRAM);
    return await task(processes.filter(({ node }) => nodes.includes(node)).map(({ pid }) => pid));
  } finally {
    await upgrade(cluster.config, "encryption.enabled=false", "encryption.wireguard.userspace=auto");
  }
}

async function upgrade(config: ClusterConfig, ...values: readonly string[]): Promise<void> {
  const { kubeconfig, bin } = clusterPaths(config);
  const of = ["--kubeconfig", kubeconfig, "--namespace", "kube-system"];
  await run([join(bin, "helm"), ...of, "upgrade", "cilium", join(ROOT, "config/helm/cilium"), "--reset-then-reuse-values", ...values.flatMap((value) => ["--set", value])], { timeoutMs: SWITCH_MS });
  for (const workload of ["deployment/cilium-operator", "daemonset/cilium"]) {
    await run([join(bin, "kubectl"), ...of, "rollout", "status", workload, `--timeout=${SWITCH_MS / 1000}s`], { timeoutMs: SWITCH_MS });
  }
}

/** A pod that makes the node's device: the node's network, and a process in a container. */
export function wireguardPod(node: string): PodSpec {
  const of = (name: string, path: string, type: string): object => ({ name, hostPath: { path, type } });
  return {
    name: `wireguard-${node}`, node, app: "bench-wireguard",
    spec: {
      hostNetwork: true,
      containers: [{
        name: "main", image: BUSYBOX_IMAGE, imagePullPolicy: "Never", command: ["/program", "--foreground", DEVICE],
        env: [{ name: "WG_PROCESS_FOREGROUND", value: "1" }, { name: "LOG_LEVEL", value: "error" }],
        securityContext: { capabilities: { add: ["NET_ADMIN"] } },
        volumeMounts: [{ name: "tun", mountPath: "/dev/net/tun" }, { name: "program", mountPath: "/program" }, { name: "sockets", mountPath: "/var/run/wireguard" }],
      }],
      volumes: [of("tun", "/dev/net/tun", "CharDevice"), of("program", join(ROOT, "build/bin", PROGRAM), "File"), of("sockets", "/run/wireguard", "DirectoryOrCreate")],
    },
  };
}

/** Between the nodes of the two pods, whose traffic takes it; `under` is for a tunnel in it. The processes have been started. */
export async function routeThroughWireguard(cluster: BenchCluster, one: Pod, other: Pod): Promise<{ readonly under: Under; readonly carriers: readonly number[] }> {
  const pair = [one, other] as const;
  const keys = await Promise.all(pair.map((pod) => keyOf(cluster, pod.node)));
  await Promise.all(pair.map(async (near, index) => {
    const far = pair[1 - index] as Pod;
    const script = [
      `wg set ${DEVICE} listen-port ${PORT} peer ${keys[1 - index]} endpoint ${findNode(cluster.config, far.node).ipv4}:${PORT} allowed-ips ${far.ipv4}/32,${ADDRESSES[1 - index]}/32`,
      `ip address replace ${ADDRESSES[index]}/30 dev ${DEVICE}`,
      `ip link set ${DEVICE} mtu ${1500 - OVERHEAD} up`,
      `ip route replace ${far.ipv4}/32 dev ${DEVICE}`,
    ];
    await cluster.inNode(near.node, ["sh", "-e", "-c", script.join("\n")]);
    await run(["nsenter", `--net=${near.netns}`, "--", "ip", "link", "set", "eth0", "mtu", String(1500 - OVERHEAD)]);
  }));
  const processes = await cluster.processes("app=bench-wireguard", "/program", NAMESPACE);
  return { under: { device: DEVICE, mtu: 1500 - OVERHEAD, addresses: ADDRESSES }, carriers: processes.map(({ pid }) => pid) };
}

/** A new key in the node's device; its public half. */
async function keyOf(cluster: BenchCluster, node: string): Promise<string> {
  return await until(`${DEVICE} on ${node}`, async () => {
    const { stdout } = await cluster.inNode(node, ["sh", "-c", `wg genkey | wg set ${DEVICE} private-key /dev/stdin && wg show ${DEVICE} public-key || true`]);
    return stdout.trim() === "" ? undefined : stdout.trim();
  });
}
