/**
 * The table `inet cilium`: masquerade, and the guard that drops packets whose egress was left to be judged
 * where they leave the stack, when they end where no program can judge them. Rendered as text and replaced
 * as a whole in one transaction by `nft -f -`, so that there is no moment without it.
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import { MARK_FROM_POD_DEFER, MARK_MASK } from "./gen/types.ts";
import { HOST_DEVICE } from "./host.ts";
import { POD_DEVICE_PREFIX } from "./links.ts";

const TABLE = "inet cilium";
const COMMENT = "cilium";

export interface NftSpec {
  /** Devices to other nodes and the outside. */
  readonly underlay: readonly string[];
  /** This node's pod CIDRs. */
  readonly podCidrs: readonly string[];
  /** The other nodes' pod CIDRs. */
  readonly remotePods: readonly string[];
  /** Families of which pods leave the cluster with the node's address. */
  readonly masquerade: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Destinations, besides pods, that see the pods' own addresses. */
  readonly unmasqueraded: readonly string[];
  /** Under these of its addresses, one of each family, pods leave the cluster; of a family without one under that of the device. */
  readonly sources: readonly string[];
  /** The other nodes' addresses: they know this node by that of the device. */
  readonly nodes: readonly string[];
  /** What the node forwards to other nodes' pods for the outside gets these addresses, per family: the router's. */
  readonly routers: readonly string[];
}

const isIpv6 = (cidr: string): boolean => cidr.includes(":");
const set = (items: readonly string[]): string => `{ ${[...items].sort().join(", ")} }`;
const names = (items: readonly string[]): string => set(items.map((name) => `"${name}"`));

function masquerade(spec: NftSpec, family: "ip" | "ip6"): string[] {
  const ofFamily = (cidrs: readonly string[]): string[] => cidrs.filter((cidr) => isIpv6(cidr) === (family === "ip6"));
  const pods = ofFamily(spec.podCidrs);
  const isOn = family === "ip" ? spec.masquerade.ipv4 : spec.masquerade.ipv6;
  if (!isOn || pods.length === 0 || spec.underlay.length === 0) return [];
  const except = [...pods, ...ofFamily(spec.remotePods), ...ofFamily(spec.unmasqueraded)];
  const [leaving, source, nodes] = [`    oifname ${names(spec.underlay)} ${family} saddr ${set(pods)} ${family} daddr`, ofFamily(spec.sources)[0], ofFamily(spec.nodes)];
  const outside = `${leaving} != ${set(except)} counter`;
  if (source === undefined) return [`${outside} masquerade`];
  // What is excluded stays so where it is a node's address too: the first rule that ends a packet's way here decides.
  const toNodes = nodes.length === 0 ? [] : [`${leaving} ${set(nodes)} ${family} daddr != ${set(except)} counter masquerade`];
  return [...toNodes, `${outside} snat ${family} to ${source}`];
}

/**
 * To other nodes' pods the node itself speaks from its router address: it is what they know this node by. A process
 * that is bound to another address of the node, or an outsider that kube-proxy sends on, gets it here.
 */
function routerSource(spec: NftSpec, family: "ip" | "ip6"): string[] {
  const pods = [...spec.podCidrs, ...spec.remotePods].filter((cidr) => isIpv6(cidr) === (family === "ip6"));
  return pods.length === 0 ? [] : [`    oifname "${HOST_DEVICE}" ${family} saddr != ${set(pods)} counter masquerade`];
}

/**
 * Without a tunnel nothing but the address tells the other node for whom a packet is sent. This node's processes have
 * its own addresses there; what it forwards for the outside has its router's, not the one that kube-proxy would give it.
 */
function outsideSource(spec: NftSpec, family: "ip" | "ip6"): string[] {
  const ofFamily = (text: string): boolean => isIpv6(text) === (family === "ip6");
  const [pods, router] = [spec.remotePods.filter(ofFamily), spec.routers.find(ofFamily)];
  if (pods.length === 0 || router === undefined || spec.underlay.length === 0) return [];
  // A packet of the node's own came in on no device (iif 0).
  return [`    iif != 0 iifname != "${POD_DEVICE_PREFIX}*" oifname ${names(spec.underlay)} ${family} daddr ${set(pods)} counter snat ${family} to ${router}`];
}

/** The text that replaces the table. Equal specifications give equal text. */
export function renderNft(spec: NftSpec): string {
  const deferred = `iifname "${POD_DEVICE_PREFIX}*" meta mark & 0x${MARK_MASK.toString(16)} == 0x${MARK_FROM_POD_DEFER.toString(16)}`;
  return [
    // Adding it first makes the deletion valid when there is none yet.
    `add table ${TABLE}`,
    `delete table ${TABLE}`,
    `table ${TABLE} {`,
    "  chain postrouting {",
    // Before kube-proxy, which gives what it forwards the address of the device.
    "    type nat hook postrouting priority srcnat - 1; policy accept;",
    ...outsideSource(spec, "ip"),
    ...outsideSource(spec, "ip6"),
    ...masquerade(spec, "ip"),
    ...masquerade(spec, "ip6"),
    ...routerSource(spec, "ip"),
    ...routerSource(spec, "ip6"),
    "  }",
    "  chain input {",
    "    type filter hook input priority filter; policy accept;",
    `    ${deferred} counter drop`,
    "  }",
    "  chain forward {",
    "    type filter hook forward priority filter; policy accept;",
    `    oifname "${POD_DEVICE_PREFIX}*" accept`,
    `    oifname ${names([HOST_DEVICE, ...spec.underlay])} accept`,
    `    ${deferred} counter drop`,
    "  }",
    "}",
    "",
  ].join("\n");
}

export class Nft {
  readonly #run: Run;
  /** What was rendered last, and how the kernel listed it then. */
  #applied: { readonly text: string; readonly listed: string } | undefined;

  constructor(run: Run) {
    this.#run = run;
  }

  async apply(spec: NftSpec): Promise<void> {
    await check(this.#run, ["nft", "-f", "-"], renderNft(spec));
  }

  /**
   * Applies unless the kernel still has the table as it was applied: others flush the whole ruleset (a restart of
   * nftables.service or firewalld), and without the guard deferred packets would be judged by nobody.
   * @returns "repaired": the table was not as it had been applied.
   */
  async sync(spec: NftSpec): Promise<"same" | "applied" | "repaired"> {
    const text = renderNft(spec);
    const isSameText = this.#applied?.text === text;
    if (isSameText && (await this.#list()) === this.#applied?.listed) return "same";
    await this.apply(spec);
    const listed = await this.#list();
    if (listed === undefined) throw new Error(`table ${TABLE} is gone again as soon as it is made`);
    this.#applied = { text, listed };
    return isSameText ? "repaired" : "applied";
  }

  /** The table without its counters; undefined: there is none. */
  async #list(): Promise<string | undefined> {
    const { status, stdout } = await this.#run(["nft", "--stateless", "list", "table", ...TABLE.split(" ")]);
    return status === 0 ? stdout : undefined;
  }

  async remove(): Promise<void> {
    await check(this.#run, ["nft", "-f", "-"], `add table ${TABLE}\ndelete table ${TABLE}\n`);
    await this.#acceptForwarding("-D");
  }

  /**
   * Others (Docker) set the policy of iptables' FORWARD chain to DROP. A verdict of our own table cannot
   * lift that (nft(8): a drop is final, an accept ends its own base chain only), so the accept stands in their
   * chain, at its end: explicit rules of the administrator still come first.
   * @returns whether rules were added.
   */
  async acceptForwarding(): Promise<boolean> {
    return await this.#acceptForwarding("-A");
  }

  async #acceptForwarding(action: "-A" | "-D"): Promise<boolean> {
    let changed = false;
    for (const program of ["iptables", "ip6tables"] as const) {
      const listed = await this.#run([program, "-w", "-S", "FORWARD"]);
      if (listed.status !== 0) continue; // no such tables in this kernel: nothing drops
      if (action === "-A" && !listed.stdout.includes("-P FORWARD DROP")) continue;
      for (const match of acceptMatches()) {
        const present = (await this.#run([program, "-w", "-C", "FORWARD", ...match])).status === 0;
        if (present !== (action === "-D")) continue;
        await check(this.#run, [program, "-w", action, "FORWARD", ...match]);
        changed = true;
      }
    }
    return changed;
  }
}

function acceptMatches(): readonly (readonly string[])[] {
  const end = ["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
  return [`${POD_DEVICE_PREFIX}+`, HOST_DEVICE].flatMap((device) => [
    ["-i", device, ...end],
    ["-o", device, ...end],
  ]);
}
