/** All checks, in the order in which they are shown: the kernel first, then what others have put on the machine. */
import { judgeConfigurations } from "./cni-checks.ts";
import type { Facts, Finding, Said } from "./facts.ts";
import * as kernel from "./kernel-checks.ts";
import * as network from "./network-checks.ts";

export interface Check {
  readonly name: string;
  readonly judge: (facts: Facts) => readonly Said[];
}

export const CHECKS: readonly Check[] = [
  { name: "kernel version", judge: kernel.version },
  { name: "rights", judge: kernel.rights },
  { name: "bpf file system", judge: kernel.bpfFileSystem },
  { name: "bpf programs", judge: kernel.programs },
  { name: "bpf compiler", judge: kernel.compiler },
  { name: "kernel types (BTF)", judge: kernel.kernelTypes },
  { name: "lockdown", judge: kernel.lockdown },
  { name: "cgroup2", judge: kernel.cgroup2 },
  { name: "pod links (veth)", judge: kernel.veth },
  { name: "tc (clsact)", judge: kernel.clsact },
  { name: "VXLAN", judge: kernel.vxlan },
  { name: "nftables", judge: kernel.nftables },
  { name: "IPv6", judge: kernel.ipv6 },
  { name: "WireGuard", judge: kernel.wireguard },
  { name: "forwarding", judge: network.forwarding },
  { name: "reverse path filter", judge: network.reversePathFilter },
  { name: "br_netfilter", judge: network.bridgeNetfilter },
  { name: "netfilter conntrack", judge: network.conntrack },
  { name: "network configurations", judge: judgeConfigurations },
  { name: "tunnel port", judge: network.tunnelPort },
  { name: "tc programs of others", judge: network.foreignPrograms },
  { name: "ip rules", judge: network.rules },
  { name: "routes", judge: network.routes },
  { name: "address ranges", judge: network.ranges },
];

/** Pure. Every check says something. */
export function judge(facts: Facts): readonly Finding[] {
  return CHECKS.flatMap(({ name, judge }) => judge(facts).map((said) => ({ check: name, ...said })));
}

/** What somebody has to look at. */
export function problems(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ verdict }) => verdict === "warning" || verdict === "blocker");
}
