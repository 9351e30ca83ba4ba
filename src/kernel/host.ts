/**
 * What the node itself needs once: the devices cilium_host, cilium_net and cilium_vxlan, routes, and kernel
 * settings. Everything is idempotent; devices are known by name, routes by their protocol number.
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import { Links, ROUTE_PROTOCOL, UNREACHABLE_PROTOCOL } from "./links.ts";
import type { AddressedDevice, Device } from "./links.ts";
import type { Sysctl } from "./sysctl.ts";

export const HOST_DEVICE = "cilium_host";
export const HOST_PEER = "cilium_net";
export const TUNNEL_DEVICE = "cilium_vxlan";

export interface HostSpec {
  readonly routerIpv4: string | undefined;
  readonly routerIpv6: string | undefined;
  /** undefined: no tunnel; its device is removed. */
  readonly tunnelPort: number | undefined;
  /** The greatest packet for a pod: more does not fit into the tunnel, and the node's stack says so. */
  readonly mtu: number;
}

export interface HostDevices {
  readonly host: Device;
  readonly tunnel: Device | undefined;
}

export interface Route {
  /** Address or CIDR. */
  readonly destination: string;
  /** undefined: unreachable, unless somebody else has a route there. */
  readonly device: string | undefined;
  /** Next hop on the device's segment; undefined: the destination is on the device. */
  readonly via?: string | undefined;
  /** Source address of the node's own packets; undefined: the kernel chooses. */
  readonly source: string | undefined;
  readonly mtu?: number;
}

/** Greater than any that another has for the same destination, such as the CNI of before for its pods. */
const LAST_METRIC = 0xff000000;

interface IpRoute {
  readonly type?: string;
  readonly protocol?: string;
  readonly dst: string;
  /** IPv6 shows `lo` for an unreachable one. */
  readonly dev?: string;
  readonly gateway?: string;
  readonly prefsrc?: string;
  readonly metrics?: readonly { readonly mtu?: number }[];
}

const OUR_PROTOCOLS: ReadonlySet<string | undefined> = new Set([ROUTE_PROTOCOL, UNREACHABLE_PROTOCOL].map(String));

/** A route of another program that leads somewhere. */
function isOthers({ type = "unicast", protocol, dev }: IpRoute): boolean {
  return type === "unicast" && !OUR_PROTOCOLS.has(protocol) && dev !== HOST_DEVICE && dev !== TUNNEL_DEVICE;
}

/** A pod's, on the node's end of its link: the node never asks who has the pod's address. */
export interface Neighbour {
  readonly address: string;
  readonly device: string;
  readonly mac: string;
}

/** How the routes of others lead to an address. */
export interface Way {
  readonly device: string;
  /** undefined: the address is on the device's own segment. */
  readonly gateway: string | undefined;
}

export class Host {
  readonly #run: Run;
  readonly #links: Links;
  readonly #sysctl: Sysctl;

  constructor(run: Run, sysctl: Sysctl) {
    this.#run = run;
    this.#links = new Links(run);
    this.#sysctl = sysctl;
  }

  async createDevices(spec: HostSpec): Promise<HostDevices> {
    let devices = await this.#links.list();
    const isTunnel = spec.tunnelPort !== undefined;
    const stale = devices.find((device) => device.name === TUNNEL_DEVICE && device.port !== spec.tunnelPort);
    if (stale !== undefined) await this.#links.remove(TUNNEL_DEVICE);
    const missing = (name: string): boolean => stale?.name === name || !devices.some((device) => device.name === name);
    await this.#links.batch(devicesOf(spec).filter(missing).map((name) => addLine(name, spec)));
    this.#setDevices(spec);
    await this.#links.batch(upLines(spec));
    await this.#removeOldRouters(spec);
    devices = await this.#links.list();
    const found = (name: string): Device => {
      const device = devices.find((candidate) => candidate.name === name);
      if (device === undefined) throw new Error(`${name} was made and is not there`);
      return device;
    };
    return { host: found(HOST_DEVICE), tunnel: isTunnel ? found(TUNNEL_DEVICE) : undefined };
  }

  /**
   * Makes those again that others removed, with the numbers by which the programs know them, and puts right what others
   * changed. `attach` attaches the programs, before a device is up.
   * @param devices those of the node, as they are
   * @returns what was wrong, in words
   */
  async restoreDevices(spec: HostSpec, known: HostDevices, devices: readonly AddressedDevice[], attach: () => void): Promise<readonly string[]> {
    this.#setDevices(spec);
    const shown = new Map(devices.map((device) => [device.name, device]));
    const numbers = new Map(devicesOf(spec).map((name) => [name, name === HOST_DEVICE ? known.host.ifindex : known.tunnel?.ifindex]));
    const isLost = (name: string): boolean => shown.get(name)?.ifindex !== numbers.get(name);
    const lost = devicesOf(spec).filter(isLost);
    const changed = [...devicesOf(spec), HOST_PEER].filter((name) => !lost.includes(name)).flatMap((name) => changes(shown.get(name), name, spec));
    if (lost.length + changed.length === 0) return [];
    for (const name of lost) if (shown.has(name)) await this.#links.remove(name);
    await this.#links.batch(lost.map((name) => addLine(name, spec, numbers.get(name))));
    this.#setDevices(spec);
    attach();
    await this.#links.batch(upLines(spec));
    return [...lost.map((name) => `${name} was gone`), ...changed];
  }

  /** Of devices that are there. */
  #setDevices(spec: HostSpec): void {
    for (const device of [...devicesOf(spec), HOST_PEER]) this.#sysctl.forDevice(device);
  }

  async #removeOldRouters(spec: HostSpec): Promise<void> {
    interface Address { readonly local: string; readonly prefixlen: number; readonly scope: string; readonly family: string }
    const shown = JSON.parse(await check(this.#run, ["ip", "-json", "address", "show", "dev", HOST_DEVICE])) as { addr_info: readonly Address[] }[];
    const wanted = [spec.routerIpv4, spec.routerIpv6];
    const old = shown.flatMap((device) => device.addr_info).filter((a) => !wanted.includes(a.local) && !a.local.startsWith("fe80:"));
    await this.#links.batch(old.map((a) => `address delete ${a.local}/${a.prefixlen} dev ${HOST_DEVICE}`));
  }

  /** By address; one that no route leads to is missing. An address of this node is on `lo`. */
  async waysTo(addresses: readonly string[]): Promise<ReadonlyMap<string, Way>> {
    interface Shown { readonly dst: string; readonly dev: string; readonly gateway?: string }
    if (addresses.length === 0) return new Map();
    const input = addresses.map((address) => `route get ${address}\n`).join("");
    // -force: an address without a route ends with an error, and the next is asked for.
    const { stdout } = await this.#run(["ip", "-force", "-json", "-batch", "-"], input);
    const shown = stdout.split("\n").filter((line) => line.startsWith("[")).flatMap((line) => JSON.parse(line) as readonly Shown[]);
    return new Map(shown.map(({ dst, dev, gateway }) => [dst, { device: dev, gateway }]));
  }

  /** Where routes of others lead, of all tables. */
  async othersDestinations(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const [family, all] of [["-4", "0.0.0.0/0"], ["-6", "::/0"]] as const) {
      const shown = JSON.parse(await check(this.#run, ["ip", "-json", family, "route", "show", "table", "all"])) as readonly IpRoute[];
      found.push(...shown.filter(isOthers).map(({ dst }) => (dst === "default" ? all : dst)));
    }
    return found;
  }

  /** Makes our routes equal to `routes`; those of others are never touched. */
  async syncRoutes(routes: readonly Route[]): Promise<void> {
    // Where the kernel took another way beside the one that was to be replaced (IPv6 may), the second look deletes that.
    if (await this.#syncRoutes(routes)) await this.#syncRoutes(routes);
  }

  /** @returns whether some destination had another way. */
  async #syncRoutes(routes: readonly Route[]): Promise<boolean> {
    const wanted = new Map(routes.map((route) => [normalise(route.destination), route]));
    const lines: string[] = [];
    const kept = new Set<string>();
    const others: (readonly [destination: string, device: string | undefined])[] = [];
    for (const [family, protocol] of [["-4", ROUTE_PROTOCOL], ["-4", UNREACHABLE_PROTOCOL], ["-6", ROUTE_PROTOCOL], ["-6", UNREACHABLE_PROTOCOL]] as const) {
      const shown = JSON.parse(await check(this.#run, ["ip", "-json", family, "route", "show", "proto", String(protocol)])) as readonly IpRoute[];
      for (const route of shown) {
        const want = wanted.get(route.dst);
        const device = route.type === "unreachable" ? undefined : route.dev;
        if (want === undefined || protocolOf(want) !== protocol) lines.push(`route delete ${target(route.dst, device)} proto ${protocol}`);
        else if (isSameWay(want, route, device)) kept.add(route.dst);
        else others.push([route.dst, device]);
      }
    }
    for (const [destination, device] of others) if (kept.has(destination)) lines.push(`route delete ${target(destination, device)} proto ${ROUTE_PROTOCOL}`);
    // Replaced in one step: a destination that changes its way is never without a route.
    for (const [destination, route] of wanted) if (!kept.has(destination)) lines.push(routeLine(route));
    await this.#links.batch(lines);
    return others.some(([destination]) => !kept.has(destination));
  }

  /** Puts these back where others took them away or changed them; all others stay. */
  async syncNeighbours(wanted: readonly Neighbour[]): Promise<void> {
    if (wanted.length === 0) return;
    interface Shown { readonly dst: string; readonly dev: string; readonly lladdr?: string }
    const shown = JSON.parse(await check(this.#run, ["ip", "-json", "neighbour", "show", "nud", "permanent"])) as readonly Shown[];
    const present = new Set(shown.map(({ dst, dev, lladdr }) => `${dst} ${dev} ${lladdr}`));
    const missing = wanted.filter(({ address, device, mac }) => !present.has(`${address} ${device} ${mac}`));
    await this.#links.batch(missing.map(({ address, device, mac }) => `neighbour replace ${address} dev ${device} lladdr ${mac} nud permanent`));
  }

  /** What the node's own settings must be for these underlay devices. */
  wantedSysctls(underlay: readonly string[]): Readonly<Record<string, string>> {
    // With forwarding a device ignores router advertisements unless accept_ra is 2.
    const advertised = underlay.map((device) => `net/ipv6/conf/${device}/accept_ra`).filter((path) => this.#sysctl.read(path) === "1");
    return {
      ...Object.fromEntries(advertised.map((path) => [path, "2"])),
      "net/ipv4/ip_forward": "1",
      "net/ipv6/conf/all/forwarding": "1",
      // The larger value of `all` and the device counts (kernel: ip-sysctl.rst).
      "net/ipv4/conf/all/rp_filter": "0",
      "net/ipv4/conf/default/rp_filter": "0",
    };
  }

  /** Devices and routes of ours, at uninstall. Pod devices go with their pods. */
  async remove(): Promise<void> {
    await this.syncRoutes([]);
    await this.#links.remove(HOST_DEVICE);
    await this.#links.remove(TUNNEL_DEVICE);
  }
}

/** As iproute2 prints it: a host route has no prefix length. */
function normalise(destination: string): string {
  return destination.replace(destination.includes(":") ? /\/128$/ : /\/32$/, "");
}

function isSameWay(want: Route, { prefsrc, gateway, metrics }: IpRoute, device: string | undefined): boolean {
  return want.device === device && want.via === gateway && want.source === prefsrc && want.mtu === metrics?.find((m) => m.mtu !== undefined)?.mtu;
}

const protocolOf = ({ device }: Route): number => (device === undefined ? UNREACHABLE_PROTOCOL : ROUTE_PROTOCOL);

function target(destination: string, device: string | undefined): string {
  return device === undefined ? `unreachable ${destination} metric ${LAST_METRIC}` : `${destination} dev ${device}`;
}

function routeLine(route: Route): string {
  if (route.device === undefined) return `route replace ${target(route.destination, undefined)} proto ${protocolOf(route)}`;
  const via = route.via === undefined ? "" : ` via ${route.via}`;
  const source = route.source === undefined ? "" : ` src ${route.source}`;
  const mtu = route.mtu === undefined ? "" : ` mtu ${route.mtu}`;
  return `route replace ${route.destination}${via} dev ${route.device} proto ${ROUTE_PROTOCOL}${source}${mtu}`;
}

/** Those that are made; the peer of a pair comes with it. */
function devicesOf({ tunnelPort }: HostSpec): readonly string[] {
  return tunnelPort === undefined ? [HOST_DEVICE] : [HOST_DEVICE, TUNNEL_DEVICE];
}

/** @param number undefined: the kernel gives it one */
function addLine(name: string, { tunnelPort }: HostSpec, number?: number): string {
  const index = number === undefined ? "" : ` index ${number}`;
  // external: identity and remote address of each packet are chosen by the program (collect_md).
  const kind = name === HOST_DEVICE ? `type veth peer name ${HOST_PEER}` : `type vxlan external dstport ${tunnelPort} nolearning`;
  return `link add name ${name}${index} ${kind}`;
}

/** What is another than it was made, in words. */
function changes(device: AddressedDevice | undefined, name: string, { mtu, routerIpv4, routerIpv6 }: HostSpec): string[] {
  if (device === undefined) return [];
  const routers = name === HOST_DEVICE ? [routerIpv4, routerIpv6].filter((address) => address !== undefined) : [];
  return [
    ...(device.up ? [] : [`${name} was down`]),
    ...(device.mtu === mtu ? [] : [`${name} had the MTU ${device.mtu}`]),
    ...routers.filter((address) => !device.addresses.some((own) => own.address === address)).map((address) => `${name} had lost ${address}`),
  ];
}

function upLines(spec: HostSpec): string[] {
  const lines = [
    `link set dev ${HOST_PEER} arp off mtu ${spec.mtu} up`,
    // No ARP: the program sees every packet and finds the node by its destination.
    `link set dev ${HOST_DEVICE} arp off mtu ${spec.mtu} up`,
  ];
  if (spec.tunnelPort !== undefined) lines.push(`link set dev ${TUNNEL_DEVICE} mtu ${spec.mtu} up`);
  if (spec.routerIpv4 !== undefined) lines.push(`address replace ${spec.routerIpv4}/32 dev ${HOST_DEVICE}`);
  if (spec.routerIpv6 !== undefined) lines.push(`address replace ${spec.routerIpv6}/128 dev ${HOST_DEVICE} nodad`);
  return lines;
}
