/**
 * A node for packet rows: the real programs and maps in the kernel, filled with a small fixed cast.
 *
 *   this node 192.0.2.1, router 10.1.0.1 / fd00:1::1    a .11, b .12 (pods 10.1.0.x, fd00:1::x)
 *   other node 192.0.2.2, router 10.2.0.1 / fd00:2::1   remote 10.2.0.21 / fd00:2::21
 *   outside 198.51.100.7, service 10.96.0.10
 *
 * A test run happens on the loopback device (ifindex 1), so `interfaces[1]` is, for each run, the pod on
 * whose device the hook stands.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { codeOf } from "../../../src/lib/errors.ts";
import { parseAddress, parseCidr } from "../../../src/lib/ip.ts";
import {
  ENDPOINT_READY, Hook, SUBJECT_EGRESS_ADMIN, SUBJECT_EGRESS_BLOCKS, SUBJECT_INGRESS_ADMIN, SUBJECT_INGRESS_BLOCKS, SUBJECT_NAMED_PORTS, Tier, PEER_DIRECT, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL, QUOTA_HOST, addressCodec, blockCodec, blockKeyCodec, cidrKeyCodec, endpointCodec, eventCodec, flowKeyCodec, flowStateCodec, nodeCodec, peerCodec, policyEntryCodec,
  policyKeyCodec, quotaCodec, subjectCodec,
} from "../../../src/kernel/gen/types.ts";
import type { Block, Endpoint, Event, FlowKey, FlowState, Peer, Subject } from "../../../src/kernel/gen/types.ts";
import { LibbpfPort, RingBufferReader, kernelOptions, perCpu } from "../../../src/kernel/index.ts";
import { FlowCollector } from "../../../src/targets/flows.ts";
import type { BpfProgram, Codec, LibbpfMap, SkbContext } from "../../../src/kernel/index.ts";
import { outerValue, scratchLayout } from "./layouts.ts";

export interface Pod {
  readonly id: number;
  readonly ifindex: number;
  readonly identity: number;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  readonly hostMac: string;
}

const pod = (id: number): Pod => ({
  id, ifindex: 1000 + id, identity: 2000 + id, ipv4: `10.1.0.${id}`, ipv6: `fd00:1::${id}`, mac: `02:00:00:00:00:${id}`, hostMac: `02:00:00:00:ff:${id}`,
});
export const a = pod(11);
export const b = pod(12);
export const remote = { identity: 4021, ipv4: "10.2.0.21", ipv6: "fd00:2::21" } as const;
export const self = { ipv4: "192.0.2.1", ipv6: "2001:db8::1", router4: "10.1.0.1", router6: "fd00:1::1" } as const;
export const other = { ipv4: "192.0.2.2", ipv6: "2001:db8::2", router4: "10.2.0.1", router6: "fd00:2::1" } as const;
export const outside = { ipv4: "198.51.100.7", ipv6: "2001:db8:ff::7" } as const;
export const service = { ipv4: "10.96.0.10" } as const;
export const LOOPBACK = 1;
export const VXLAN_IFINDEX = 77;
export const UNDERLAY_IFINDEX = 78;
export const TUNNEL_MTU = 1450;

export interface Rule {
  /** Identity or class; 0 or absent: any. */
  readonly peer?: number;
  readonly protocol?: number;
  readonly port?: number;
  /** Bits of the port that count; 16 where a port is given. */
  readonly prefix?: number;
  readonly verdict?: number;
  readonly precedence?: number;
  /** Of the administrator's tier, which is asked first. */
  readonly admin?: boolean;
  readonly rule: number;
}

export interface Rules {
  /** undefined: nothing is enforced in that direction, yet the rules stand (deny rules). */
  readonly enforced?: boolean;
  readonly rules: readonly Rule[];
}

export interface Seen {
  readonly verdict: number;
  readonly mark: number;
  readonly packet: Uint8Array;
  readonly events: readonly Event[];
  readonly durationNs: number;
}

const HOOKS = ["from_container", "to_container", "from_netdev", "to_netdev", "from_overlay", "from_host"] as const;
export type ProgramName = (typeof HOOKS)[number];

export interface RunOptions extends Omit<SkbContext, "ifindex" | "ingressIfindex"> {
  /** Pod on whose device the hook stands. */
  readonly at?: Pod;
  /** Pod (or ifindex) on whose device the packet came into the stack. */
  readonly cameFrom?: Pod | number;
  /** Runs of the same packet; once when absent. */
  readonly repeat?: number;
  /** Leaves the events in the ring. */
  readonly quiet?: boolean;
  /** What the outer headers said (from_overlay). */
  readonly outer?: { readonly source: string; readonly vni: number };
}

export const DEFAULT_INGRESS = 900;
export const DEFAULT_EGRESS = 901;

function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const view = new DataView(new ArrayBuffer(codec.size));
  codec.encode(value, view);
  return new Uint8Array(view.buffer);
}

function decode<T>(codec: Codec<T>, data: Uint8Array): T {
  return codec.decode(new DataView(data.buffer, data.byteOffset, data.byteLength));
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

const macBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(":", ""), "hex"));
const addressKey = (text: string): Uint8Array => encode(addressCodec, { bytes: parseAddress(text) });

export class World {
  readonly #port = new LibbpfPort();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #events: RingBufferReader<Event>;
  readonly #generations = new Map<number, Subject>();
  readonly #scratchSize: number;
  readonly #tunnelAt: number;
  readonly #saysDevice: boolean;
  readonly #saysOuter: boolean;
  #nextGeneration = 1;

  /** @param flows size of the table; @param sizes of other tables; @param options further options of the programs. */
  constructor({ flows = 64, sizes = {}, options = {} }: { readonly flows?: number; readonly sizes?: Readonly<Record<string, number>>; readonly options?: Readonly<Record<string, number | bigint>> } = {}) {
    const root = join(import.meta.dirname, "../../..");
    execFileSync("make", ["-s", "bpf", "build/bpf-test/outer.o"], { cwd: root });
    const rodata = {
      config_vxlan_ifindex: VXLAN_IFINDEX, config_tunnel_mtu: TUNNEL_MTU,
      config_router_ipv4: parseAddress(self.router4), config_router_ipv6: parseAddress(self.router6),
      config_event_step_ns: 0n, // rows want to hear of every packet
      ...kernelOptions(this.#port),
      ...options,
    };
    const maxEntries = { ipcache: 1024, policy: 1024, blocks: 64, flows, interfaces: 16, endpoints: 16, events: 1 << 16, ...sizes };
    for (const name of ["from_container", "to_container", "netdev", "overlay", "host", "socket"]) this.#load(join(root, "build/bpf", `${name}.o`), { rodata, maxEntries });
    this.#load(join(root, "build/bpf/stub.o"), { maxEntries });
    this.#load(join(root, "build/bpf-test/outer.o"), { maxEntries: {} });
    this.fillHooks();
    ({ size: this.#scratchSize, tunnelAt: this.#tunnelAt } = scratchLayout(join(root, "build/bpf/from_container.o")));
    this.#events = new RingBufferReader(this.#port, "events", (record) => eventCodec.decode(record));
    this.#saysDevice = this.#canSayDevice();
    this.#saysOuter = this.#canSayOuter();
    this.#events.take(1000);
    this.reset();
  }

  #load(file: string, options: { rodata?: Record<string, number | bigint | Uint8Array>; maxEntries: Record<string, number> }): void {
    for (const [name, program] of this.#port.load({ file, ...options }).programs) this.#programs.set(name, program);
  }

  fillHooks(): void {
    for (const name of HOOKS) this.map("hooks").update(u32(Hook[name.toUpperCase() as keyof typeof Hook]), u32(this.program(name).fd));
  }

  emptyHooks(): void {
    for (const name of HOOKS) this.map("hooks").delete(u32(Hook[name.toUpperCase() as keyof typeof Hook]));
  }

  program(name: string): BpfProgram {
    const program = this.#programs.get(name);
    if (program === undefined) throw new Error(`no program ${name}`);
    return program;
  }

  map(name: string): LibbpfMap {
    const map = this.#port.map(name);
    if (map === undefined) throw new Error(`no map ${name}`);
    return map;
  }

  clear(name: string): void {
    const map = this.map(name);
    for (const [key] of [...map.entries()]) map.delete(key);
  }

  /** The cast as it is at the start of every row: nothing enforced, no flows. */
  reset(): void {
    for (const name of ["interfaces", "endpoints", "ipcache", "cidrs", "subjects", "policy", "blocks", "flows", "fragments", "nodes", "metrics", "rule_hits"]) this.clear(name);
    for (const one of [a, b]) {
      this.endpoint(one);
      this.subject(one, {});
      this.peer(one.ipv4, { identity: one.identity });
      this.peer(one.ipv6, { identity: one.identity });
    }
    this.reach(PEER_TUNNEL, other.ipv4);
    for (const address of [self.ipv4, self.ipv6]) this.peer(address, { identity: 1 });
    for (const address of [self.router4, self.router6]) this.peer(address, { identity: 1, flags: PEER_ROUTER });
    for (const address of [other.ipv4, other.ipv6]) this.peer(address, { identity: 6 });
    for (const cidr of ["10.1.0.0/16", "fd00:1::/64"]) this.cidr(cidr, { identity: 0, flags: PEER_POD_CIDR });
    for (const address of [other.ipv4, other.ipv6]) {
      this.map("nodes").update(addressKey(address), encode(nodeCodec, { address: parseAddress(other.ipv4), routerIpv4: parseAddress(other.router4), routerIpv6: parseAddress(other.router6) }));
    }
    for (const [name, key] of [["host", 0], ["quotas", QUOTA_HOST]] as const) this.map(name).update(u32(key), new Uint8Array(8));
    for (const [name, key, value] of [["underlays", UNDERLAY_IFINDEX, 1], ["encryption", 0, 0]] as const) this.map(name).update(u32(key), u32(value));
    this.#events.take(10_000);
  }

  /** The other node's entry as a version wrote it that knew one address of each, after its takeover. */
  formerNode(): void {
    this.map("nodes").update(addressKey(other.ipv4), encode(nodeCodec, { address: new Uint8Array(16), routerIpv4: parseAddress(other.router4), routerIpv6: parseAddress(other.router6) }));
  }

  /** From here on the underlay's routes lead to the other node's pods. */
  goNative(): void {
    this.reach(PEER_DIRECT);
  }

  /** How the other node's pods and routers are reached and believed; without `node` not through the tunnel. */
  reach(flags: number, node = "::"): void {
    for (const address of [remote.ipv4, remote.ipv6]) this.peer(address, { identity: remote.identity, flags, node });
    for (const address of [other.router4, other.router6]) this.peer(address, { identity: 6, flags: flags | PEER_ROUTER, node });
    for (const cidr of ["10.2.0.0/16", "fd00:2::/64"]) this.cidr(cidr, { identity: 0, flags: flags | PEER_POD_CIDR, node });
  }

  endpoint(one: Pod, changes: Partial<Endpoint> = {}): void {
    const value = encode(endpointCodec, {
      ifindex: one.ifindex, identity: one.identity, subject: one.id, ports: 0, id: one.id, mtu: TUNNEL_MTU, flags: ENDPOINT_READY,
      mac: macBytes(one.mac), hostMac: macBytes(one.hostMac), ipv4: parseAddress(one.ipv4), ipv6: parseAddress(one.ipv6), ...changes,
    });
    this.map("interfaces").update(u32(one.ifindex), value);
    this.map("endpoints").update(addressKey(one.ipv4), value);
    this.map("endpoints").update(addressKey(one.ipv6), value);
  }

  peer(address: string, { identity, flags = 0, ports = 0, node }: Partial<Omit<Peer, "node">> & { readonly node?: string }): void {
    this.map("ipcache").update(addressKey(address), encode(peerCodec, { identity: identity ?? 0, flags, ports, node: node === undefined ? new Uint8Array(16) : parseAddress(node) }));
  }

  forgetPeer(address: string): void {
    this.map("ipcache").delete(addressKey(address));
  }

  cidr(text: string, { identity, flags = 0, node }: { readonly identity: number; readonly flags?: number; readonly node?: string }): void {
    const value = encode(peerCodec, { identity, flags, ports: 0, node: node === undefined ? new Uint8Array(16) : parseAddress(node) });
    this.map("cidrs").update(encode(cidrKeyCodec, parseCidr(text)), value);
  }

  /** Writes the pod's subject; whatever is not named stays as it was. The generation grows. */
  subject(one: Pod, changes: Partial<Subject>): void {
    const before = this.#generations.get(one.id);
    const fresh: Subject = {
      ruleSet: one.id, owner: one.identity, flags: 0, ingressDefault: 0, egressDefault: 0, ingressPorts: 0, egressPorts: 0, ingressEnforced: 0, egressEnforced: 0, audit: 0,
      ...(Object.keys(changes).length === 0 ? {} : before), ...changes, generation: this.#nextGeneration++,
    };
    this.#generations.set(one.id, fresh);
    this.map("subjects").update(u32(one.id), encode(subjectCodec, fresh));
  }

  ingress(one: Pod, rules: readonly Rule[], enforced = true): void {
    this.#rules(one, 0, rules);
    this.subject(one, { ingressEnforced: enforced ? 1 : 0, ingressDefault: enforced ? DEFAULT_INGRESS : 0, ingressPorts: portBits(rules) });
  }

  egress(one: Pod, rules: readonly Rule[], enforced = true): void {
    this.#rules(one, 1, rules);
    this.subject(one, { egressEnforced: enforced ? 1 : 0, egressDefault: enforced ? DEFAULT_EGRESS : 0, egressPorts: portBits(rules) });
  }

  /** Classes of the pod's rule set for addresses, by CIDR; they count in both directions. */
  blocks(one: Pod, list: Readonly<Record<string, Partial<Block>>>): void {
    for (const [cidr, classes] of Object.entries(list)) {
      const { prefix, address } = parseCidr(cidr);
      this.map("blocks").update(encode(blockKeyCodec, { prefix: 32 + prefix, ruleSet: one.id, address }), encode(blockCodec, { world: 0, node: 0, pod: 0, ...classes }));
    }
    this.#flag(one, SUBJECT_INGRESS_BLOCKS | SUBJECT_EGRESS_BLOCKS);
  }

  /** The pod's egress rules name ports. */
  namesPorts(one: Pod): void {
    this.#flag(one, SUBJECT_NAMED_PORTS);
  }

  #flag(one: Pod, flag: number): void {
    this.subject(one, { flags: (this.#generations.get(one.id)?.flags ?? 0) | flag });
  }

  #rules(one: Pod, direction: number, rules: readonly Rule[]): void {
    const policy = this.map("policy");
    for (const [key] of [...policy.entries()]) {
      const known = decode(policyKeyCodec, key);
      if (known.ruleSet === one.id && known.direction === direction) policy.delete(key);
    }
    for (const rule of rules) {
      const portPrefix = prefixOf(rule);
      const key = encode(policyKeyCodec, { tier: rule.admin === true ? Tier.ADMIN : Tier.POLICIES, ruleSet: one.id, direction, peer: rule.peer ?? 0, protocol: rule.protocol ?? 0, port: rule.port ?? 0, portPrefix });
      policy.update(key, encode(policyEntryCodec, { precedence: rule.precedence ?? 1, rule: rule.rule, proxyPort: 0, verdict: rule.verdict ?? 0 }));
    }
    if (rules.some(({ admin }) => admin)) this.#flag(one, direction === 0 ? SUBJECT_INGRESS_ADMIN : SUBJECT_EGRESS_ADMIN);
  }

  flows(): (FlowKey & FlowState)[] {
    return [...this.map("flows").entries()].map(([key, value]) => ({ ...decode(flowKeyCodec, key), ...decode(flowStateCodec, value) }));
  }

  changeFlows(change: (state: FlowState) => Partial<FlowState>): void {
    for (const [key, value] of [...this.map("flows").entries()]) {
      const state = decode(flowStateCodec, value);
      this.map("flows").update(key, encode(flowStateCodec, { ...state, ...change(state) }));
    }
  }

  /** Deletes flows as the agent's collector does. */
  collector(): FlowCollector {
    return new FlowCollector(this.map("flows"));
  }

  /** Seconds that the only flow has left, from this second on. */
  lifetime(): number {
    const [flow] = this.flows();
    if (flow === undefined) throw new Error("no flow");
    const now = Number(process.hrtime.bigint() / 1_000_000_000n);
    const left = flow.expires - now;
    return left % 10 === 9 ? left + 1 : left; // the second may have turned since
  }

  /** What is free is taken by flows that nobody answered. */
  fillFlows(expires = 4_000_000_000): void {
    const state = encode(flowStateCodec, { expires, flags: 0, sourceIdentity: 0, destinationIdentity: 0, sourceGeneration: 0, destinationGeneration: 0, egressRule: 0, ingressRule: 0, quota: 0, moved: 0, packets: 0n, bytes: 0n });
    for (let port = this.map("flows").maxEntries - this.flows().length; port > 0; port--) {
      this.map("flows").update(encode(flowKeyCodec, { low: new Uint8Array(16), high: new Uint8Array(16), lowPort: port, highPort: 0, protocol: 6, zone: 0 }), state);
    }
  }

  /** No endpoint owes anything. */
  clearQuotas(): void {
    for (const one of [a, b]) for (const direction of [0, 1]) this.map("quotas").update(u32(one.id * 2 + direction), new Uint8Array(8));
  }

  /** As if so many seconds lay between. */
  moveQuotas(seconds: number): void {
    for (const one of [a, b]) {
      for (const direction of [0, 1]) {
        const key = u32(one.id * 2 + direction);
        const { paidNs } = decode(quotaCodec, this.map("quotas").lookup(key) ?? new Uint8Array(8));
        if (paidNs !== 0n) this.map("quotas").update(key, encode(quotaCodec, { paidNs: paidNs + BigInt(seconds) * 1_000_000_000n }));
      }
    }
  }

  /** What the last run gave to bpf_skb_set_tunnel_key, read from the programs' scratch memory: a test run does
   * not return tunnel metadata. */
  tunnel(): { readonly vni: number; readonly remote: string } {
    const value = this.map("scratch").lookup(u32(0)) ?? new Uint8Array(0);
    const keys = perCpu(value, this.#scratchSize, (view, at) => ({ vni: view.getUint32(at + this.#tunnelAt, true), remote: view.getUint32(at + this.#tunnelAt + 4, true) }));
    const used = keys.find(({ vni }) => vni !== 0);
    if (used === undefined) throw new Error("no tunnel key was set");
    return { vni: used.vni, remote: [24, 16, 8, 0].map((shift) => (used.remote >>> shift) & 0xff).join(".") };
  }

  /** Leftovers of a run on another CPU would look like this one's. */
  #clearScratch(): void {
    this.map("scratch").update(u32(0), new Uint8Array(this.map("scratch").valueSize));
  }

  /** Why this kernel cannot run a packet with these options, where it cannot. */
  refusal({ cameFrom, outer }: RunOptions): string | undefined {
    if (cameFrom !== undefined && !this.#saysDevice) return "a test run of this kernel cannot say on which device the packet came in (ingress_ifindex)";
    if (outer !== undefined && !this.#saysOuter) return "this kernel cannot give a packet the outer address that the tunnel's receiver sees (local of bpf_tunnel_key)";
    return undefined;
  }

  #canSayDevice(): boolean {
    try {
      this.#port.testRun(this.program("stub_to_container"), new Uint8Array(64), { context: { ingressIfindex: LOOPBACK } });
      return true;
    } catch (error) {
      if (codeOf(error) === "EINVAL") return false;
      throw error;
    }
  }

  /** `arrive` ends with -1 where its helper refuses the key, else as from_overlay does, which never says that. */
  #canSayOuter(): boolean {
    this.map("outer").update(u32(0), outerValue(other.ipv4, 1));
    return this.#port.testRun(this.program("arrive"), new Uint8Array(64), { context: { ifindex: LOOPBACK } }).verdict !== -1;
  }

  run(name: ProgramName | `stub_${ProgramName}`, packet: Uint8Array, options: RunOptions = {}): Seen {
    const { at, cameFrom, outer, quiet = false, repeat = 1, ...context } = options;
    const here = at === undefined ? undefined : this.map("interfaces").lookup(u32(at.ifindex));
    if (here === undefined) this.map("interfaces").delete(u32(LOOPBACK));
    else this.map("interfaces").update(u32(LOOPBACK), here);
    this.#clearScratch();
    if (outer !== undefined) this.map("outer").update(u32(0), outerValue(outer.source, outer.vni));
    const program = this.program(outer === undefined ? name : "arrive");
    const ingressIfindex = typeof cameFrom === "object" ? cameFrom.ifindex : (cameFrom ?? 0);
    const runOptions = { context: { ...context, ifindex: LOOPBACK, ingressIfindex } };
    for (let done = 1; done < repeat; done++) this.#port.testRun(program, packet, runOptions); // the kernel's own repeat ends with EINTR
    return { ...this.#port.testRun(program, packet, runOptions), events: quiet ? [] : this.#events.take(100_000) };
  }

  close(): void {
    this.#events.close();
  }
}

const prefixOf = (rule: Rule): number => rule.prefix ?? (rule.port === undefined ? 0 : 16);
const portBits = (rules: readonly Rule[]): number => rules.reduce((bits, rule) => bits | (1 << prefixOf(rule)), 0);
