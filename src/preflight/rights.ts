/** What the kernel lets the agent do: said before anything is touched, with the chart value that changes it. */
import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { ConfigError } from "../lib/errors.ts";

/** Numbers of include/uapi/linux/capability.h, and what fails without them. */
const NEEDED = [
  { name: "NET_ADMIN", bit: 12n, why: "links, routes, nftables, tc" },
  { name: "SYS_ADMIN", bit: 21n, why: "eBPF programs and maps, network namespaces of pods" },
] as const;
const SYS_RESOURCE = 24n;
const KEY = "securityContext.capabilities.ciliumAgent";

interface ProcessFacts {
  /** /proc/self/status. */
  readonly status: string;
  /** /proc/self/limits. */
  readonly limits: string;
  /** As uname(2) says it, such as 5.10.0-30-amd64. */
  readonly kernel: string;
}

/** What is missing, in words; undefined when nothing is. Pure. */
export function missingRights({ status, limits, kernel }: ProcessFacts): string | undefined {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: bigint): boolean => ((effective >> bit) & 1n) === 1n;
  const missing = NEEDED.filter(({ bit }) => !has(bit));
  if (missing.length > 0) return `the agent lacks ${missing.map(({ name, why }) => `${name} (${why})`).join(", ")}`;
  // Until 5.11 a map counts against RLIMIT_MEMLOCK, which only SYS_RESOURCE may raise.
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  const isOld = major < 5 || (major === 5 && minor < 11);
  const isUnlimited = /^Max locked memory\s+unlimited/m.test(limits);
  if (isOld && !isUnlimited && !has(SYS_RESOURCE)) return `Linux ${kernel} counts eBPF maps as locked memory: add SYS_RESOURCE`;
  return undefined;
}

/** Throws ConfigError that names the chart value. */
export async function requireRights(): Promise<void> {
  const read = (name: string): Promise<string> => readFile(`/proc/self/${name}`, "utf8");
  const missing = missingRights({ status: await read("status"), limits: await read("limits"), kernel: release() });
  if (missing !== undefined) throw new ConfigError(KEY, missing);
}
