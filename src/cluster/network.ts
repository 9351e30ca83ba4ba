import { existsSync, writeFileSync } from "node:fs";

import { type ClusterConfig, controlAddresses, controlNetns, machineAddresses, machineLink, type NodeIdentity, nodeIdentities } from "./config.ts";
import { CommandError } from "./errors.ts";
import { capture, run } from "./process.ts";

/*
 *   machine ── <name>-host ═══ host ┐                     ┌ port1 ═══ eth0 ── node-1
 *   (kubectl)                       ├─ switch, a bridge ──┼ port2 ═══ eth0 ── node-2
 *                                   ┘  in <name>-control  └ …
 *
 * The switch is in the control plane's own network namespace, so that the machine's firewall (such as the FORWARD DROP
 * of Docker), its ports and its sysctls have no part in the cluster; the machine gets one link and two addresses.
 */
export const SWITCH = "switch";
const NETNS_DIR = "/run/netns";

export function netnsExists(name: string): boolean {
  return existsSync(`${NETNS_DIR}/${name}`);
}

export function netnsPath(name: string): string {
  return `${NETNS_DIR}/${name}`;
}

export function inNetns(name: string, argv: readonly string[]): string[] {
  return ["nsenter", `--net=${netnsPath(name)}`, "--", ...argv];
}

export async function ensureNetwork(config: ClusterConfig): Promise<void> {
  const netns = controlNetns(config);
  const link = machineLink(config);
  if (!netnsExists(netns)) await run(["ip", "netns", "add", netns]);
  const control = controlAddresses(config);
  const machine = machineAddresses(config);
  if (!(await linkExists(SWITCH, netns))) {
    await ipBatch(netns, [`link add ${SWITCH} type bridge`, `link set ${SWITCH} up`, "link set lo up", ...addressLines(SWITCH, control)]);
  }
  if (!(await linkExists(link))) {
    await run(["ip", "link", "add", link, "type", "veth", "peer", "name", "host", "netns", netns]);
    await ipBatch(netns, [`link set host master ${SWITCH} up`]);
  }
  // Where IPv6 is switched off by sysctl, it is so for new links too.
  writeFileSync(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, "0");
  await ipBatch(undefined, [`link set ${link} up`, ...addressLines(link, machine)]);
}

/** Plugs a node's network namespace into the switch. */
export async function ensureNodeNetwork(config: ClusterConfig, node: NodeIdentity): Promise<void> {
  if (!netnsExists(node.netns)) await run(["ip", "netns", "add", node.netns]);
  if (!(await linkExists("eth0", node.netns))) {
    await run(["ip", "-n", controlNetns(config), "link", "add", node.port, "type", "veth", "peer", "name", "eth0", "address", node.mac, "netns", node.netns]);
    await ipBatch(controlNetns(config), [`link set ${node.port} master ${SWITCH} up`]);
  }
  const gateway = controlAddresses(config);
  // What kubeadm's preflight asks of every node.
  await run(inNetns(node.netns, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.eth0.accept_ra=0"]));
  await ipBatch(node.netns, [
    "link set lo up",
    "link set eth0 up",
    ...addressLines("eth0", node),
    `route replace default via ${gateway.ipv4} dev eth0`,
    `-6 route replace default via ${gateway.ipv6} dev eth0`,
  ]);
}

/** Removes every network namespace and link of the cluster, or of one node. */
export async function removeNetwork(config: ClusterConfig, only?: NodeIdentity): Promise<void> {
  const mine = only === undefined ? await clusterNetnses(config) : [only.netns].filter(netnsExists);
  // A veth pair goes with either end; deleting it here makes it gone when we return, while a namespace is taken down in
  // the background.
  if (only === undefined) await deleteLink(machineLink(config), undefined);
  if (only !== undefined) await deleteLink(only.port, controlNetns(config));
  for (const netns of mine) await capture(["ip", "netns", "del", netns]);
}

export async function clusterNetnses(config: ClusterConfig): Promise<string[]> {
  const names = (await run(["ip", "netns", "list"])).split("\n").map((line) => line.split(" ")[0] ?? "");
  return names.filter((name) => name === controlNetns(config) || new RegExp(`^${config.name}-node-\\d+$`).test(name));
}

/** Static routes to every node's pods, where no CNI plugin makes them: `podCidrs` by node name. */
export async function routePods(config: ClusterConfig, netns: string, podCidrs: ReadonlyMap<string, readonly string[]>): Promise<void> {
  const lines = nodeIdentities(config).filter((node) => node.netns !== netns).flatMap((node) =>
    (podCidrs.get(node.name) ?? []).map((cidr) => (cidr.includes(":") ? `-6 route replace ${cidr} via ${node.ipv6}` : `route replace ${cidr} via ${node.ipv4}`)));
  await ipBatch(netns, lines);
}

async function deleteLink(link: string, netns: string | undefined): Promise<void> {
  if (await linkExists(link, netns)) await capture(["ip", ...(netns === undefined ? [] : ["-n", netns]), "link", "del", link]);
}

async function linkExists(link: string, netns?: string): Promise<boolean> {
  return (await capture(["ip", ...(netns === undefined ? [] : ["-n", netns]), "link", "show", "dev", link])).code === 0;
}

function addressLines(link: string, addresses: { readonly ipv4: string; readonly ipv6: string }): string[] {
  return [`addr replace ${addresses.ipv4}/24 dev ${link}`, `-6 addr replace ${addresses.ipv6}/64 dev ${link} nodad`];
}

async function ipBatch(netns: string | undefined, lines: readonly string[]): Promise<void> {
  for (const family of ["-4", "-6"] as const) {
    const input = lines.filter((line) => line.startsWith("-6 ") === (family === "-6")).map((line) => line.replace(/^-6 /, ""));
    if (input.length === 0) continue;
    const argv = ["ip", family, ...(netns === undefined ? [] : ["-n", netns]), "-batch", "-"];
    const output = await capture(argv, { input: `${input.join("\n")}\n` });
    if (output.code !== 0) throw new CommandError(argv, output.code, `${output.stderr}${input.join("\n")}`);
  }
}
