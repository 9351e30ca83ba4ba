/** A machine behind a router of the underlay, beyond which only smaller packets fit (RFC 1191 section 3, RFC 8201). */
import { spawnSync } from "node:child_process";
import { PREFIX, nft, run, underlay, underlay6 } from "./lab.ts";

export const FAR = `${PREFIX}far`;
export const FAR_MTU = 1300;
export const far = { ipv4: "203.0.113.9", ipv6: "2001:db8:f::9" } as const;
const ROUTER = `${PREFIX}rt`;

/**
 * The link itself is as large as any, so that neither end knows: what is too big is the router's to say.
 * @returns what takes it away again.
 */
export function plugInFar(families: readonly ("ipv4" | "ipv6")[]): () => void {
  const unplug = (): void => { for (const name of [ROUTER, FAR]) spawnSync("ip", ["netns", "delete", name]); };
  try {
    cable(families);
  } catch (error) {
    unplug();
    throw error;
  }
  return unplug;
}

function cable(families: readonly ("ipv4" | "ipv6")[]): void {
  for (const name of [ROUTER, FAR]) {
    run("ip", "netns", "add", name);
    run("ip", "-n", name, "link", "set", "lo", "up");
  }
  run("ip", "-n", `${PREFIX}net`, "link", "add", "rt-eth0", "type", "veth", "peer", "name", "eth0", "netns", ROUTER);
  run("ip", "-n", `${PREFIX}net`, "link", "set", "rt-eth0", "master", "br-eth0", "up");
  run("ip", "-n", ROUTER, "link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", FAR);
  run("ip", "netns", "exec", ROUTER, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  for (const [name, device] of [[ROUTER, "eth0"], [ROUTER, "far"], [FAR, "eth0"]] as const) {
    run("ip", "netns", "exec", name, "sysctl", "-qw", `net.ipv6.conf.${device}.accept_dad=0`, `net.ipv6.conf.${device}.dad_transmits=0`);
    run("ip", "-n", name, "link", "set", device, "up");
  }
  for (const address of [`${underlay(8)}/24`, `${underlay6(8)}/64`]) run("ip", "-n", ROUTER, "address", "add", address, "dev", "eth0", ...nodad(address));
  for (const address of ["203.0.113.1/24", "2001:db8:f::1/64"]) run("ip", "-n", ROUTER, "address", "add", address, "dev", "far", ...nodad(address));
  for (const address of [`${far.ipv4}/24`, `${far.ipv6}/64`]) run("ip", "-n", FAR, "address", "add", address, "dev", "eth0", ...nodad(address));
  for (const to of [far.ipv4, far.ipv6]) run("ip", "-n", ROUTER, "route", "add", to, "dev", "far", "mtu", "lock", `${FAR_MTU}`);
  for (const via of ["203.0.113.1", "2001:db8:f::1"]) run("ip", "-n", FAR, "route", "add", "default", "via", via);
  for (const node of [1, 2]) {
    for (const [family, to, via] of [["ipv4", "203.0.113.0/24", underlay(8)], ["ipv6", "2001:db8:f::/64", underlay6(8)]] as const) {
      if (families.includes(family)) run("ip", "-n", `${PREFIX}n${node}`, "route", "add", to, "via", via);
    }
  }
}

const nodad = (address: string): readonly string[] => (address.includes(":") ? ["nodad"] : []);

/** Node ports of node 1 as kube-proxy makes them: with these backends, TCP on 8090 and UDP on 8080, under the node's address. */
export function nodePorts(backends: readonly (readonly [port: number, ipv4: string, ipv6: string])[]): () => void {
  const namespace = `${PREFIX}n1`;
  const rules = backends.flatMap(([port, ipv4, ipv6]) => ([["tcp", 8090], ["udp", 8080]] as const).flatMap(([protocol, backend]) => [
    `ip daddr ${underlay(1)} ${protocol} dport ${port} dnat ip to ${ipv4}:${backend}`,
    `ip6 daddr ${underlay6(1)} ${protocol} dport ${port} dnat ip6 to [${ipv6}]:${backend}`,
  ]));
  nft(namespace, ["table inet nodeport {", "chain pre {", "type nat hook prerouting priority dstnat;", ...rules, "}", "chain post {", "type nat hook postrouting priority srcnat;", "ct status dnat masquerade", "}", "}", ""].join("\n"));
  return () => run("ip", "netns", "exec", namespace, "nft", "delete", "table", "inet", "nodeport");
}
