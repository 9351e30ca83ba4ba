/**
 * The node's own network: devices, settings, programs, routes to other nodes, nftables. Everything is idempotent: a
 * restarted agent finds what is there and changes nothing.
 */
import { dirname, join } from "node:path";
import { check } from "../kernel/command.ts";
import { Datapath, Host, LibbpfPort, Links, Nft, POD_DEVICE_PREFIX, Sysctl, SysctlLedger, WIREGUARD_DEVICES, detachStubs, kernelOptions, mountBpfFs, runCommand } from "../kernel/index.ts";
import type { AddressedDevice, Device, HostDevices, HostSpec, NftSpec } from "../kernel/index.ts";
import type { Attachment } from "../cni/index.ts";
import { ConfigError, describeError } from "../lib/errors.ts";
import { parseAddress } from "../lib/ip.ts";
import type { RoutingDecision } from "../compile/index.ts";
import { quotaStepNs } from "../targets/index.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";
import { requireRights } from "../preflight/index.ts";
import { removeEncryption } from "./encryption.ts";
import { nodeAddresses } from "./local-node.ts";
import type { NodeAddresses } from "./local-node.ts";
import { UNDERLAY_HOOKS, ownPlaces, reattach, underlayPlaces } from "./lost-programs.ts";
import type { Place, Reattached } from "./lost-programs.ts";
import { directRoutes, masqueradeSources, podNeighbours, podRoutes, routedBy, routerOf, tunnelRoutes, unusedRoutes } from "./node-routes.ts";
import { packetSizes } from "./packet-sizes.ts";
import type { PacketSizes } from "./packet-sizes.ts";
import type { LocalNode, RemoteCidr } from "./peers.ts";
import type { Ground, Reached } from "./reach.ts";

export interface NodeNetworkOptions {
  readonly config: AgentConfig;
  readonly local: LocalNode;
  readonly logger: Logger;
}

interface Parts {
  readonly host: Host;
  readonly links: Links;
  readonly present: readonly AddressedDevice[];
  readonly underlay: readonly AddressedDevice[];
  readonly port: LibbpfPort;
  readonly programs: Datapath;
  readonly mtu: PacketSizes;
  readonly spec: HostSpec;
  readonly devices: HostDevices;
}

/** What the masquerade must know beside the settings. */
export interface Surroundings {
  /** Pod CIDRs of the other nodes. */
  readonly remotePods: readonly string[];
  /** Addresses of the other nodes. */
  readonly nodes: readonly string[];
  /** Addresses of this one. */
  readonly own: readonly string[];
}

export class NodeNetwork {
  readonly links: Links;
  readonly port: LibbpfPort;
  readonly programs: Datapath;
  readonly #mtu: PacketSizes;
  readonly #spec: HostSpec;
  readonly #devices: HostDevices;
  readonly #settings: SysctlLedger;
  readonly #options: NodeNetworkOptions;
  readonly #host: Host;
  readonly #nft = new Nft(runCommand);
  #underlay: readonly AddressedDevice[];
  /** All devices. */
  #present: readonly AddressedDevice[];

  private constructor(options: NodeNetworkOptions, parts: Parts) {
    this.#options = options;
    this.#host = parts.host;
    this.#underlay = parts.underlay;
    this.#present = parts.present;
    this.links = parts.links;
    this.port = parts.port;
    this.programs = parts.programs;
    this.#spec = parts.spec;
    this.#devices = parts.devices;
    this.#settings = ledger(options.config, new Sysctl(join(options.config.paths.hostProc, "sys")));
    this.#mtu = parts.mtu;
  }

  /** Always there, whichever way this node sends: another one may still send by it. Only with native routing a node can be without. */
  get hasTunnel(): boolean {
    return this.#devices.tunnel !== undefined;
  }

  /** Beside those that the Node object names, as of the last look. */
  addresses({ internalIps }: LocalNode): NodeAddresses {
    return nodeAddresses(this.#present, this.#underlay, internalIps);
  }

  get encryptedMtu(): number {
    return this.#mtu.encrypted;
  }

  /** Of a pod that starts now. */
  podMtu(mode: RoutingDecision["mode"]): number {
    return mode === "native" ? this.#mtu.direct : this.#mtu.tunnel;
  }

  /** Devices, settings, programs. From here on the hooks of the node are ours; pods' devices follow one by one. */
  static async setUp(options: NodeNetworkOptions): Promise<NodeNetwork> {
    const { config, local, logger } = options;
    await requireRights();
    await mountBpfFs(dirname(config.paths.pins));
    const sysctl = new Sysctl(join(config.paths.hostProc, "sys"));
    const links = new Links(runCommand);
    const host = new Host(runCommand, sysctl);
    const present = await links.addressed();
    const underlay = underlayDevices(present, config, local);
    const mtu = mtuOf(underlay, config, local);
    const routers = routersOf(local);
    await ledger(config, sysctl).write(host.wantedSysctls(underlay.map((device) => device.name)));
    const { spec, devices } = await makeDevices(host, { routerIpv4: routers.ipv4, routerIpv6: routers.ipv6, tunnelPort: config.routing.tunnelPort, mtu: mtu.tunnel }, mtu, { config, local, logger });
    const port = new LibbpfPort(config.paths.pins);
    const programs = loadPrograms(port, { config, local, logger }, devices, mtu);
    followUnderlays(port, underlay);
    attachAll(programs, [...ownPlaces(devices), ...underlayPlaces(underlay)]);
    const ours = [devices.host.ifindex, devices.tunnel?.ifindex, ...underlay.map((device) => device.ifindex)];
    await detachStubs(runCommand, (await links.list()).filter((device) => !ours.includes(device.ifindex) && !device.name.startsWith(POD_DEVICE_PREFIX)));
    logger.info("node network is set up", { routing: config.routing.mode, underlay: underlay.map((device) => device.name), mtu, routers });
    return new NodeNetwork(options, { host, links, present, underlay, port, programs, mtu, spec, devices });
  }

  /** Programs on the node's own devices, where somebody took them off. */
  attachPrograms(isAsked: (device: string) => boolean): Reattached {
    return reattach(this.programs, [...ownPlaces(this.#devices), ...underlayPlaces(this.#underlay)].filter(({ device }) => isAsked(device.name)));
  }

  /** Puts the node's devices and settings back where others changed them, and follows its addresses to other devices. @returns what was wrong, in words */
  async keep(local: LocalNode): Promise<readonly string[]> {
    const present = await this.links.addressed();
    this.#present = present;
    const moved = this.#follow(present, local);
    const settings = await this.#settings.write(this.#host.wantedSysctls(this.#underlay.map((device) => device.name)));
    // Underlays have theirs (#follow); one that is away must not keep these away too.
    const devices = await this.#host.restoreDevices(this.#spec, this.#devices, present, () => attachAll(this.programs, ownPlaces(this.#devices)));
    return [...moved, ...settings.map((path) => `the setting ${path} was another`), ...devices];
  }

  /** Programs first: a device of another node's packets is ours before they are believed. */
  #follow(present: readonly AddressedDevice[], local: LocalNode): readonly string[] {
    const underlay = underlayNow(present, this.#options.config, local) ?? this.#underlay;
    const without = (all: readonly Device[], others: readonly Device[]): readonly Device[] => all.filter(({ ifindex }) => !others.some((other) => other.ifindex === ifindex));
    const [fresh, gone] = [without(underlay, this.#underlay), without(this.#underlay, underlay)];
    attachAll(this.programs, underlayPlaces(fresh));
    if (fresh.length + gone.length > 0) followUnderlays(this.port, underlay);
    for (const { ifindex } of gone) for (const hook of UNDERLAY_HOOKS) this.programs.detach(hook, ifindex);
    this.#underlay = underlay;
    return fresh.length + gone.length === 0 ? [] : [`the node's addresses are on ${underlay.map(({ name }) => name).join(", ")} now`];
  }

  /** What is known of the ways to the other nodes, where it matters. */
  async ground({ mode, directRoutes: isOurs }: RoutingDecision, remote: readonly RemoteCidr[]): Promise<Ground> {
    const isAsked = mode !== "tunnel" && isOurs;
    const hops = new Set(isAsked ? remote.flatMap(({ nodeIp }) => nodeIp ?? []) : []);
    const others = mode === "native" && !isOurs ? await this.#host.othersDestinations() : [];
    return { isRouted: routedBy(others), ways: await this.#host.waysTo([...hops]), underlay: this.#underlay.map((device) => device.name), hasTunnel: this.hasTunnel };
  }

  /**
   * The routes to the pods of all nodes, and the neighbour entries of this node's, also where others took some away.
   * @returns why some cannot be, a sentence each; all others are there
   */
  async syncRoutes(decision: RoutingDecision, remote: readonly RemoteCidr[], { reach }: Pick<Reached, "reach">, { ways, underlay }: Ground, attachments: Iterable<Attachment>): Promise<readonly string[]> {
    const { podCidrs, routerIps } = this.#options.local;
    const source = routerOf(routerIps);
    const devices = new Set((await this.links.list()).map((device) => device.name));
    const of = (way: string): readonly RemoteCidr[] => remote.filter(({ nodeName }) => reach.get(nodeName) === way);
    const tunnelled = tunnelRoutes(of("tunnel"), source, this.#mtu.tunnel);
    const direct = decision.directRoutes ? directRoutes(of("direct"), ways, underlay, this.#mtu.direct) : { routes: [], failures: [] };
    // A sandbox that died took its link along while its DEL is still to come.
    const pods = [...attachments].filter(({ hostIfname }) => devices.has(hostIfname));
    await this.#host.syncNeighbours(podNeighbours(pods));
    await this.#host.syncRoutes([...tunnelled.routes, ...direct.routes, ...podRoutes(pods, source), ...unusedRoutes(podCidrs)]);
    return [...tunnelled.failures, ...direct.failures];
  }

  /**
   * nftables: masquerade, and the guard, without which deferred packets would be judged by nobody.
   * @returns what of the masquerade cannot be, a sentence each
   */
  async guard({ mode, masquerade, unmasqueraded, masqueradeFrom }: RoutingDecision, { remotePods, nodes, own }: Surroundings): Promise<readonly string[]> {
    const { local, logger } = this.#options;
    const { sources, failures } = masqueradeSources(masqueradeFrom, own, masquerade);
    const spec: NftSpec = {
      underlay: this.#underlay.map((device) => device.name),
      podCidrs: local.podCidrs,
      masquerade,
      unmasqueraded,
      sources,
      // A set of thousands that is not asked for would only be compared with what the kernel lists.
      nodes: sources.length === 0 ? [] : nodes,
      remotePods,
      routers: mode === "tunnel" ? [] : local.routerIps,
    };
    if ((await this.#nft.sync(spec)) === "repaired") logger.warn("others had changed or removed the nftables rules of pods: they are back");
    if (await this.#nft.acceptForwarding()) logger.info("another manager drops forwarded packets: accepting rules for pods were added to its FORWARD chain");
    return failures;
  }
}

function mtuOf(underlay: readonly Device[], config: AgentConfig, { internalIps }: LocalNode): PacketSizes {
  const direct = config.mtu === 0 ? Math.min(...underlay.map((device) => device.mtu)) : config.mtu;
  return packetSizes(direct, { isEncrypted: config.encryption !== undefined, isOverIpv6: (internalIps[0] ?? "").includes(":") });
}

/**
 * With native routing the tunnel is for nodes that route another way, of which there may be none: where it cannot be, the
 * node goes on without.
 */
async function makeDevices(host: Host, spec: HostSpec, mtu: PacketSizes, { config, local, logger }: NodeNetworkOptions): Promise<Pick<Parts, "spec" | "devices">> {
  try {
    refuseSmall(mtu.tunnel, local);
    return { spec, devices: await host.createDevices(spec) };
  } catch (thrown) {
    if (config.routing.mode !== "native") throw thrown;
    refuseSmall(mtu.direct, local);
    logger.warn("no tunnel can be made: nodes that do not route natively are not reached", { error: describeError(thrown) });
    const bare = { ...spec, tunnelPort: undefined, mtu: mtu.direct };
    return { spec: bare, devices: await host.createDevices(bare) };
  }
}

function attachAll(programs: Datapath, places: readonly Place[]): void {
  for (const { hook, device } of places) programs.attach(hook, device.ifindex);
}

/** Linux takes IPv6 off a device that is smaller (RFC 8200 section 5). */
const LEAST_MTU_IPV6 = 1280;

function refuseSmall(podMtu: number, { routerIps }: LocalNode): void {
  if (podMtu >= LEAST_MTU_IPV6 || !routerIps.some((ip) => ip.includes(":"))) return;
  throw new ConfigError("mtu", `pods would have ${podMtu} bytes on their links, and IPv6 needs ${LEAST_MTU_IPV6}: raise the underlay's MTU, or switch ipv6 off`);
}

function routersOf({ routerIps }: LocalNode): { readonly ipv4: string | undefined; readonly ipv6: string | undefined } {
  return { ipv4: routerIps.find((ip) => !ip.includes(":")), ipv6: routerIps.find((ip) => ip.includes(":")) };
}

function loadPrograms(port: LibbpfPort, { config, local, logger }: NodeNetworkOptions, devices: HostDevices, mtu: { readonly tunnel: number; readonly direct: number }): Datapath {
  const bytes = (ip: string | undefined): Uint8Array => (ip === undefined ? new Uint8Array(16) : parseAddress(ip));
  const { paths, mapSizes, routing } = config;
  const routers = routersOf(local);
  const programs = Datapath.load({
    port,
    objects: paths.bpfObjects,
    pinDir: paths.pins,
    rodata: {
      config_vxlan_ifindex: devices.tunnel?.ifindex ?? 0,
      config_tunnel_mtu: mtu.tunnel,
      config_direct_mtu: mtu.direct,
      config_tunnel_port: devices.tunnel === undefined ? 0 : routing.tunnelPort,
      config_router_ipv4: bytes(routers.ipv4),
      config_router_ipv6: bytes(routers.ipv6),
      config_flow_quota_step_ns: quotaStepNs(mapSizes.conntrack),
      ...kernelOptions(port),
    },
    maxEntries: { policy: mapSizes.policy, ipcache: mapSizes.ipcache, flows: mapSizes.conntrack, interfaces: mapSizes.endpoints, endpoints: 2 * mapSizes.endpoints },
  });
  for (const { name, maxEntries, wantedEntries } of port.otherwiseSized) {
    logger.warn("a kernel map is greater than configured: what it holds would not fit; the next start of the agent tries again", { map: name, entries: maxEntries, configured: wantedEntries });
  }
  return programs;
}

/** The devices that other nodes' packets are believed from, and no other. */
function followUnderlays(port: LibbpfPort, underlay: readonly Device[]): void {
  const map = port.map("underlays");
  if (map === undefined) throw new Error("no BPF object declares the map underlays");
  const bytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  const wanted = new Set(underlay.map((device) => device.ifindex));
  for (const ifindex of wanted) map.update(bytes(ifindex), bytes(1));
  for (const [key] of [...map.entries()]) if (!wanted.has(new DataView(key.buffer, key.byteOffset).getUint32(0, true))) map.delete(key);
}

/** Everything of the node that outlives the agent, in the order in which nothing opens: programs last. */
export async function tearDownNode(config: AgentConfig): Promise<void> {
  const sysctl = new Sysctl(join(config.paths.hostProc, "sys"));
  const links = new Links(runCommand);
  for (const device of await links.podDevices()) await links.remove(device.name);
  await new Nft(runCommand).remove();
  await removeEncryption(runCommand, undefined);
  for (const device of WIREGUARD_DEVICES) await links.remove(device);
  await new Host(runCommand, sysctl).remove();
  ledger(config, sysctl).restore();
  await detachStubs(runCommand, await links.list());
  await check(runCommand, ["rm", "-rf", "--one-file-system", config.paths.pins]);
}

function ledger(config: AgentConfig, sysctl: Sysctl): SysctlLedger {
  return new SysctlLedger(sysctl, join(config.paths.state, "sysctls.json"));
}

/** undefined: there is none at the moment, as between two addresses of the node. */
function underlayNow(...now: Parameters<typeof underlayDevices>): ReturnType<typeof underlayDevices> | undefined {
  try {
    return underlayDevices(...now);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return undefined;
    throw thrown;
  }
}

function underlayDevices(devices: readonly AddressedDevice[], config: AgentConfig, local: LocalNode): readonly AddressedDevice[] {
  const withAddress = devices.filter(({ addresses }) => addresses.some(({ address }) => local.internalIps.includes(address))).map(({ name }) => name);
  const wanted = config.devices.length > 0 ? config.devices : withAddress;
  const found = devices.filter((device) => wanted.includes(device.name));
  const missing = wanted.filter((name) => !found.some((device) => device.name === name));
  if (missing.length > 0) throw new ConfigError("devices", `the node has no device ${missing.join(", ")}`);
  if (found.length === 0) throw new ConfigError("devices", `no device of the node has one of its addresses ${local.internalIps.join(", ")}`);
  return found;
}
