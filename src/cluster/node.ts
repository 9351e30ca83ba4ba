import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Found } from "./binaries/find.ts";
import { cgroupDirs, type CgroupLayout, cgroupPids, ensureCgroups, machineCgroups, removeCgroups } from "./cgroup.ts";
import { AGENT_NOT_READY_TAINT, apiServerUrl, type ClusterConfig, clusterPaths, DNS_SERVICE_ADDRESSES, type NodeIdentity } from "./config.ts";
import { ClusterError } from "./errors.ts";
import { killAll } from "./kill.ts";
import { ensureNodeNetwork, netnsPath, removeNetwork } from "./network.ts";
import { kubeconfig, type Pki } from "./pki.ts";
import { capture, ensureDaemon, joining, type ProcessIdentity, readPidFile, waitReady } from "./process.ts";

const BOOT_SCRIPT = join(import.meta.dirname, "node-boot.sh");
const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";
export const PAUSE_IMAGE = "localhost/pause:1";

/** A node's first process: it lives in all of the node's namespaces as long as the node runs. */
export function nodeHolder(config: ClusterConfig, node: NodeIdentity): ProcessIdentity | undefined {
  return readPidFile(pidFile(config, node, "boot"));
}

/** The command that runs `argv` inside a running node. */
export function inNode(config: ClusterConfig, node: NodeIdentity, argv: readonly string[]): string[] {
  const holder = nodeHolder(config, node);
  if (holder === undefined) throw new ClusterError(`${node.name} is not running`, "make cluster, or node-start if you stopped it");
  return joining(memberGroups(config, node), ["nsenter", `--target=${holder.pid}`, "--mount", "--net", "--uts", "--cgroup", "--wd=/", "--", ...argv]);
}

/** The cgroups of a running node's own processes; with cgroup v2 alone its root group must hold none (node-boot.sh). */
function memberGroups(config: ClusterConfig, node: NodeIdentity): string[] {
  const layout = machineCgroups();
  const groups = cgroupDirs(layout, config.name, node.name);
  return layout.kind === "unified" ? groups.map((dir) => join(dir, "system")) : groups;
}

/** Boots the node: network, namespaces, own file system, containerd. */
export async function ensureNode(config: ClusterConfig, node: NodeIdentity, layout: CgroupLayout): Promise<void> {
  await ensureNodeNetwork(config, node);
  mkdirSync(node.disk, { recursive: true });
  const holder = ensureDaemon({
    argv: ["nsenter", `--net=${netnsPath(node.netns)}`, "--", "unshare", "--mount", "--cgroup", "--uts", "--propagation", "private", "sh", BOOT_SCRIPT],
    logFile: logFile(config, node, "boot"),
    pidFile: pidFile(config, node, "boot"),
    cgroups: ensureCgroups(layout, config.name, node.name),
    env: { NODE_NAME: node.name, NODE_DISK: node.disk, CGROUPS: layout.hierarchies.map((each) => `v${each.version}:${each.folder}:${each.options}`).join(" ") },
  });
  await waitReady(`the boot of ${node.name}`, logFile(config, node, "boot"), 20_000, async () =>
    (await capture(inNode(config, node, ["test", "-e", "/run/booted"]))).code === 0, holder);
  writeContainerdConfig(node);
  const containerd = daemonInNode(config, node, "containerd", ["containerd", "--config", join(node.disk, "containerd.toml")]);
  await waitReady(`containerd of ${node.name}`, logFile(config, node, "containerd"), 30_000, async () =>
    (await capture(inNode(config, node, ["ctr", "version"]))).code === 0, containerd);
}

export async function ensureKubelet(config: ClusterConfig, node: NodeIdentity, layout: CgroupLayout, programs: Found, pki: Pki): Promise<void> {
  const user = `system:node:${node.name}`;
  const client = await pki.certificate({ name: `${node.name}-client`, authority: "ca", usage: "clientAuth", subject: { commonName: user, organization: "system:nodes" } });
  const serving = await pki.certificate({
    name: `${node.name}-serving`, authority: "ca", usage: "serverAuth", subject: { commonName: user, organization: "system:nodes" },
    altNames: [`DNS:${node.name}`, `IP:${node.ipv4}`, `IP:${node.ipv6}`],
  });
  const etc = join(node.disk, "etc/kubernetes");
  writeFileSync(join(etc, "kubelet.conf"), kubeconfig(apiServerUrl(config), pki.files("ca").cert, user, client), { mode: 0o600 });
  writeFileSync(join(etc, "kubelet-config.json"), JSON.stringify(kubeletConfiguration(config, layout, pki, serving), null, 2));
  const daemon = daemonInNode(config, node, "kubelet", [
    programs["kubelet"] ?? "kubelet",
    "--kubeconfig=/etc/kubernetes/kubelet.conf",
    "--config=/etc/kubernetes/kubelet-config.json",
    `--hostname-override=${node.name}`,
    `--node-ip=${node.ipv4},${node.ipv6}`,
  ]);
  await waitReady(`kubelet of ${node.name}`, logFile(config, node, "kubelet"), 60_000, async () =>
    (await capture(inNode(config, node, ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/10248"]))).code === 0, daemon);
}

/** Ends everything in the node at once, as when its power is cut; its disk stays. */
export async function stopNode(config: ClusterConfig, node: NodeIdentity, layout: CgroupLayout): Promise<void> {
  await killAll(() => cgroupPids(layout, config.name, node.name));
  await removeNetwork(config, node);
  removeCgroups(layout, config.name, node.name);
}

function daemonInNode(config: ClusterConfig, node: NodeIdentity, name: string, argv: readonly string[]): ProcessIdentity {
  return ensureDaemon({ argv: inNode(config, node, argv), logFile: logFile(config, node, name), pidFile: pidFile(config, node, name), cgroups: [] });
}

/**
 * containerd 1.6 and 1.7 read version 2 of the configuration. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE runc
 * cannot lower the score and ends with "can't get final child's PID from pipe: EOF"; with it nothing is lost that a
 * local cluster needs. AppArmor profiles are the machine's, and a node has no securityfs to load them through.
 */
function writeContainerdConfig(node: NodeIdentity): void {
  const file = join(node.disk, "containerd.toml");
  if (existsSync(file)) return;
  writeFileSync(file, `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`);
}

function kubeletConfiguration(config: ClusterConfig, layout: CgroupLayout, pki: Pki, serving: { readonly cert: string; readonly key: string }): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    authentication: { x509: { clientCAFile: pki.files("ca").cert }, webhook: { enabled: true }, anonymous: { enabled: false } },
    authorization: { mode: "Webhook" },
    tlsCertFile: serving.cert,
    tlsPrivateKeyFile: serving.key,
    clusterDomain: "cluster.local",
    clusterDNS: [DNS_SERVICE_ADDRESSES[0]],
    resolvConf: "/etc/resolv.conf",
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    evictionHard: {},
    // Images are imported, not pulled: what the collector removed could not come back.
    imageGCHighThresholdPercent: 100,
    cgroupDriver: "cgroupfs",
    ...(layout.kind === "hybrid" ? { cgroupsPerQOS: false, enforceNodeAllocatable: [], failCgroupV1: false } : {}),
    ...(config.cni === "cilium" ? { registerWithTaints: [{ key: AGENT_NOT_READY_TAINT, value: "true", effect: "NoSchedule" }] } : {}),
  };
}

function logFile(config: ClusterConfig, node: NodeIdentity, name: string): string {
  return join(clusterPaths(config).logs, `${node.name}-${name}.log`);
}

function pidFile(config: ClusterConfig, node: NodeIdentity, name: string): string {
  return join(clusterPaths(config).run, `${node.name}-${name}.pid`);
}
