/**
 * The pods of this node in the kernel: makes and removes their links, and is the table from which LocalState takes
 * its endpoints. An attachment enters the table only after its link is whole; until then no map names its device,
 * and the programs on it drop (DROP_UNKNOWN_ENDPOINT).
 */
import { createHash } from "node:crypto";
import { CniError, CniErrorCode } from "../cni/index.ts";
import type { Attachment, LinkFacts, NetnsResolver, PodDatapath } from "../cni/index.ts";
import { SharedTurns } from "../cni/turns.ts";
import type { Datapath, Links, PodLinkSpec, PodVeths } from "../kernel/index.ts";
import type { AddressPair } from "../cni/addresses.ts";
import type { Enforcer } from "./enforcer.ts";
import { reattach } from "./lost-programs.ts";
import type { Reattached } from "./lost-programs.ts";

const HOOKS = ["FROM_CONTAINER", "TO_CONTAINER"] as const;

export interface PodLinksOptions {
  readonly links: Pick<Links, "list">;
  readonly veths: PodVeths;
  readonly programs: Pick<Datapath, "attach" | "isAttached">;
  readonly netns: NetnsResolver;
  readonly mtu: () => number;
  readonly routers: AddressPair;
  readonly enforcer: () => Enforcer;
  readonly onChanged: () => void;
  /** Forgets the flows of addresses that go. */
  readonly purgeFlows: (addresses: readonly string[]) => Promise<void>;
}

/** Locally administered, unicast, and the same for the same container: bits 1 and 0 of the first octet are 1 and 0. */
export function macOf(containerId: string, side: "pod" | "host"): string {
  const octets = [...createHash("sha256").update(`${side}:${containerId}`).digest().subarray(0, 6)];
  octets[0] = ((octets[0] ?? 0) & 0xfc) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}

export class PodLinks implements PodDatapath {
  readonly attachments = new Map<string, Attachment>();
  readonly #options: PodLinksOptions;
  /** Pods beside each other; the routes of the whole node are replaced alone, never while a pod's own are being made. */
  readonly #routes = new SharedTurns();

  constructor(options: PodLinksOptions) {
    this.#options = options;
  }

  async createLink(attachment: Attachment): Promise<LinkFacts> {
    const { veths, netns, mtu } = this.#options;
    const facts = { mac: macOf(attachment.containerId, "pod"), hostMac: macOf(attachment.containerId, "host"), mtu: mtu() };
    const device = await veths.create({ hostName: attachment.hostIfname, netns: netns.path(attachment.netns), interfaceName: attachment.ifname, ...facts });
    this.#attach(device.ifindex);
    return { ...facts, hostIfindex: device.ifindex };
  }

  async configure(attachment: Attachment): Promise<void> {
    await this.#routes.beside(() => this.#options.veths.connect(this.#specOf(attachment)));
  }

  open(attachment: Attachment): Promise<void> {
    this.adopt(attachment);
    const report = this.#options.enforcer().applyNow();
    if (report?.readyEndpoints.has(attachment.containerId) === true) return Promise.resolve();
    const failures = report?.parts.flatMap((part) => part.failures.map((failure) => `${failure.subject}: ${failure.error.message}`)) ?? [];
    const details = failures.slice(0, 3).join("; ");
    return Promise.reject(new CniError(CniErrorCode.tryAgainLater, "the pod's policy is not in force on this node", details));
  }

  async remove(attachment: Parameters<PodDatapath["remove"]>[0]): Promise<void> {
    const { veths, enforcer, onChanged, purgeFlows } = this.#options;
    if (this.attachments.delete(attachment.containerId)) {
      onChanged();
      enforcer().applyNow();
    }
    await this.#routes.beside(() => veths.remove(attachment.hostIfname));
    await purgeFlows([attachment.ipv4, attachment.ipv6].filter((address) => address !== undefined));
  }

  async verify(attachment: Attachment): Promise<readonly string[]> {
    const device = await this.#options.veths.find(attachment.hostIfname);
    if (device === undefined) return [`device ${attachment.hostIfname} is gone`];
    const differences: string[] = [];
    if (device.ifindex !== attachment.hostIfindex) differences.push(`device ${attachment.hostIfname} is another one`);
    if (!device.up) differences.push(`device ${attachment.hostIfname} is down`);
    if (!this.attachments.has(attachment.containerId)) differences.push("the endpoint is not in the table");
    return differences;
  }

  /** Takes an attachment into the table; its link is there. */
  adopt(attachment: Attachment): void {
    this.attachments.set(attachment.containerId, attachment);
    this.#options.onChanged();
  }

  /** A pod of this node has the address, and keeps it for now. */
  isAttached(address: string): boolean {
    return [...this.attachments.values()].some(({ ipv4, ipv6 }) => address === ipv4 || address === ipv6);
  }

  /** The attachment has changed. One whose link is gone, after a DEL that could not be ended, stays out. */
  renew(attachment: Attachment): void {
    if (this.attachments.has(attachment.containerId)) this.adopt(attachment);
  }

  /**
   * Takes over the links that an earlier process made, and returns those that are gone. The programs are attached
   * already, unless someone took them off.
   */
  async restore(attachments: readonly Attachment[]): Promise<readonly Attachment[]> {
    const devices = new Map((await this.#options.links.list()).map((device) => [device.name, device.ifindex]));
    const gone: Attachment[] = [];
    for (const attachment of attachments) {
      if (devices.get(attachment.hostIfname) === attachment.hostIfindex) {
        this.#attach(attachment.hostIfindex);
        this.adopt(attachment);
      } else {
        gone.push(attachment);
      }
    }
    return gone;
  }

  /** Programs on links, where somebody took them off. */
  attachPrograms(isAsked: (device: string) => boolean): Reattached {
    const asked = [...this.attachments.values()].filter(({ hostIfname }) => isAsked(hostIfname));
    return reattach(this.#options.programs, asked.flatMap(({ hostIfname: name, hostIfindex: ifindex }) => HOOKS.map((hook) => ({ hook, device: { name, ifindex } }))));
  }

  /** Runs `task` while no pod's routes are being made. */
  async withRoutes<T>(task: () => Promise<T>): Promise<T> {
    return await this.#routes.alone(task);
  }

  #attach(ifindex: number): void {
    for (const hook of HOOKS) this.#options.programs.attach(hook, ifindex);
  }

  #specOf(attachment: Attachment): PodLinkSpec {
    const { netns, routers } = this.#options;
    const family = (address: string | undefined, gateway: string | undefined): PodLinkSpec["ipv4"] =>
      address === undefined || gateway === undefined ? undefined : { address, gateway };
    return {
      hostName: attachment.hostIfname,
      mac: attachment.mac,
      hostMac: attachment.hostMac,
      mtu: attachment.mtu,
      netns: netns.path(attachment.netns),
      ipv4: family(attachment.ipv4, routers.ipv4),
      ipv6: family(attachment.ipv6, routers.ipv6),
      interfaceName: attachment.ifname,
    };
  }
}
