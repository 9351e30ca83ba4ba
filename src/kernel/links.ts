/** Devices of the node, listed and changed with iproute2. Pod links are made in pod-link.ts; they are known by their name, `lxc…`. */
import { check } from "./command.ts";
import type { Run } from "./command.ts";

/** Number of our routes in the routing tables (`proto`), by which we know them again. */
export const ROUTE_PROTOCOL = 193;
/** Of those that lead nowhere. A number of its own: versions without them delete every route of the other by its device. */
export const UNREACHABLE_PROTOCOL = 194;
export const POD_DEVICE_PREFIX = "lxc";

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

export interface DeviceAddress {
  readonly address: string;
  readonly prefix: number;
  /** `global`, `link`, `host`. */
  readonly scope: string;
}

export interface AddressedDevice extends Device {
  readonly addresses: readonly DeviceAddress[];
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

export class Links {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async list(): Promise<readonly Device[]> {
    return parseDevices(await check(this.#run, ["ip", "-json", "-details", "link", "show"]));
  }

  async addressed(): Promise<readonly AddressedDevice[]> {
    interface Shown { readonly addr_info: readonly { readonly local?: string; readonly prefixlen?: number; readonly scope?: string }[] }
    const json = await check(this.#run, ["ip", "-json", "-details", "address", "show"]);
    const addresses = (JSON.parse(json) as readonly Shown[]).map(({ addr_info }) =>
      addr_info.flatMap(({ local, prefixlen = 0, scope = "" }) => (local === undefined ? [] : [{ address: local, prefix: prefixlen, scope }])));
    return parseDevices(json).map((device, index) => ({ ...device, addresses: addresses[index] ?? [] }));
  }

  /** undefined: there is no such device. */
  async find(name: string): Promise<Device | undefined> {
    const shown = await this.#run(["ip", "-json", "-details", "link", "show", "dev", name]);
    if (shown.status === 0) return parseDevices(shown.stdout).find((device) => device.name === name);
    // Why it failed is not told in a stable way: the list says whether the device is absent.
    return (await this.list()).find((device) => device.name === name);
  }

  /** Removes a device; absent is done already. */
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
