/**
 * Pod links: a veth per pod, made and removed with iproute2. Our devices are known by their name, `lxc…`.
 *
 * A pod link is made in three steps, so that it is never open:
 *   create (both ends down)  →  the caller attaches the programs  →  connect (address, up)
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import type { Sysctl } from "./sysctl.ts";

/** Number of our routes in the routing tables (`proto`), by which we know them again. */
export const ROUTE_PROTOCOL = 193;
export const POD_DEVICE_PREFIX = "lxc";
const POD_INTERFACE = "eth0";

export interface Device {
  readonly ifindex: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** `veth`, `vxlan`, ...; undefined for physical devices. */
  readonly kind: string | undefined;
  /** Port of a vxlan device. */
  readonly port: number | undefined;
}

export interface VethSpec {
  /** `lxc…`, at most 15 characters. */
  readonly hostName: string;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
  /** Path of the pod's network namespace. */
  readonly netns: string;
}

export interface PodLinkSpec extends VethSpec {
  /** The pod's addresses and, per family, the gateway that it shall see: the node's router address. */
  readonly ipv4: { readonly address: string; readonly gateway: string } | undefined;
  readonly ipv6: { readonly address: string; readonly gateway: string } | undefined;
  readonly interfaceName?: string;
}

interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly address?: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: { readonly port?: number } };
}

function parseDevices(json: string): readonly Device[] {
  return (JSON.parse(json) as readonly IpLink[]).map((link) => ({
    ifindex: link.ifindex,
    name: link.ifname,
    mac: link.address ?? "",
    mtu: link.mtu,
    up: link.flags.includes("UP"),
    kind: link.linkinfo?.info_kind,
    port: link.linkinfo?.info_data?.port,
  }));
}

/** The pod's end until its settings are made: no interface of the pod is called that. */
const temporaryName = (hostName: string): string => `tmp${hostName.slice(POD_DEVICE_PREFIX.length)}`;

export class Links {
  readonly #run: Run;
  readonly #sysctl: Sysctl;

  constructor(run: Run, sysctl: Sysctl) {
    this.#run = run;
    this.#sysctl = sysctl;
  }

  async list(): Promise<readonly Device[]> {
    return parseDevices(await check(this.#run, ["ip", "-json", "-details", "link", "show"]));
  }

  /** undefined: there is no such device. */
  async find(name: string): Promise<Device | undefined> {
    const shown = await this.#run(["ip", "-json", "-details", "link", "show", "dev", name]);
    if (shown.status === 0) return parseDevices(shown.stdout).find((device) => device.name === name);
    // Why it failed is not told in a stable way: the list says whether the device is absent.
    return (await this.list()).find((device) => device.name === name);
  }

  /**
   * Makes the pair, both ends down. Left over from an earlier try: made anew. The pod's end is made where it stays:
   * moving a device between namespaces waits for grace periods of RCU, about 20 ms.
   */
  async create(spec: VethSpec): Promise<Device> {
    const peer = temporaryName(spec.hostName);
    const add = `link add name ${spec.hostName} address ${spec.hostMac} mtu ${spec.mtu} type veth peer name ${peer} address ${spec.mac} mtu ${spec.mtu} netns ${spec.netns}`;
    const command = ["ip", "-json", "-details", "-batch", "-"] as const;
    const input = `${add}\nlink show dev ${spec.hostName}\n`;
    const first = await this.#run(command, input);
    if (first.status !== 0) await this.remove(spec.hostName);
    const shown = first.status === 0 ? first.stdout : await check(this.#run, command, input);
    this.#sysctl.forDevice(spec.hostName);
    const device = parseDevices(shown).find((candidate) => candidate.name === spec.hostName);
    if (device === undefined) throw new Error(`${spec.hostName} was made and is not there`);
    return device;
  }

  /** Sets both ends up, with addresses. What may pass is up to the programs on the host's end. The caller removes the link when this throws. */
  async connect(spec: PodLinkSpec): Promise<void> {
    // Both end before this does: the caller may remove the link then.
    const ends = await Promise.allSettled([this.batch([`link set dev ${spec.hostName} up`, ...hostLines(spec)]), this.#configurePod(spec)]);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #configurePod(spec: PodLinkSpec): Promise<void> {
    const name = spec.interfaceName ?? POD_INTERFACE;
    const lines = [`link set dev ${temporaryName(spec.hostName)} name ${name}`, "link set dev lo up", ...podLines(spec, name)];
    // /proc/sys/net shows the namespace of the process that opens it, so nsenter is enough. The settings
    // come before the link is up: no router solicitation, no duplicate address detection.
    const settings = ["accept_ra=0", "accept_dad=0", "dad_transmits=0", "autoconf=0", "addr_gen_mode=1"];
    const folder = `/proc/sys/net/ipv6/conf/${temporaryName(spec.hostName)}`;
    const script = `if [ -d ${folder} ]; then for s in ${settings.join(" ")}; do echo "\${s#*=}" > "${folder}/\${s%%=*}"; done; fi; exec ip -batch -`;
    await check(this.#run, ["nsenter", `--net=${spec.netns}`, "sh", "-ec", script], `${lines.join("\n")}\n`);
  }

  /** Removes a device, and so the pod's end of it; absent is done already. */
  async remove(name: string): Promise<void> {
    const result = await this.#run(["ip", "link", "delete", "dev", name]);
    if (result.status !== 0 && (await this.find(name)) !== undefined) {
      throw new Error(`cannot remove ${name}: ${result.stderr.trim()}`);
    }
  }

  /** Pod devices of ours on this node. */
  async podDevices(): Promise<readonly Device[]> {
    return (await this.list()).filter((device) => device.name.startsWith(POD_DEVICE_PREFIX) && device.kind === "veth");
  }

  /** Commands of iproute2 in one process, in order, up to the first that fails. */
  async batch(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    await check(this.#run, ["ip", "-batch", "-"], `${lines.join("\n")}\n`);
  }
}

function podLines(spec: PodLinkSpec, name: string): string[] {
  const lines: string[] = [`link set dev ${name} up`];
  if (spec.ipv4 !== undefined) {
    lines.push(
      `address add ${spec.ipv4.address}/32 dev ${name}`,
      `neighbor replace ${spec.ipv4.gateway} lladdr ${spec.hostMac} dev ${name} nud permanent`,
      `route replace ${spec.ipv4.gateway}/32 dev ${name} scope link src ${spec.ipv4.address}`,
      `route replace default via ${spec.ipv4.gateway} dev ${name} src ${spec.ipv4.address}`,
    );
  }
  if (spec.ipv6 !== undefined) {
    lines.push(
      `address add ${spec.ipv6.address}/128 dev ${name} nodad`,
      `neighbor replace ${spec.ipv6.gateway} lladdr ${spec.hostMac} dev ${name} nud permanent`,
      `route replace ${spec.ipv6.gateway}/128 dev ${name}`,
      `route replace ::/0 via ${spec.ipv6.gateway} dev ${name}`,
    );
  }
  return lines;
}

/** The node reaches the pod from its router address, and never asks who has the pod's address. */
function hostLines(spec: PodLinkSpec): string[] {
  return [spec.ipv4, spec.ipv6].flatMap((family) =>
    family === undefined
      ? []
      : [
          `neighbor replace ${family.address} lladdr ${spec.mac} dev ${spec.hostName} nud permanent`,
          `route replace ${family.address} dev ${spec.hostName} src ${family.gateway} proto ${ROUTE_PROTOCOL}`,
        ],
  );
}
