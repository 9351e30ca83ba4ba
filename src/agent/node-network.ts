/**
 * The node's own network: devices, settings, programs, routes to other nodes, nftables. Everything is idempotent: a
 * restarted agent finds what is there and changes nothing.
 */
import { dirname, join } from "node:path";
import { check } from "../kernel/command.ts";
import { Datapath, HOST_DEVICE, Host, LibbpfPort, Links, Nft, Sysctl, detachStubs, runCommand } from "../kernel/index.ts";
import type { Device, NftSpec, Route } from "../kernel/index.ts";
import type { Attachment } from "../cni/index.ts";
import { ConfigError } from "../lib/errors.ts";
import { parseAddress } from "../lib/ip.ts";
import { quotaStepNs } from "../targets/index.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";
import { requireRights } from "./node-rights.ts";
import type { LocalNode } from "./peers.ts";
import { mountBpfFs } from "./bpf-fs.ts";

/** Outer Ethernet, IP, UDP and VXLAN headers: 14 + 20 + 8 + 8, IPv6 20 more (RFC 7348 section 5). */
const OVERHEAD_IPV4 = 50;
const OVERHEAD_IPV6 = 70;

export interface NodeNetworkOptions {
  readonly config: AgentConfig;
  readonly local: LocalNode;
  readonly logger: Logger;
}

interface Parts {
  readonly host: Host;
  readonly links: Links;
  readonly underlay: readonly Device[];
  readonly port: LibbpfPort;
  readonly programs: Datapath;
  readonly podMtu: number;
}

interface ShownAddress {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local?: string }[];
}

export class NodeNetwork {
  readonly links: Links;
  readonly port: LibbpfPort;
  readonly programs: Datapath;
  readonly podMtu: number;
  readonly #options: NodeNetworkOptions;
  readonly #host: Host;
  readonly #nft = new Nft(runCommand);
  readonly #underlay: readonly Device[];

  private constructor(options: NodeNetworkOptions, parts: Parts) {
    this.#options = options;
    this.#host = parts.host;
    this.#underlay = parts.underlay;
    this.links = parts.links;
    this.port = parts.port;
    this.programs = parts.programs;
    this.podMtu = parts.podMtu;
  }

  /** Devices, settings, programs. From here on the hooks of the node are ours; pods' devices follow one by one. */
  static async setUp(options: NodeNetworkOptions): Promise<NodeNetwork> {
    const { config, local, logger } = options;
    await requireRights();
    await mountBpfFs(dirname(config.paths.pins));
    const sysctl = new Sysctl(join(config.paths.hostProc, "sys"));
    const links = new Links(runCommand);
    const host = new Host(runCommand, sysctl);
    const underlay = await underlayDevices(links, config, local);
    const overhead = (local.internalIps[0] ?? "").includes(":") ? OVERHEAD_IPV6 : OVERHEAD_IPV4;
    const mtu = config.mtu === 0 ? Math.min(...underlay.map((device) => device.mtu)) : config.mtu;
    const podMtu = mtu - overhead;
    const routers = { ipv4: local.routerIps.find((ip) => !ip.includes(":")), ipv6: local.routerIps.find((ip) => ip.includes(":")) };
    host.setSysctls(underlay.map((device) => device.name));
    const devices = await host.createDevices({ routerIpv4: routers.ipv4, routerIpv6: routers.ipv6, tunnelPort: config.tunnelPort, mtu });
    const port = new LibbpfPort(config.paths.pins);
    const bytes = (ip: string | undefined): Uint8Array => (ip === undefined ? new Uint8Array(16) : parseAddress(ip));
    const programs = Datapath.load({
      port,
      objects: config.paths.bpfObjects,
      pinDir: config.paths.pins,
      rodata: {
        config_vxlan_ifindex: devices.tunnel.ifindex,
        config_tunnel_mtu: podMtu,
        config_tunnel_port: config.tunnelPort,
        config_router_ipv4: bytes(routers.ipv4),
        config_router_ipv6: bytes(routers.ipv6),
        config_flow_quota_step_ns: quotaStepNs(config.mapSizes.conntrack),
      },
      maxEntries: { policy: config.mapSizes.policy, ipcache: config.mapSizes.ipcache, flows: config.mapSizes.conntrack, interfaces: config.mapSizes.endpoints, endpoints: 2 * config.mapSizes.endpoints },
    });
    for (const { name, maxEntries, wantedEntries } of port.otherwiseSized) {
      logger.warn("a kernel map is greater than configured: what it holds would not fit; the next start of the agent tries again", { map: name, entries: maxEntries, configured: wantedEntries });
    }
    programs.attach("FROM_OVERLAY", devices.tunnel.ifindex);
    programs.attach("FROM_HOST", devices.host.ifindex);
    for (const device of underlay) {
      programs.attach("FROM_NETDEV", device.ifindex);
      programs.attach("TO_NETDEV", device.ifindex);
    }
    logger.info("node network is set up", { underlay: underlay.map((device) => device.name), mtu, podMtu, routers });
    return new NodeNetwork(options, { host, links, underlay, port, programs, podMtu });
  }

  /**
   * nftables and the routes to the pods of all nodes, also where others took something away. The guard comes first:
   * no trouble with a route keeps it off. `remoteCidrs`: pod CIDRs of the other nodes.
   */
  async sync(remoteCidrs: readonly string[], attachments: Iterable<Attachment>): Promise<void> {
    await this.#syncNft(remoteCidrs);
    await this.#syncRoutes(remoteCidrs, attachments);
  }

  async #syncRoutes(remoteCidrs: readonly string[], attachments: Iterable<Attachment>): Promise<void> {
    const { local } = this.#options;
    const source = (destination: string): string | undefined => local.routerIps.find((ip) => ip.includes(":") === destination.includes(":"));
    const routes: Route[] = remoteCidrs.map((destination) => ({ destination, device: HOST_DEVICE, source: source(destination), mtu: this.podMtu }));
    const devices = new Set((await this.links.list()).map((device) => device.name));
    for (const { ipv4, ipv6, hostIfname } of attachments) {
      // A sandbox that died took its link along; its DEL is still to come.
      if (!devices.has(hostIfname)) continue;
      for (const ip of [ipv4, ipv6]) if (ip !== undefined) routes.push({ destination: ip, device: hostIfname, source: source(ip) });
    }
    await this.#host.syncRoutes(routes);
  }

  async #syncNft(remoteCidrs: readonly string[]): Promise<void> {
    const { config, local, logger } = this.#options;
    const spec: NftSpec = {
      underlay: this.#underlay.map((device) => device.name),
      podCidrs: config.masquerade ? local.podCidrs : [],
      masqueradeExcept: [...remoteCidrs, ...local.podCidrs],
    };
    if ((await this.#nft.sync(spec)) === "repaired") logger.warn("others had changed or removed the nftables rules of pods: they are back");
    if (await this.#nft.acceptForwarding()) logger.info("another manager drops forwarded packets: accepting rules for pods were added to its FORWARD chain");
  }
}

/** Everything of the node that outlives the agent, in the order in which nothing opens: programs last. */
export async function tearDownNode(config: AgentConfig): Promise<void> {
  const sysctl = new Sysctl(join(config.paths.hostProc, "sys"));
  const links = new Links(runCommand);
  for (const device of await links.podDevices()) await links.remove(device.name);
  await new Nft(runCommand).remove();
  await new Host(runCommand, sysctl).remove();
  await detachStubs(runCommand, await links.list());
  await check(runCommand, ["rm", "-rf", "--one-file-system", config.paths.pins]);
}

async function underlayDevices(links: Links, config: AgentConfig, local: LocalNode): Promise<readonly Device[]> {
  const devices = await links.list();
  const shown = JSON.parse(await check(runCommand, ["ip", "-json", "address", "show"])) as readonly ShownAddress[];
  const withAddress = shown.filter((item) => item.addr_info.some((address) => local.internalIps.includes(address.local ?? ""))).map((item) => item.ifname);
  const wanted = config.devices.length > 0 ? config.devices : withAddress;
  const found = devices.filter((device) => wanted.includes(device.name));
  const missing = wanted.filter((name) => !found.some((device) => device.name === name));
  if (missing.length > 0) throw new ConfigError("devices", `the node has no device ${missing.join(", ")}`);
  if (found.length === 0) throw new ConfigError("devices", `no device of the node has one of its addresses ${local.internalIps.join(", ")}`);
  return found;
}
