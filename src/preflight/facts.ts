/** What preflight reads of a machine, and what it says about it. Plain data: JSON of it is what a test or a report holds. */
import type { BpfProbe, ForeignFilter } from "../kernel/index.ts";

/** A fact, or why it could not be read. */
export type Known<T> = { readonly value: T } | { readonly unknown: string };

/** What was tried in a network namespace of its own. `said`: the refusal. */
export type Trial = { readonly works: true } | { readonly works: false; readonly said: string };
export const TRIALS = ["veth", "vxlan", "wireguard", "clsact", "nftables", "ipv6"] as const;
export type TrialName = (typeof TRIALS)[number];

export interface CniFile {
  readonly name: string;
  readonly text: string;
}

export interface DeviceFacts {
  readonly name: string;
  readonly kind: string | undefined;
  /** UDP port of a vxlan device. */
  readonly port: number | undefined;
  /** With prefix length; none of link-local or loopback scope. */
  readonly addresses: readonly string[];
  /** Programs at its tcx points; undefined: not asked, or the kernel has none. */
  readonly tcxPrograms: number | undefined;
  readonly filters: readonly ForeignFilter[];
}

export interface RuleFacts {
  readonly family: 4 | 6;
  readonly priority: number;
  /** As iproute2 shows it, without the priority. */
  readonly text: string;
}

export interface RouteFacts {
  /** CIDR or address; `default` is left out. */
  readonly destination: string;
  readonly device: string;
}

/** Addresses with a meaning in the cluster. */
export interface Range {
  /** `pods of node-1`, `services`, `node node-1`. */
  readonly of: string;
  readonly kind: "pods" | "services" | "node";
  readonly cidr: string;
}

/** How the machine is meant to be used. */
export interface Plan {
  readonly mode: "tunnel" | "native" | "auto";
  readonly tunnelPort: number;
  readonly enableIPv6: boolean;
  /** Other network configurations are set aside. */
  readonly cniExclusive: boolean;
  readonly cniConfPath: string;
  readonly ranges: readonly Range[];
}

export interface Facts {
  readonly plan: Plan;
  /** As uname(2) says it, such as 5.10.0-30-amd64. */
  readonly kernel: string;
  /** /proc/self/status, /proc/self/limits, /proc/self/mountinfo. */
  readonly status: string;
  readonly limits: string;
  readonly mountinfo: string;
  /** The kernel tells its own types (/sys/kernel/btf/vmlinux). */
  readonly kernelBtf: boolean;
  /** /sys/kernel/security/lockdown; undefined: not to be seen from here. */
  readonly lockdown: string | undefined;
  /** Path below /proc/sys -> value; what the kernel lacks is absent. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly bpf: Known<BpfProbe>;
  readonly trials: Known<Readonly<Record<TrialName, Trial>>>;
  readonly cni: Known<readonly CniFile[]>;
  readonly devices: Known<readonly DeviceFacts[]>;
  readonly rules: Known<readonly RuleFacts[]>;
  readonly routes: Known<readonly RouteFacts[]>;
  /** Ports with a UDP socket. */
  readonly udpPorts: Known<readonly number[]>;
}

/** `unknown`: could not be checked, the message says why. */
export type Verdict = "ok" | "warning" | "blocker" | "unknown";

export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  readonly message: string;
  /** What that means for the user; with a warning or a blocker. */
  readonly meaning?: string;
  readonly remedy?: string;
}

/** What a check says, without its name. */
export type Said = Omit<Finding, "check">;

export const ok = (message: string): Said => ({ verdict: "ok", message });
export const unknown = (message: string): Said => ({ verdict: "unknown", message });
export const warning = (message: string, meaning: string, remedy: string): Said => ({ verdict: "warning", message, meaning, remedy });
export const blocker = (message: string, meaning: string, remedy: string): Said => ({ verdict: "blocker", message, meaning, remedy });

/** Says of an unknown fact that it is; judges a known one. */
export function known<T>(fact: Known<T>, judge: (value: T) => readonly Said[]): readonly Said[] {
  return "unknown" in fact ? [unknown(fact.unknown)] : judge(fact.value);
}
