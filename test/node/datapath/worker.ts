/**
 * A node's datapath inside its network namespace, driven by JSON lines: one request per line in, one answer
 * per line out. A process cannot change its namespace safely (libuv's threads keep theirs), so the test
 * starts one of these per node with `ip netns exec`.
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { eventCodec, flowStateCodec } from "../../../src/kernel/gen/types.ts";
import type { Event } from "../../../src/kernel/gen/types.ts";
import { directRoutes, masqueradeSources, routerOf, tunnelRoutes, unusedRoutes } from "../../../src/agent/node-routes.ts";
import { Datapath, Host, LibbpfPort, Links, Netlink, Nft, PodVeths, RingBufferReader, Sysctl, TUNNEL_DEVICE, kernelOptions, runCommand } from "../../../src/kernel/index.ts";
import type { Device, HookName } from "../../../src/kernel/index.ts";
import { readOpenTables } from "../../../src/agent/open-tables.ts";
import { formatAddress, parseAddress } from "../../../src/lib/ip.ts";
import { rememberOpen } from "../../../src/targets/index.ts";

export interface NodeSpec {
  readonly mode: "tunnel" | "native";
  readonly underlay: readonly string[];
  /** Greatest packet of a pod. */
  readonly mtu: number;
  /** Of pods' links, which may be from when packets could be greater. */
  readonly linkMtu: number;
  readonly underlayMtu: number;
  readonly router4: string;
  readonly router6: string;
  readonly podCidrs: readonly string[];
  readonly otherCidrs: readonly string[];
  /** The other node's addresses. */
  readonly otherNode: readonly string[];
  readonly unmasqueraded: readonly string[];
  /** Of the node's own addresses those in these blocks are for pods. */
  readonly masqueradeFrom: readonly string[];
  readonly ownAddresses: readonly string[];
  readonly objects: string;
  /** Folder of the pins; undefined: nothing is pinned. */
  readonly pins: string | undefined;
  /** Seconds after which a flow of UDP expires; undefined: as the programs have it. */
  readonly udpTimeout?: number | undefined;
}

export interface PodLink {
  readonly hostName: string;
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  readonly hostMac: string;
}

export type Request =
  | { readonly do: "setUp"; readonly spec: NodeSpec }
  | { readonly do: "pod"; readonly spec: NodeSpec; readonly pod: PodLink }
  | { readonly do: "put"; readonly map: string; readonly key: string; readonly value: string }
  /** Another version of the programs, as a new process would load it. */
  | { readonly do: "load"; readonly spec: NodeSpec }
  | { readonly do: "maps" }
  /** As the agent does for a node's first rules. @returns how many flows */
  | { readonly do: "remember"; readonly own: readonly string[] }
  | { readonly do: "clear"; readonly map: string }
  /** @returns how many flows somebody owes for */
  | { readonly do: "owed" }
  | { readonly do: "events" };

const PLUGIN = join(import.meta.dirname, "../../../build/bin/cilium-cni");
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

class Worker {
  #port = new LibbpfPort();
  #tunnel: Device | undefined;
  readonly #sysctl = new Sysctl();
  readonly #links = new Links(runCommand);
  readonly #veths = new PodVeths({ netlink: new Netlink(), sysctl: this.#sysctl, run: runCommand, plugin: PLUGIN });
  readonly #attached: (readonly [HookName, number])[] = [];
  #datapath: Datapath | undefined;
  #events: RingBufferReader<Event> | undefined;

  async answer(request: Request): Promise<unknown> {
    switch (request.do) {
      case "setUp":
        return await this.#setUp(request.spec);
      case "pod":
        return await this.#pod(request.spec, request.pod);
      case "put":
        return this.#port.map(request.map)?.update(bytes(request.key), bytes(request.value));
      case "load":
        this.#load(request.spec);
        // What comes meanwhile goes through the stubs of before, as while an agent that has just started restores the pods.
        await sleep(300);
        for (const [hook, ifindex] of this.#attached) this.#datapath?.attach(hook, ifindex);
        this.#datapath?.allAttached();
        return undefined;
      case "maps":
        return ["interfaces", "endpoints", "ipcache", "cidrs", "nodes", "subjects", "policy", "flows"].map((name) => `${name} ${this.#port.map(name)?.valueSize} ${this.#port.map(name)?.count()}`);
      case "remember":
        return this.#remember(new Set(request.own));
      case "clear":
        for (const [key] of [...(this.#port.map(request.map)?.entries() ?? [])]) this.#port.map(request.map)?.delete(key);
        return undefined;
      case "owed":
        return [...(this.#port.map("flows")?.entries() ?? [])].filter(([, value]) => flowStateCodec.decode(new DataView(value.buffer, value.byteOffset, value.byteLength)).quota !== 0).length;
      case "events":
        return this.#events?.take(10_000).map(({ type, reason, rule, direction, hook, sourceIdentity, destinationIdentity }) => ({ type, reason, rule, direction, hook, sourceIdentity, destinationIdentity }));
    }
  }

  #remember(own: ReadonlySet<string>): number {
    const flows = this.#port.map("flows");
    if (flows === undefined) throw new Error("no map flows");
    return rememberOpen(flows, readOpenTables(), (address) => own.has(formatAddress(address))).written;
  }

  async #setUp(spec: NodeSpec): Promise<void> {
    const host = new Host(runCommand, this.#sysctl);
    for (const [path, value] of Object.entries(host.wantedSysctls(spec.underlay))) this.#sysctl.write(path, value);
    const devices = await host.createDevices({ routerIpv4: spec.router4, routerIpv6: spec.router6, tunnelPort: spec.mode === "tunnel" ? 8472 : undefined, mtu: spec.mtu });
    this.#tunnel = devices.tunnel;
    this.#load(spec);
    for (const name of spec.underlay) await this.#attachUnderlay(name);
    if (devices.tunnel !== undefined) this.#attach("FROM_OVERLAY", devices.tunnel.ifindex);
    this.#attach("FROM_HOST", devices.host.ifindex);
    this.#datapath?.allAttached();
    const isIPv6 = (text: string): boolean => text.includes(":");
    const remote = spec.otherCidrs.map((cidr) => ({ cidr, nodeName: "other", nodeIp: spec.otherNode.find((ip) => isIPv6(ip) === isIPv6(cidr)), tunnelIp: spec.otherNode[0] }));
    const routers = [spec.router4, spec.router6];
    const { routes, failures } = spec.mode === "tunnel" ? tunnelRoutes(remote, routerOf(routers), spec.mtu) : directRoutes(remote, await host.waysTo(spec.otherNode), spec.underlay, spec.mtu);
    if (failures.length > 0) throw new Error(failures.join());
    await host.syncRoutes([...routes, ...unusedRoutes(spec.podCidrs)]);
    await new Nft(runCommand).apply({ underlay: spec.underlay, podCidrs: spec.podCidrs, remotePods: spec.otherCidrs, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: spec.unmasqueraded, nodes: spec.otherNode, sources: masqueradeSources(spec.masqueradeFrom, spec.ownAddresses, { ipv4: true, ipv6: true }).sources, routers: spec.mode === "native" ? routers : [] });
    if (devices.tunnel !== undefined) this.#sysctl.forDevice(TUNNEL_DEVICE);
  }

  async #attachUnderlay(name: string): Promise<void> {
    const device = await this.#links.find(name);
    if (device === undefined) throw new Error(`no ${name}`);
    const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
    this.#port.map("underlays")?.update(u32(device.ifindex), u32(1));
    this.#attach("FROM_NETDEV", device.ifindex);
    this.#attach("TO_NETDEV", device.ifindex);
  }

  #attach(hook: HookName, ifindex: number): void {
    this.#datapath?.attach(hook, ifindex);
    this.#attached.push([hook, ifindex]);
  }

  #load(spec: NodeSpec): void {
    this.#port = new LibbpfPort(spec.pins);
    this.#datapath = Datapath.load({
      port: this.#port,
      objects: spec.objects,
      pinDir: spec.pins,
      rodata: { config_vxlan_ifindex: this.#tunnel?.ifindex ?? 0, config_tunnel_port: this.#tunnel?.port ?? 0, config_tunnel_mtu: spec.mtu, config_direct_mtu: spec.underlayMtu, config_router_ipv4: parseAddress(spec.router4), config_router_ipv6: parseAddress(spec.router6), config_flow_quota_step_ns: 1_000_000n, ...kernelOptions(this.#port), ...(spec.udpTimeout === undefined ? {} : { config_timeout_udp: spec.udpTimeout, config_timeout_udp_stream: spec.udpTimeout }) },
      maxEntries: { ipcache: 1024, policy: 1024, flows: 65536, events: 1 << 16 },
    });
    this.#events?.close();
    this.#events = new RingBufferReader(this.#port, "events", (record) => eventCodec.decode(record));
  }

  /** @returns ifindex of the host's end. */
  async #pod(spec: NodeSpec, pod: PodLink): Promise<number> {
    const device = await this.#veths.create({ hostName: pod.hostName, mac: pod.mac, hostMac: pod.hostMac, mtu: spec.linkMtu, netns: pod.netns });
    this.#attach("FROM_CONTAINER", device.ifindex);
    this.#attach("TO_CONTAINER", device.ifindex);
    await this.#veths.connect({
      hostName: pod.hostName, mac: pod.mac, hostMac: pod.hostMac, mtu: spec.linkMtu, netns: pod.netns,
      ipv4: { address: pod.ipv4, gateway: spec.router4 }, ipv6: { address: pod.ipv6, gateway: spec.router6 },
    });
    return device.ifindex;
  }
}

if (import.meta.main) {
  const worker = new Worker();
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await worker.answer(JSON.parse(line) as Request).then(
      (value) => ({ value: value ?? null }),
      (error: unknown) => ({ error: String(error) }),
    );
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
