/**
 * Pod links: a veth per pod. Our devices are known by their name, `lxc…`.
 *
 * A pod link is made in three steps, so that it is never open:
 *   create (both ends down)  →  the caller attaches the programs  →  connect (addresses, up)
 *
 * The node's side is done by netlink from this process. The pod's side needs a process that enters the namespace (this
 * one has threads, which would stay behind): the static plugin, called as `cilium-cni netns`, which starts in about a
 * millisecond and sends the messages that it is given.
 */
import { closeSync, openSync } from "node:fs";
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import { ROUTE_PROTOCOL } from "./links.ts";
import * as rt from "./link-messages.ts";
import type { LinkState } from "./link-messages.ts";
import { packed } from "./netlink.ts";
import type { Message, Netlink } from "./netlink.ts";
import type { Sysctl } from "./sysctl.ts";
import { sleep } from "../lib/backoff.ts";
import { codeOf } from "../lib/errors.ts";

const POD_INTERFACE = "eth0";
/** Of the loopback device of every network namespace (LOOPBACK_IFINDEX, include/net/net_namespace.h). */
const LOOPBACK = 1;
/** Link watch runs within a second (LW_DELAY in net/core/link_watch.c), and a busy machine may be late. */
const LINK_WATCH_MS = 10_000;

export interface VethSpec {
  /** `lxc…`, at most 15 characters. */
  readonly hostName: string;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly interfaceName?: string;
}

export interface PodLinkSpec extends VethSpec {
  /** The pod's addresses and, per family, the gateway that it shall see: the node's router address. */
  readonly ipv4: { readonly address: string; readonly gateway: string } | undefined;
  readonly ipv6: { readonly address: string; readonly gateway: string } | undefined;
}

export interface PodVethsOptions {
  readonly netlink: Netlink;
  readonly sysctl: Sysctl;
  /** Starts the plugin. */
  readonly run: Run;
  /** Path of the static plugin. */
  readonly plugin: string;
}

export class PodVeths {
  readonly #options: PodVethsOptions;
  /** Removals that go on: each waits for grace periods of RCU, tens of milliseconds, on a thread of the pool. */
  #removing: Promise<unknown> = Promise.resolve();

  constructor(options: PodVethsOptions) {
    this.#options = options;
  }

  /**
   * Makes the pair, both ends down. Left over from an earlier try: made anew. The pod's end is made where it stays, so
   * it is never seen in the node's namespace, and nothing waits for a move.
   */
  async create(spec: VethSpec): Promise<LinkState> {
    const { hostName } = spec;
    const pod = { name: spec.interfaceName ?? POD_INTERFACE, mac: spec.mac, mtu: spec.mtu };
    const host = { name: hostName, mac: spec.hostMac, mtu: spec.mtu };
    const netns = openSync(spec.netns, "r");
    try {
      const make = (): Promise<unknown> => this.#options.netlink.exchange(`make ${hostName}`, [rt.newVeth(host, pod, netns)]);
      await make().catch(async (thrown: unknown) => {
        if (codeOf(thrown) !== "EEXIST") throw thrown;
        await this.remove(hostName);
        await make();
      });
    } finally {
      closeSync(netns);
    }
    this.#options.sysctl.forDevice(hostName);
    const found = await this.find(hostName);
    if (found === undefined) throw new Error(`${hostName} was made and is not there`);
    return found;
  }

  /** undefined: there is no such device. */
  async find(name: string): Promise<LinkState | undefined> {
    try {
      const [reply] = await this.#options.netlink.exchange(`find ${name}`, [rt.getLink(name)]);
      return reply === undefined ? undefined : rt.parseLink(reply);
    } catch (thrown) {
      if (codeOf(thrown) === "ENODEV") return undefined;
      throw thrown;
    }
  }

  /** Sets both ends up, with addresses. What may pass is up to the programs on the host's end. The caller removes the link when this throws. */
  async connect(spec: PodLinkSpec): Promise<void> {
    const link = await this.find(spec.hostName);
    if (link === undefined) throw new Error(`${spec.hostName} is gone`);
    await this.#options.netlink.exchange(`connect ${spec.hostName}`, hostMessages(spec, link.ifindex));
    await this.#configurePod(spec, link.peerIfindex);
    await this.#untilItSends(spec.hostName);
  }

  /**
   * The end that is set up last sends at once; the one that was up before it, the node's, when the kernel's link watch has
   * run (Documentation/networking/operstates.rst), which takes its time on a busy machine. Without this the node's
   * first packet to a new pod could be lost.
   */
  async #untilItSends(name: string): Promise<void> {
    for (const end = performance.now() + LINK_WATCH_MS; ; await sleep(1)) {
      const link = await this.find(name);
      if (link === undefined) throw new Error(`${name} is gone`);
      if (link.sends) return;
      if (performance.now() > end) throw new Error(`${name} has no carrier ${LINK_WATCH_MS} ms after both ends were set up`);
    }
  }

  /** The settings come before the link is up: no router solicitation, no duplicate address detection. */
  async #configurePod(spec: PodLinkSpec, ifindex: number): Promise<void> {
    const folder = `${this.#options.sysctl.root}/net/ipv6/conf/${spec.interfaceName ?? POD_INTERFACE}`;
    const settings = ["accept_ra=0", "accept_dad=0", "dad_transmits=0", "autoconf=0", "addr_gen_mode=1"].map((setting) => `${folder}/${setting}`);
    await check(this.#options.run, [this.#options.plugin, "netns", spec.netns, ...settings], packed(podMessages(spec, ifindex)));
  }

  /** Removes a device, and so the pod's end of it; absent is done already. One at a time: the others need threads too. */
  async remove(name: string): Promise<void> {
    const mine = this.#removing.then(() => this.#delete(name));
    this.#removing = mine.catch(() => undefined);
    await mine;
  }

  async #delete(name: string): Promise<void> {
    try {
      await this.#options.netlink.exchange(`remove ${name}`, [rt.deleteLink(name)]);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENODEV") throw thrown;
    }
  }
}

function podMessages(spec: PodLinkSpec, ifindex: number): Message[] {
  const messages: Message[] = [rt.linkUp(LOOPBACK)];
  for (const family of [spec.ipv4, spec.ipv6]) {
    if (family === undefined) continue;
    messages.push(rt.address(ifindex, family.address), rt.permanentNeighbour(ifindex, family.gateway, spec.hostMac));
  }
  messages.push(rt.linkUp(ifindex));
  for (const family of [spec.ipv4, spec.ipv6]) {
    if (family === undefined) continue;
    // The kernel chooses the source of IPv6 by RFC 6724: there is but one address.
    const source = family === spec.ipv4 ? { source: family.address } : {};
    messages.push(rt.hostRoute(ifindex, family.gateway, source), rt.defaultRoute(ifindex, family.gateway, source));
  }
  return messages;
}

/** The node reaches the pod from its router address, and never asks who has the pod's address. */
function hostMessages(spec: PodLinkSpec, ifindex: number): Message[] {
  const families = [spec.ipv4, spec.ipv6].filter((family) => family !== undefined);
  return [
    ...families.map(({ address }) => rt.permanentNeighbour(ifindex, address, spec.mac)),
    rt.linkUp(ifindex),
    ...families.map(({ address, gateway }) => rt.hostRoute(ifindex, address, { source: gateway, protocol: ROUTE_PROTOCOL })),
  ];
}
