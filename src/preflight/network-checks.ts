/** Settings of the network, and what others have put into it. Pure. */
import { ENCRYPTED_TABLE, HOST_DEVICE, POD_DEVICE_PREFIX, TUNNEL_DEVICE, WIREGUARD_DEVICES } from "../kernel/index.ts";
import { cidrContains, compareAddresses, parseCidr } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { blocker, known, ok, warning } from "./facts.ts";
import type { DeviceFacts, Facts, Range, Said } from "./facts.ts";

/** Rules of the kernel itself: local, main, default (ip-rule(8)). */
const OWN_PRIORITIES = new Set([0, 32_766, 32_767]);
/** Encrypted traffic's, as iproute2 shows it. */
const OUR_RULE = new RegExp(`\\blookup ${ENCRYPTED_TABLE}\\b`);
const SHOWN = 5;
const FULL_AT = 0.85;
const STRICT = "1";

export function forwarding({ sysctls, plan }: Facts): readonly Said[] {
  const wanted = ["net/ipv4/ip_forward", ...(plan.enableIPv6 ? ["net/ipv6/conf/all/forwarding"] : [])];
  const off = wanted.filter((path) => sysctls[path] === "0");
  return [ok(off.length === 0 ? "on" : `${off.map(dotted).join(", ")} is 0; the agent sets it, and puts it back at uninstall`)];
}

/** The greater of the values of `all` and of the device counts (ip-sysctl.rst); the agent sets that of `all` to 0. */
export function reversePathFilter({ sysctls, devices }: Facts): readonly Said[] {
  return known(devices, (all) => {
    const outer = all.filter(isOuter);
    const strict = outer.filter(({ name }) => sysctls[`net/ipv4/conf/${name}/rp_filter`] === STRICT).map(({ name }) => name);
    if (strict.length === 0) return [ok("not strict on any device to the outside")];
    if (outer.length === 1) return [ok(`strict on ${strict.join(", ")}, the only way in and out`)];
    return [warning(
      `strict on ${strict.join(", ")}, and there are ${outer.length} devices to the outside`,
      "a packet that comes in on another device than its answer leaves by is dropped by the kernel, uncounted by us",
      `sysctl -w ${strict.map((name) => `net.ipv4.conf.${name}.rp_filter=2`).join(" ")}`,
    )];
  });
}

export function bridgeNetfilter({ sysctls }: Facts): readonly Said[] {
  const calls = sysctls["net/bridge/bridge-nf-call-iptables"];
  return [ok(calls === undefined ? "not loaded; pods' links are on no bridge" : `bridge-nf-call-iptables is ${calls}; pods' links are on no bridge`)];
}

export function conntrack({ sysctls }: Facts): readonly Said[] {
  const [count, max] = ["count", "max"].map((name) => Number(sysctls[`net/netfilter/nf_conntrack_${name}`] ?? Number.NaN)) as [number, number];
  if (Number.isNaN(count) || Number.isNaN(max) || max === 0) return [ok("no limit to be read; the kernel makes the table when something translates")];
  if (count < max * FULL_AT) return [ok(`${count} of ${max} entries`)];
  return [warning(`${count} of ${max} entries are taken`, "new connections through services and to the outside are dropped when it is full", `sysctl -w net.netfilter.nf_conntrack_max=${max * 2}`)];
}

export function tunnelPort({ plan, devices, udpPorts }: Facts): readonly Said[] {
  if (plan.mode === "native") return [ok("not used with native routing")];
  return known(devices, (all) => {
    const foreign = all.filter(({ kind, port, name }) => kind === "vxlan" && port === plan.tunnelPort && name !== TUNNEL_DEVICE);
    if (foreign.length > 0) {
      const names = foreign.map(({ name }) => name).join(", ");
      return [blocker(`the VXLAN device ${names} of others has UDP port ${plan.tunnelPort}`, "the tunnel to the other nodes cannot be made, or takes the other's packets", `remove it (ip link delete ${names}) with the software that made it, or set tunnelPort to another port on all nodes`)];
    }
    if (all.some(({ name }) => name === TUNNEL_DEVICE)) return [ok(`UDP port ${plan.tunnelPort} is ours`)];
    return known(udpPorts, (ports) =>
      ports.includes(plan.tunnelPort)
        ? [blocker(`another process has UDP port ${plan.tunnelPort}`, "the tunnel to the other nodes cannot be opened", `end it (ss -lunp sport = ${plan.tunnelPort} names it), or set tunnelPort to another port on all nodes`)]
        : [ok(`UDP port ${plan.tunnelPort} is free`)]);
  });
}

export function foreignPrograms({ devices }: Facts): readonly Said[] {
  return known(devices, (all) => {
    const early = all.filter(({ tcxPrograms }) => tcxPrograms !== undefined && tcxPrograms > 0).map(({ name, tcxPrograms }) =>
      warning(`${tcxPrograms} tcx programs of others on ${name}`, "they run before ours: what they take or pass on with a final verdict is not judged", `see who attached them: bpftool net show dev ${name}`));
    const late = all.flatMap(({ filters }) => filters).map(({ device, direction, preference, kind, program }) =>
      warning(`a tc filter of others on ${device} ${direction}: ${kind}${program === undefined ? "" : ` ${program}`}, preference ${preference}`, "it sees only packets that our program lets on, and none of pods that are redirected past it", `if it is left over from another network plugin: tc filter delete dev ${device} ${direction} pref ${preference}`));
    return early.length + late.length === 0 ? [ok("none on devices to the outside")] : [...early, ...late];
  });
}

export function rules({ rules }: Facts): readonly Said[] {
  return known(rules, (all) => {
    const foreign = all.filter(({ priority, text }) => !OWN_PRIORITIES.has(priority) && !OUR_RULE.test(text));
    if (foreign.length === 0) return [ok("the kernel's own only")];
    const shown = foreign.slice(0, SHOWN).map(({ family, priority, text }) => `IPv${family} ${priority}: ${text}`);
    const more = foreign.length > SHOWN ? `, and ${foreign.length - SHOWN} more` : "";
    return [warning(`rules of others: ${shown.join("; ")}${more}`, "what they mean goes by another table than main, where the routes to pods are: it may miss them", "check that they mean no pod addresses; `ip route get <pod address>` shows which way is taken")];
  });
}

export function routes({ routes, plan }: Facts): readonly Said[] {
  return known(routes, (all) => {
    const pods = cidrsOf(plan.ranges.filter(({ kind }) => kind === "pods"));
    if (pods.length === 0) return [ok("no pod CIDRs are known to compare with")];
    const foreign = all.filter(({ device }) => !isOurs(device)).flatMap((route) => {
      const cidr = parse(route.destination);
      const hit = cidr === undefined ? undefined : pods.find((pod) => overlap(pod.cidr, cidr));
      return hit === undefined ? [] : [`${route.destination} dev ${route.device} (${hit.range.of})`];
    });
    if (foreign.length === 0) return [ok("none of others leads to pods")];
    return [warning(`routes of others lead to addresses of pods: ${foreign.slice(0, SHOWN).join(", ")}${foreign.length > SHOWN ? `, and ${foreign.length - SHOWN} more` : ""}`, "whoever is behind them is not reached from pods, or pods not from this node", "remove the routes with the software that made them, or give the cluster other pod CIDRs")];
  });
}

export function ranges({ plan }: Facts): readonly Said[] {
  const bad = plan.ranges.filter(({ cidr }) => parse(cidr) === undefined).map(({ of, cidr }) => blocker(`${of}: ${JSON.stringify(cidr)} is no CIDR`, "no pod can have an address of it", "correct it where the cluster was set up"));
  if (bad.length > 0) return bad;
  if (plan.ranges.length === 0) return [ok("none are known to compare")];
  const overlaps = overlapping(cidrsOf(plan.ranges));
  if (overlaps.length === 0) return [ok(`${plan.ranges.length} ranges of pods, services and nodes, and no two overlap`)];
  return overlaps.slice(0, SHOWN).map(([a, b]) =>
    blocker(`${a.of} (${a.cidr}) and ${b.of} (${b.cidr}) overlap`, "one address means two things: packets go to the wrong one", "give the cluster ranges that do not overlap (--cluster-cidr, --service-cluster-ip-range, the nodes' subnet)"));
}

interface Parsed {
  readonly range: Range;
  readonly cidr: Cidr;
}

function cidrsOf(ranges: readonly Range[]): readonly Parsed[] {
  return ranges.flatMap((range) => {
    const cidr = parse(range.cidr);
    return cidr === undefined ? [] : [{ range, cidr }];
  });
}

/** CIDRs either nest or are apart: in the order of their beginnings a wider one comes before all that are in it. */
function overlapping(all: readonly Parsed[]): readonly (readonly [Range, Range])[] {
  const sorted = [...all].sort((a, b) => compareAddresses(a.cidr.address, b.cidr.address) || a.cidr.prefix - b.cidr.prefix);
  const found: (readonly [Range, Range])[] = [];
  let open: Parsed[] = [];
  for (const next of sorted) {
    open = open.filter(({ cidr }) => cidrContains(cidr, next.cidr.address));
    for (const outer of open) if (outer.range.kind !== "node" || next.range.kind !== "node") found.push([outer.range, next.range]);
    open.push(next);
  }
  return found;
}

function overlap(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b.address) || cidrContains(b, a.address);
}

function parse(text: string): Cidr | undefined {
  try {
    return parseCidr(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`, { maskHostBits: true });
  } catch {
    return undefined;
  }
}

function isOurs(device: string): boolean {
  return [HOST_DEVICE, TUNNEL_DEVICE, ...WIREGUARD_DEVICES].includes(device) || device.startsWith(POD_DEVICE_PREFIX);
}

/** Those by which other nodes and the outside are reached have addresses of their own. */
function isOuter({ name, addresses }: DeviceFacts): boolean {
  return addresses.length > 0 && !isOurs(name);
}

const dotted = (path: string): string => path.replaceAll("/", ".");
