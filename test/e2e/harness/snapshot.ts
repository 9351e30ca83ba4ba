/**
 * What a CNI leaves on a node: read before the first install, compared after each uninstall. What kube-proxy, the
 * container runtime and other CNIs' pods add on their own is left out, by the names below.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CONFIG, inNode, NODES } from "./cluster.ts";

/** Kind of thing -> sorted lines. */
export type Snapshot = Readonly<Record<string, readonly string[]>>;

const FILE = join(CONFIG.dir, "e2e-before-install.json");

/** Links of pods of a plugin that names them as the reference plugins do. */
const POD_LINK = /\bveth[0-9a-f]{8}\b/;

interface Question {
  readonly command: readonly string[];
  /** Lines that are not ours to judge. */
  readonly without?: RegExp;
  /** The part of a line that counts. */
  readonly only?: RegExp;
}

const QUESTIONS: Readonly<Record<string, Question>> = {
  links: { command: ["ip", "-oneline", "link", "show"], only: /^\d+: ([^:@]+)/ },
  addresses: { command: ["ip", "-oneline", "address", "show"], only: /^\d+: (\S+\s+inet6? \S+)/ },
  "routes, IPv4": { command: ["ip", "-4", "route", "show", "table", "all"] },
  "routes, IPv6": { command: ["ip", "-6", "route", "show", "table", "all"], only: /^(.*?)(?: expires| metric|$)/ },
  "rules, IPv4": { command: ["ip", "-4", "rule", "show"] },
  "rules, IPv6": { command: ["ip", "-6", "rule", "show"] },
  nftables: { command: ["nft", "list", "tables"], without: /^table ip6? (nat|filter|mangle|raw|kube-proxy)$/ },
  "iptables FORWARD": { command: ["sh", "-c", "iptables -S FORWARD; ip6tables -S FORWARD"], without: /KUBE-/ },
  sysctls: {
    command: ["sh", "-c", "sysctl -a 2> /dev/null"],
    // route_localnet and nf_conntrack are kube-proxy's.
    only: /^((?:net\.ipv[46]\.conf\.(?:all|default|eth0)\.(?!route_localnet)|net\.ipv4\.ip_forward).*)/,
  },
  tc: { command: ["tc", "qdisc", "show"], only: /^(qdisc (?:clsact|ingress) .*)/ },
  pins: { command: ["find", "/sys/fs/bpf", "-mindepth", "1"] },
  "programs of cgroups": { command: ["bpftool", "cgroup", "tree"], only: /^\d+\s+(cgroup_(?!device)\S+.*)/ },
  files: { command: ["sh", "-c", "find /var/lib/cilium /var/run/cilium /opt/cni/bin/cilium-cni -mindepth 0 -not -path /var/lib/cilium -not -path /var/run/cilium 2> /dev/null || true"] },
};

export async function snapshot(of: readonly Pick<(typeof NODES)[number], "name">[] = NODES): Promise<Record<string, Snapshot>> {
  const nodes = await Promise.all(of.map(async ({ name }) => {
    const answers: Record<string, string[]> = {};
    for (const [kind, question] of Object.entries(QUESTIONS)) answers[kind] = linesOf(await inNode(name, question.command), question);
    return [name, answers] as const;
  }));
  return Object.fromEntries(nodes);
}

function linesOf(output: string, { without, only }: Question): string[] {
  const lines = output.split("\n").map((line) => line.trim()).filter((line) => line !== "" && without?.test(line) !== true && !POD_LINK.test(line));
  return lines.flatMap((line) => (only === undefined ? line : (only.exec(line)?.[1] ?? []))).toSorted();
}

/** Before the first install into a cluster. */
export async function keepSnapshot(): Promise<void> {
  mkdirSync(dirname(FILE), { recursive: true });
  writeFileSync(FILE, JSON.stringify(await snapshot(), undefined, 2));
}

/** undefined: this cluster was set up by something that keeps none. */
export function keptSnapshot(): Record<string, Snapshot> | undefined {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Record<string, Snapshot>) : undefined;
}
