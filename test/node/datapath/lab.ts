/**
 * Two nodes and the outside as network namespaces on one bridge, with the real programs, tunnel and pods.
 *
 *   …out 192.0.2.9 ─┐
 *   …n1  192.0.2.1 ─┼─ bridge in …net      n1: a1 .11, b1 .12      n2: c2 10.x.2.21
 *   …n2  192.0.2.2 ─┘
 *
 * By option the nodes know each other by IPv6 alone, or have a second device each, on a bridge of its own with the
 * outside (198.51.100.x), and know each other by that one's addresses.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { ENCRYPTION_RECEIPT, ENCRYPTION_SENDING, EventType, ENDPOINT_READY, HOST_TRACKED, PEER_DIRECT, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL, addressCodec, cidrKeyCodec, endpointCodec, hostCodec, nodeCodec, peerCodec, policyEntryCodec, policyKeyCodec, subjectCodec } from "../../../src/kernel/gen/types.ts";
import type { Codec } from "../../../src/kernel/index.ts";
import { parseAddress, parseCidr } from "../../../src/lib/ip.ts";
import { Site } from "../../e2e/harness/pods.ts";
import { packetSizes } from "../../../src/agent/packet-sizes.ts";
import type { PacketSizes } from "../../../src/agent/packet-sizes.ts";
import { encrypt } from "./encrypted.ts";
import type { End } from "./encrypted.ts";
import type { NodeSpec, Request } from "./worker.ts";

/** With the process in it: two runs on one machine do not meet. */
export const PREFIX = `dpt${process.pid}-`;
export const OUTSIDE = `${PREFIX}out`;
export type Mode = NodeSpec["mode"];
const UNDERLAY_MTU = 1500;
const TUNNEL_PORT = 8472;
const HOST_SLOT = 40;
const ROOT = join(import.meta.dirname, "../../..");

export interface Pod {
  readonly name: string;
  readonly id: number;
  readonly identity: number;
  readonly node: 1 | 2;
  readonly ipv4: string;
  readonly ipv6: string;
}

const macsOf = (pod: Pod): { readonly mac: string; readonly hostMac: string } => ({ mac: `02:00:00:00:0${pod.node}:${pod.id}`, hostMac: `02:00:00:00:f${pod.node}:${pod.id}` });
const makePod = (name: string, node: 1 | 2, id: number): Pod => ({ name, id, identity: 3000 + id, node, ipv4: `10.200.${node}.${id}`, ipv6: `fd00:${node}::${id}` });
export const a1 = makePod("a1", 1, 11);
export const b1 = makePod("b1", 1, 12);
export const c2 = makePod("c2", 2, 21);
export const PODS = [a1, b1, c2] as const;
export const underlay = (node: number): string => `192.0.2.${node}`;
export const underlay6 = (node: number): string => `2001:db8::${node}`;
export const second = (node: number): string => `198.51.100.${node}`;
export const second6 = (node: number): string => `2001:db8:1::${node}`;
export const router = (node: number): { readonly ipv4: string; readonly ipv6: string } => ({ ipv4: `10.200.${node}.1`, ipv6: `fd00:${node}::1` });
const cidrs = (node: number): string[] => [`10.200.${node}.0/24`, `fd00:${node}::/64`];

export interface Rule {
  readonly peer?: number;
  readonly protocol?: number;
  readonly port?: number;
  readonly rule: number;
}

export interface SeenEvent {
  readonly type: number;
  readonly reason: number;
  readonly rule: number;
  readonly hook: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
}

function hex<T>(codec: Codec<T>, value: T): string {
  const view = new DataView(new ArrayBuffer(codec.size));
  codec.encode(value, view);
  return Buffer.from(view.buffer).toString("hex");
}

const u32 = (value: number): string => Buffer.from(Uint32Array.of(value).buffer).toString("hex");
const address = (text: string): string => hex(addressCodec, { bytes: parseAddress(text) });

export function run(...command: readonly [string, ...string[]]): string {
  const [program, ...args] = command;
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export function nft(namespace: string, script: string): void {
  execFileSync("ip", ["netns", "exec", namespace, "nft", "-f", "-"], { input: script });
}

export const namespaceOf = (where: Pod | string): string => (typeof where === "string" ? where : `${PREFIX}${where.name}`);

export const macOf = (namespace: string): string => run("ip", "netns", "exec", namespace, "cat", "/sys/class/net/eth0/address").trim();

/** One node's worker process. */
class NodeHandle {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(namespace: string) {
    const child = spawn("ip", ["netns", "exec", namespace, process.execPath, join(import.meta.dirname, "worker.ts")], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async ask<T>(request: Request): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error("the node's worker ended");
    const answer = JSON.parse(line.value) as { readonly value?: T; readonly error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as T;
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

export interface LabOptions extends Partial<Pick<NodeSpec, "udpTimeout">> {
  readonly mode?: Mode;
  /** The addresses that the nodes know each other by. */
  readonly nodes?: "ipv4" | "ipv6 alone" | "second device";
  /** Destinations that see the pods' own addresses; blocks of the node's addresses under which pods leave. */
  readonly unmasqueraded?: readonly string[];
  readonly masqueradeFrom?: readonly string[];
  /** What the tunnel sends is inside WireGuard, and nothing else is taken. */
  readonly isEncrypted?: boolean;
  /** Pods' links are from before that. */
  readonly hasOldLinks?: boolean;
  /** A folder on a bpffs, where each node pins into a folder of its own; undefined: nothing is pinned. */
  readonly pins?: string;
}

export class Lab {
  readonly #nodes = new Map<number, NodeHandle>();
  readonly #ifindex = new Map<string, number>();
  readonly #servers: ChildProcess[] = [];
  #generation = 1;

  readonly #mode: Mode;
  readonly #kept: Pick<LabOptions, "pins"> & Pick<NodeSpec, "udpTimeout">;
  readonly #nodesBy: Required<LabOptions>["nodes"];
  readonly #masquerade: Pick<NodeSpec, "unmasqueraded" | "masqueradeFrom">;
  readonly #isEncrypted: boolean;
  readonly #wireguardMtu: number;
  #endEncryption = (): void => undefined;
  /** Greatest packet of a pod. */
  readonly mtu: number;
  /** Of pods' links. */
  readonly linkMtu: number;

  private constructor({ mode = "tunnel", nodes = "ipv4", unmasqueraded = [], masqueradeFrom = [], isEncrypted = false, hasOldLinks = false, ...kept }: LabOptions) {
    this.#mode = mode;
    this.#kept = kept;
    this.#nodesBy = nodes;
    this.#masquerade = { unmasqueraded, masqueradeFrom };
    this.#isEncrypted = isEncrypted;
    const sizes = (encrypted: boolean): PacketSizes => packetSizes(UNDERLAY_MTU, { isEncrypted: encrypted, isOverIpv6: nodes === "ipv6 alone" });
    const podMtu = ({ direct, tunnel }: PacketSizes): number => (mode === "native" ? direct : tunnel);
    this.mtu = podMtu(sizes(isEncrypted));
    this.linkMtu = podMtu(sizes(isEncrypted && !hasOldLinks));
    this.#wireguardMtu = sizes(isEncrypted).encrypted;
  }

  static async start(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options);
    lab.#removeNamespaces();
    try {
      await lab.#build();
    } catch (error) {
      lab.stop();
      throw error;
    }
    return lab;
  }

  async #build(): Promise<void> {
    execFileSync("make", ["-s", "bpf", "build/bin/e2e-probe"], { cwd: ROOT });
    this.#cable();
    for (const node of [1, 2]) {
      const handle = new NodeHandle(`${PREFIX}n${node}`);
      this.#nodes.set(node, handle);
      await handle.ask({ do: "setUp", spec: this.#spec(node) });
    }
    for (const pod of PODS) await this.#addPod(pod);
    for (const node of [1, 2]) await this.#fill(node);
    for (const pod of PODS) await this.policy(pod, {});
    if (this.#isEncrypted) await this.#encrypt();
  }

  async #encrypt(): Promise<void> {
    execFileSync("make", ["-s", "build/bin/wireguard-go"], { cwd: ROOT });
    const end = (node: number): End => ({ namespace: `${PREFIX}n${node}`, device: `dw${process.pid}n${node}`, addresses: this.addressesOf(node) });
    this.#endEncryption = await encrypt([end(1), end(2)], TUNNEL_PORT, this.#wireguardMtu);
    for (const node of [1, 2]) await this.#put(node, "encryption", u32(0), u32(ENCRYPTION_SENDING | ENCRYPTION_RECEIPT));
  }

  /** Both nodes take the programs of this folder, one after the other. */
  async load(objects: string): Promise<void> {
    for (const node of [1, 2]) await this.node(node).ask({ do: "load", spec: { ...this.#spec(node), objects } });
  }

  /** By which the other node knows it; the first is the tunnel's. */
  addressesOf(node: number): readonly [string, ...string[]] {
    if (this.#nodesBy === "second device") return [second(node), second6(node)];
    return this.#nodesBy === "ipv6 alone" ? [underlay6(node)] : [underlay(node), underlay6(node)];
  }

  /** By which it knows itself: also those of another device, which nobody else knows. */
  ownAddressesOf(node: number): readonly string[] {
    return this.#nodesBy === "second device" ? [...this.addressesOf(node), underlay(node), underlay6(node)] : this.addressesOf(node);
  }

  get #devices(): readonly string[] {
    return this.#nodesBy === "second device" ? ["eth0", "eth1"] : ["eth0"];
  }

  #spec(node: number): NodeSpec {
    return {
      pins: this.#kept.pins && join(this.#kept.pins, `n${node}`), udpTimeout: this.#kept.udpTimeout, mode: this.#mode, underlay: this.#devices, mtu: this.mtu, linkMtu: this.linkMtu, underlayMtu: UNDERLAY_MTU, router4: router(node).ipv4, router6: router(node).ipv6,
      podCidrs: cidrs(node), otherCidrs: cidrs(3 - node), otherNode: this.addressesOf(3 - node), ...this.#masquerade, ownAddresses: this.ownAddressesOf(node), objects: join(ROOT, "build/bpf"),
    };
  }

  #cable(): void {
    for (const name of ["net", "n1", "n2", "out", ...PODS.map((pod) => pod.name)]) {
      run("ip", "netns", "add", PREFIX + name);
      run("ip", "-n", PREFIX + name, "link", "set", "lo", "up");
    }
    const isIPv6Alone = this.#nodesBy === "ipv6 alone";
    this.#segment("eth0", (name, last) => [...(isIPv6Alone && name !== "out" ? [] : [`${underlay(last)}/24`]), `${underlay6(last)}/64`]);
    if (this.#nodesBy === "second device") this.#segment("eth1", (_, last) => [`${second(last)}/24`, `${second6(last)}/64`]);
  }

  /** A bridge, and this device of both nodes and of the outside on it. */
  #segment(device: string, addresses: (name: string, last: number) => readonly string[]): void {
    const net = `${PREFIX}net`;
    run("ip", "-n", net, "link", "add", `br-${device}`, "type", "bridge");
    run("ip", "-n", net, "link", "set", `br-${device}`, "up");
    for (const [name, last] of [["n1", 1], ["n2", 2], ["out", 9]] as const) {
      const namespace = PREFIX + name;
      run("ip", "-n", net, "link", "add", `${name}-${device}`, "type", "veth", "peer", "name", device, "netns", namespace);
      run("ip", "-n", net, "link", "set", `${name}-${device}`, "master", `br-${device}`, "up");
      // A link-local address that is still being detected asks for no neighbour (RFC 4862 section 5.4): the first packet would be lost.
      run("ip", "netns", "exec", namespace, "sysctl", "-qw", `net.ipv6.conf.${device}.accept_dad=0`, `net.ipv6.conf.${device}.dad_transmits=0`);
      run("ip", "-n", namespace, "link", "set", device, "up");
      for (const address of addresses(name, last)) run("ip", "-n", namespace, "address", "add", address, "dev", device, ...(address.includes(":") ? ["nodad"] : []));
    }
  }

  async #addPod(pod: Pod): Promise<void> {
    const link = { hostName: `lxc${pod.name}`, netns: `/run/netns/${namespaceOf(pod)}`, ipv4: pod.ipv4, ipv6: pod.ipv6, ...macsOf(pod) };
    const ifindex = await this.node(pod.node).ask<number>({ do: "pod", spec: this.#spec(pod.node), pod: link });
    this.#ifindex.set(pod.name, ifindex);
    await this.#putEndpoint(pod, this.linkMtu);
  }

  async #putEndpoint(pod: Pod, mtu: number): Promise<void> {
    const ifindex = this.#ifindex.get(pod.name) ?? 0;
    const mac = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(":", ""), "hex"));
    const { mac: own, hostMac } = macsOf(pod);
    const value = hex(endpointCodec, {
      ifindex, identity: pod.identity, subject: pod.id, ports: 0, id: pod.id, mtu, flags: ENDPOINT_READY, mac: mac(own), hostMac: mac(hostMac), ipv4: parseAddress(pod.ipv4), ipv6: parseAddress(pod.ipv6),
    });
    await this.#put(pod.node, "interfaces", u32(ifindex), value);
    await this.#put(pod.node, "endpoints", address(pod.ipv4), value);
    await this.#put(pod.node, "endpoints", address(pod.ipv6), value);
  }

  /** The programs shall take the pod's link for this small. */
  async resize(pod: Pod, mtu: number): Promise<void> {
    await this.#putEndpoint(pod, mtu);
  }

  async #fill(node: number): Promise<void> {
    const none = new Uint8Array(16);
    const [first] = this.addressesOf(3 - node);
    const there = this.#mode === "tunnel" ? parseAddress(first) : none;
    const reach = this.#mode === "tunnel" ? PEER_TUNNEL : PEER_DIRECT;
    const put = async (text: string, identity: number, flags = 0, at: Uint8Array = none): Promise<void> => await this.#put(node, "ipcache", address(text), hex(peerCodec, { identity, flags, ports: 0, node: at }));
    for (const pod of PODS) for (const text of [pod.ipv4, pod.ipv6]) await (pod.node === node ? put(text, pod.identity) : put(text, pod.identity, reach, there));
    for (const text of this.ownAddressesOf(node)) await put(text, 1);
    for (const text of [router(node).ipv4, router(node).ipv6]) await put(text, 1, PEER_ROUTER);
    for (const text of this.addressesOf(3 - node)) await put(text, 6);
    for (const text of [router(3 - node).ipv4, router(3 - node).ipv6]) await put(text, 6, reach | PEER_ROUTER, there);
    for (const cidr of cidrs(node)) await this.#put(node, "cidrs", hex(cidrKeyCodec, parseCidr(cidr)), hex(peerCodec, { identity: 0, flags: PEER_POD_CIDR, ports: 0, node: none }));
    for (const cidr of cidrs(3 - node)) await this.#put(node, "cidrs", hex(cidrKeyCodec, parseCidr(cidr)), hex(peerCodec, { identity: 0, flags: PEER_POD_CIDR | reach, ports: 0, node: there }));
    for (const text of this.addressesOf(3 - node)) {
      await this.#put(node, "nodes", address(text), hex(nodeCodec, { address: parseAddress(first), routerIpv4: parseAddress(router(3 - node).ipv4), routerIpv6: parseAddress(router(3 - node).ipv6) }));
    }
  }

  node(node: number): NodeHandle {
    const handle = this.#nodes.get(node);
    if (handle === undefined) throw new Error(`no node ${node}`);
    return handle;
  }

  async #put(node: number, map: string, key: string, value: string): Promise<void> {
    await this.node(node).ask({ do: "put", map, key, value });
  }

  /** Replaces the pod's rules; a direction that is not named is not enforced. Rule 900 and 901: default deny. */
  async policy(pod: Pod, rules: { readonly ingress?: readonly Rule[]; readonly egress?: readonly Rule[] }): Promise<void> {
    const ruleSet = ++this.#generation;
    for (const [direction, list] of [[0, rules.ingress ?? []], [1, rules.egress ?? []]] as const) {
      for (const rule of list) {
        const key = hex(policyKeyCodec, { tier: 0, ruleSet, direction, peer: rule.peer ?? 0, protocol: rule.protocol ?? 0, port: rule.port ?? 0, portPrefix: rule.port === undefined ? 0 : 16 });
        await this.#put(pod.node, "policy", key, hex(policyEntryCodec, { precedence: 1, rule: rule.rule, proxyPort: 0, verdict: 0 }));
      }
    }
    const bits = (list: readonly Rule[] = []): number => list.reduce((ports, rule) => ports | (rule.port === undefined ? 1 : 1 << 16), 0);
    const subject = {
      ruleSet, generation: this.#generation, ingressDefault: 900, egressDefault: 901, ingressPorts: bits(rules.ingress), egressPorts: bits(rules.egress),
      ingressEnforced: rules.ingress === undefined ? 0 : 1, egressEnforced: rules.egress === undefined ? 0 : 1,
    };
    await this.#put(pod.node, "subjects", u32(pod.id), hex(subjectCodec, subject));
  }

  /** The node itself under these rules; "learning": its flows are remembered and nobody judges; undefined: nobody looks. */
  async hostPolicy(node: 1 | 2, rules: Parameters<Lab["policy"]>[1] | "learning" | undefined): Promise<void> {
    const isJudged = rules !== undefined && rules !== "learning";
    if (isJudged) await this.policy({ ...PODS[0], id: HOST_SLOT, node }, rules);
    await this.#put(node, "host", u32(0), hex(hostCodec, { subject: isJudged ? HOST_SLOT : 0, flags: rules === undefined ? 0 : HOST_TRACKED }));
  }

  /** What the node's programs told since the last call. */
  async events(node: number): Promise<readonly SeenEvent[]> {
    return await this.node(node).ask<SeenEvent[]>({ do: "events" });
  }

  /** Reasons of drops on a node since the last look. */
  async drops(node: number): Promise<readonly number[]> {
    return [...new Set((await this.events(node)).filter(({ type }) => type === EventType.DROP).map(({ reason }) => reason))];
  }

  /** As at the start: no policy, and nothing told that was not looked at. */
  async forget(): Promise<void> {
    for (const node of [1, 2] as const) await this.hostPolicy(node, undefined);
    for (const pod of PODS) await this.policy(pod, {});
    for (const node of [1, 2]) await this.events(node);
  }

  /** One that asks and serves, and says what it heard. */
  site(where: Pod | string): Site {
    return new Site(typeof where === "string" ? where : where.name, ["ip", "netns", "exec", namespaceOf(where)]);
  }

  /** A TCP echo server for both families. */
  serve(where: Pod | string, port: number): void {
    this.#servers.push(spawn("ip", ["netns", "exec", namespaceOf(where), "socat", `TCP6-LISTEN:${port},fork,reuseaddr,ipv6only=0`, "EXEC:cat"], { stdio: "ignore" }));
    for (let tries = 0; tries < 100; tries++) {
      if (run("ip", "netns", "exec", namespaceOf(where), "ss", "-ltnH", `sport = :${port}`) !== "") return;
      spawnSync("sleep", ["0.05"]);
    }
    throw new Error(`no server on port ${port}`);
  }

  /** Whether what we sent came back. */
  echo(where: Pod | string, to: string, port: number, text = "hello"): boolean {
    const target = to.includes(":") ? `TCP6:[${to}]:${port}` : `TCP:${to}:${port}`;
    const result = spawnSync("ip", ["netns", "exec", namespaceOf(where), "socat", "-t5", "-T8", "-", `${target},connect-timeout=1.5`], { input: text, encoding: "utf8", maxBuffer: 64 << 20 });
    return result.stdout === text;
  }

  /** `size`: bytes of payload; more than the MTU goes in fragments. */
  ping(where: Pod | string, to: string, size = 56): boolean {
    return spawnSync("ip", ["netns", "exec", namespaceOf(where), "busybox", "ping", to.includes(":") ? "-6" : "-4", "-c1", "-W1", `-s${size}`, to]).status === 0;
  }

  /** A connection that stays open; `port` may go on with options of socat's; `send` tells whether the server's echo of a line came back. */
  connect(where: Pod | string, to: string, port: number | string): { send(line: string): Promise<boolean>; close(): void } {
    const child = spawn("ip", ["netns", "exec", namespaceOf(where), "socat", "-", `TCP:${to}:${port},connect-timeout=2`], { stdio: ["pipe", "pipe", "ignore"] });
    const echoes = createInterface({ input: child.stdout });
    return {
      send: async (line) => {
        const heard = once(echoes, "line", { signal: AbortSignal.timeout(2000) }).then(([echo]: string[]) => echo === line, () => false);
        child.stdin.write(`${line}\n`);
        return await heard;
      },
      close: () => child.kill(),
    };
  }

  stop(): void {
    for (const server of this.#servers) server.kill();
    this.#endEncryption();
    for (const node of this.#nodes.values()) node.close();
    this.#removeNamespaces();
  }

  /** Of this process, and of those that died before they could. */
  #removeNamespaces(): void {
    const left = run("ip", "netns", "list").split("\n").flatMap((line) => /^(dpt(\d+)-\S+)/.exec(line)?.slice(1) ?? []);
    for (let i = 0; i < left.length; i += 2) if (!existsSync(`/proc/${left[i + 1]}`)) spawnSync("ip", ["netns", "delete", left[i] ?? ""]);
    for (const name of ["net", "n1", "n2", "out", ...PODS.map((pod) => pod.name)]) spawnSync("ip", ["netns", "delete", PREFIX + name]);
  }
}
