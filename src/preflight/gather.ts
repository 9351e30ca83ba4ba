/**
 * Reads the machine that this process is on: its files, iproute2's and tc's answers, and what the kernel says to probes. What is
 * tried is tried in a network namespace that ends with its one command, so the machine stays as it was; the kernel may load the
 * module that a trial asks for, as it does for the agent.
 */
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { LibbpfPort, POD_DEVICE_PREFIX, ROUTE_PROTOCOL, Sysctl, TUNNEL_DEVICE, UNREACHABLE_PROTOCOL, countTcxPrograms, foreignFilters, probeBpf, runCommand } from "../kernel/index.ts";
import { check } from "../kernel/command.ts";
import type { Run } from "../kernel/index.ts";
import { codeOf, describeError } from "../lib/errors.ts";
import { TRIALS } from "./facts.ts";
import type { CniFile, DeviceFacts, Facts, Known, Plan, RouteFacts, RuleFacts, Trial, TrialName } from "./facts.ts";
import { missingRights } from "./rights.ts";

export interface GatherOptions {
  readonly plan: Plan;
  /** Folder of the BPF objects (*.o). */
  readonly bpfObjects: string;
  /** Loads every object for the kernel's verifier to judge: a second or two. The agent, which loads them anyway, does not. */
  readonly load: boolean;
  readonly run?: Run;
}

const SYSCTLS = [
  "net/core/bpf_jit_enable", "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/bridge/bridge-nf-call-iptables",
  "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max",
] as const;
const MAX_CNI_BYTES = 1 << 20;
const OWN_ROUTES: readonly (string | undefined)[] = [String(ROUTE_PROTOCOL), String(UNREACHABLE_PROTOCOL)];

export async function gather({ plan, bpfObjects, load, run = runCommand }: GatherOptions): Promise<Facts> {
  const read = (path: string): Promise<string> => readFile(path, "utf8");
  const own = { status: await read("/proc/self/status"), limits: await read("/proc/self/limits"), kernel: release() };
  const missing = missingRights(own);
  const privileged = <T>(work: () => T | Promise<T>): Promise<Known<T>> => (missing === undefined ? attempt(work) : Promise.resolve({ unknown: `not tried: ${missing}` }));
  const devices = await attempt(() => readDevices(run));
  return {
    plan,
    ...own,
    mountinfo: await read("/proc/self/mountinfo"),
    kernelBtf: existsSync("/sys/kernel/btf/vmlinux"),
    lockdown: await read("/sys/kernel/security/lockdown").catch(() => undefined),
    sysctls: readSysctls("value" in devices ? devices.value.map(({ name }) => name) : []),
    bpf: await privileged(() => probeBpf(new LibbpfPort(), bpfObjects, load)),
    trials: await privileged(() => tryAll(run, plan.tunnelPort)),
    cni: await attempt(() => readConfigurations(plan.cniConfPath)),
    devices: "unknown" in devices || missing !== undefined ? devices : await attempt(() => withPrograms(run, devices.value)),
    rules: await attempt(() => readRules(run, plan.enableIPv6)),
    routes: await attempt(() => readRoutes(run, plan.enableIPv6)),
    udpPorts: await attempt(readUdpPorts),
  };
}

async function attempt<T>(work: () => T | Promise<T>): Promise<Known<T>> {
  try {
    return { value: await work() };
  } catch (thrown) {
    return { unknown: describeError(thrown) };
  }
}

function readSysctls(devices: readonly string[]): Record<string, string> {
  const sysctl = new Sysctl();
  const found: Record<string, string> = {};
  for (const path of [...SYSCTLS, ...devices.map((device) => `net/ipv4/conf/${device}/rp_filter`)]) {
    try {
      const value = sysctl.read(path);
      if (value !== undefined) found[path] = value;
    } catch {
      // Some are root's alone to read; absent is what the checks know.
    }
  }
  return found;
}

/** Each in a network namespace of its own that goes with the command. */
async function tryAll(run: Run, tunnelPort: number): Promise<Record<TrialName, Trial>> {
  const commands: Readonly<Record<TrialName, readonly [command: readonly string[], input?: string]>> = {
    veth: [["ip", "link", "add", "name", "probe0", "type", "veth", "peer", "name", "probe1"]],
    vxlan: [["ip", "link", "add", "name", "probe0", "type", "vxlan", "external", "dstport", String(tunnelPort), "nolearning"]],
    wireguard: [["ip", "link", "add", "name", "probe0", "type", "wireguard"]],
    clsact: [["tc", "qdisc", "add", "dev", "lo", "clsact"]],
    nftables: [["nft", "-f", "-"], "table inet probe { chain c { type nat hook postrouting priority 100; masquerade; }; }\n"],
    ipv6: [["ip", "-6", "address", "add", "fd00::1/128", "dev", "lo"]],
  };
  const tried = TRIALS.map(async (name): Promise<readonly [TrialName, Trial]> => {
    const [command, input] = commands[name];
    const { status, stdout, stderr } = await run(["unshare", "--net", "--", ...command], input);
    return [name, status === 0 ? { works: true } : { works: false, said: (stderr.trim() || stdout.trim() || `exit status ${status}`).replaceAll(/\s*\n\s*/g, "; ") }];
  });
  return Object.fromEntries(await Promise.all(tried)) as Record<TrialName, Trial>;
}

async function readConfigurations(folder: string): Promise<readonly CniFile[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((thrown: unknown) => {
    if (codeOf(thrown) === "ENOENT") return [];
    throw thrown;
  });
  const files = entries.filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."));
  return await Promise.all(files.map(async ({ name }) => ({ name, text: await readStart(join(folder, name)) })));
}

/** A link that leads nowhere, or a socket, is a configuration that nobody understands. */
async function readStart(path: string): Promise<string> {
  return await readFile(path, "utf8").then((text) => text.slice(0, MAX_CNI_BYTES), () => "");
}

interface ShownDevice {
  readonly ifindex: number;
  readonly ifname: string;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: { readonly port?: number } };
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number; readonly scope?: string }[];
}

interface IndexedDevice extends DeviceFacts {
  readonly ifindex: number;
}

async function readDevices(run: Run): Promise<readonly IndexedDevice[]> {
  const shown = JSON.parse(await check(run, ["ip", "-json", "-details", "address", "show"])) as readonly Partial<ShownDevice>[];
  return shown.flatMap(({ ifindex, ifname, linkinfo, addr_info: addresses = [] }) => {
    if (ifindex === undefined || ifname === undefined) return [];
    const global = addresses.filter(({ scope, local }) => scope === "global" && local !== undefined);
    return [{
      ifindex, name: ifname, kind: linkinfo?.info_kind, port: linkinfo?.info_data?.port,
      addresses: global.map(({ local = "", prefixlen }) => `${local}/${prefixlen}`), tcxPrograms: undefined, filters: [],
    }];
  });
}

/** Of devices with addresses, and of our tunnel: on a pod's device others have no reason to be, and there may be hundreds. */
async function withPrograms(run: Run, devices: readonly IndexedDevice[]): Promise<readonly DeviceFacts[]> {
  const port = new LibbpfPort();
  return await Promise.all(devices.map(async (device) => {
    const isAsked = (device.addresses.length > 0 || device.name === TUNNEL_DEVICE) && !device.name.startsWith(POD_DEVICE_PREFIX);
    return isAsked ? { ...device, tcxPrograms: countTcxPrograms(port, device.ifindex), filters: await foreignFilters(run, device.name) } : device;
  }));
}

const families = (isIPv6: boolean): readonly (4 | 6)[] => (isIPv6 && existsSync("/proc/net/if_inet6") ? [4, 6] : [4]);

async function readRules(run: Run, isIPv6: boolean): Promise<readonly RuleFacts[]> {
  const found: RuleFacts[] = [];
  for (const family of families(isIPv6)) {
    for (const line of (await check(run, ["ip", `-${family}`, "rule", "show"])).split("\n")) {
      const [, priority, text = ""] = /^(\d+):\s+(.*)$/.exec(line) ?? [];
      if (priority !== undefined) found.push({ family, priority: Number(priority), text: text.trim() });
    }
  }
  return found;
}

async function readRoutes(run: Run, isIPv6: boolean): Promise<readonly RouteFacts[]> {
  const found: RouteFacts[] = [];
  for (const family of families(isIPv6)) {
    const shown = JSON.parse((await check(run, ["ip", "-json", `-${family}`, "route", "show"])).trim() || "[]") as readonly { dst?: string; dev?: string; protocol?: string }[];
    for (const { dst = "default", dev = "", protocol } of shown) {
      if (dst !== "default" && !OWN_ROUTES.includes(protocol) && !dst.startsWith("fe80:")) found.push({ destination: dst, device: dev });
    }
  }
  return found;
}

/** proc_net(5): the local address is `address:port` in hexadecimal digits, in the second column. */
async function readUdpPorts(): Promise<readonly number[]> {
  const ports = new Set<number>();
  for (const name of ["udp", "udp6"]) {
    const text = await readFile(`/proc/net/${name}`, "utf8").catch((thrown: unknown) => {
      if (codeOf(thrown) === "ENOENT") return "";
      throw thrown;
    });
    for (const [, port = ""] of text.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)) ports.add(Number.parseInt(port, 16));
  }
  return [...ports];
}
