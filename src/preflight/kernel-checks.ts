/** What the kernel and the process's rights allow. Pure. */
import { bpfFsStanding } from "../kernel/index.ts";
import type { BpfNeed } from "../kernel/index.ts";
import { blocker, known, ok, unknown } from "./facts.ts";
import type { Facts, Said, TrialName } from "./facts.ts";
import { missingRights } from "./rights.ts";

/** The oldest kernel whose verifier takes the programs: bpf_redirect_neigh and bpf_redirect_peer came with it. */
const OLDEST = [5, 10] as const;
const BPF_FS = "/sys/fs/bpf";
const ERROR_END = 400;

export function version({ kernel }: Facts): readonly Said[] {
  const [major = Number.NaN, minor = Number.NaN] = kernel.split(".").map((part) => Number.parseInt(part, 10));
  if (Number.isNaN(major) || Number.isNaN(minor)) return [unknown(`${JSON.stringify(kernel)} is no version of Linux`)];
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return [ok(`Linux ${kernel}`)];
  return [blocker(`Linux ${kernel} is older than ${OLDEST.join(".")}`, "the programs that carry and judge pods' packets cannot be loaded", `boot Linux ${OLDEST.join(".")} or newer on this node`)];
}

export function rights(facts: Facts): readonly Said[] {
  const missing = missingRights(facts);
  if (missing === undefined) return [ok("NET_ADMIN and SYS_ADMIN are there, and maps have room")];
  return [blocker(missing, "the agent cannot set up the node's network", "run `cilium preflight` as root; of the agent, securityContext.capabilities.ciliumAgent names its capabilities")];
}

export function bpfFileSystem({ mountinfo }: Facts): readonly Said[] {
  const standing = bpfFsStanding(mountinfo, BPF_FS);
  if (standing === "mounted") return [ok(`${BPF_FS} is mounted`)];
  if (standing === "absent") return [ok(`${BPF_FS} is not mounted yet: the agent's init container does it`)];
  return [blocker(`${BPF_FS} is a directory of the node that takes no mounts from here`, "what the agent pins would go with its container, and pods' connections with it", "delete the agent's pod, so that its init container mounts the bpf file system for the node")];
}

export function programs({ bpf }: Facts): readonly Said[] {
  return known(bpf, ({ needs, loads }) => {
    const missing = needs.filter(({ works }) => !works).map(missingNeed);
    const refused = loads.flatMap(({ object, error }) => (error === undefined ? [] : [refusedObject(object, error)]));
    if (missing.length + refused.length > 0) return [...missing, ...refused];
    const count = (kind: BpfNeed["kind"]): number => needs.filter((need) => need.kind === kind).length;
    const loaded = loads.length === 0 ? "" : `; all ${loads.length} objects load`;
    return [ok(`${count("program type")} program types, ${count("map type")} map types and ${count("helper")} helpers are there${loaded}`)];
  });
}

function missingNeed({ kind, name, users }: BpfNeed): Said {
  return blocker(`the kernel has no ${kind} ${name}`, `${users.join(", ")} cannot be loaded: pods get no network`, "boot a kernel that has it: Linux 5.10 and newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_CLS_ACT");
}

function refusedObject(object: string, error: string): Said {
  return blocker(`the kernel refuses the program ${object}: ${error.slice(-ERROR_END).trim()}`, "pods get no network", "boot another kernel, and send this line and `uname -a` to the product's issue tracker");
}

export function compiler({ sysctls }: Facts): readonly Said[] {
  const enabled = sysctls["net/core/bpf_jit_enable"];
  if (enabled === undefined) return [ok("always on, or not to be read here")];
  if (enabled !== "0") return [ok("programs are compiled to machine code")];
  // A program that calls functions and other programs must be compiled (kernel/bpf/verifier.c: tail_calls are not allowed in non-JITed programs with bpf-to-bpf calls).
  return [blocker("net.core.bpf_jit_enable is 0", "the kernel refuses the programs, which are not to be interpreted: pods get no network", "sysctl -w net.core.bpf_jit_enable=1")];
}

export function kernelTypes({ kernelBtf }: Facts): readonly Said[] {
  return [ok(kernelBtf ? "the kernel tells its types" : "the kernel tells no types, and no program needs them")];
}

export function lockdown({ lockdown }: Facts): readonly Said[] {
  if (lockdown === undefined) return [ok("none that is to be seen here")];
  const mode = /\[(\w+)\]/.exec(lockdown)?.[1];
  if (mode === undefined) return [unknown(`${JSON.stringify(lockdown.trim())} names no mode`)];
  // Of BPF it forbids tracing programs' helpers alone (security/security.c: lockdown reasons); tc programs use none of them.
  return [ok(mode === "none" ? "off" : `${mode}: the programs use nothing that it forbids`)];
}

export function cgroup2({ mountinfo }: Facts): readonly Said[] {
  const path = mountinfo.split("\n").find((line) => / - cgroup2 /.test(line))?.split(" ")[4];
  return [ok(path === undefined ? "not mounted; nothing that is built needs it" : `mounted at ${path}`)];
}

export const veth = (facts: Facts): readonly Said[] =>
  tried(facts, "veth", "pairs of devices can be made", "pods get no network", "load the module veth, or boot a kernel with CONFIG_VETH");

export const clsact = (facts: Facts): readonly Said[] =>
  tried(facts, "clsact", "programs can be attached to devices", "no packet can be judged: pods get no network", "load the module sch_ingress, or boot a kernel with CONFIG_NET_SCH_INGRESS");

export const nftables = (facts: Facts): readonly Said[] =>
  tried(facts, "nftables", "tables of both families, with masquerade", "nothing masquerades pods and no guard can be set: the agent takes no pods", "load nf_tables and nft_masq, or boot a kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_MASQ");

export function vxlan(facts: Facts): readonly Said[] {
  if (facts.plan.mode === "native") return [ok("not needed with native routing")];
  return tried(facts, "vxlan", "tunnels can be made", "pods of two nodes do not reach each other", "load the module vxlan, boot a kernel with CONFIG_VXLAN, or set routingMode=native");
}

export function ipv6(facts: Facts): readonly Said[] {
  if (!facts.plan.enableIPv6) return [ok("not wanted (ipv6.enabled=false)")];
  return tried(facts, "ipv6", "addresses can be set", "pods get no IPv6 address, and the agent of a cluster with IPv6 pod CIDRs cannot start", "boot without ipv6.disable=1, or set ipv6.enabled=false");
}

export function wireguard({ trials }: Facts): readonly Said[] {
  return known(trials, ({ wireguard }) => [ok(wireguard.works ? "the kernel has it" : "not in the kernel: encryption would run in user space, which takes more CPU per packet")]);
}

function tried({ trials }: Facts, name: TrialName, good: string, meaning: string, remedy: string): readonly Said[] {
  return known(trials, (all) => {
    const trial = all[name];
    return [trial.works ? ok(good) : blocker(`the kernel refuses ${name}: ${trial.said}`, meaning, remedy)];
  });
}
