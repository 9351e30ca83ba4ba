/** The addresses of all pods, followed one change at a time, are what they would be were they put together anew. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { EndpointObjectRow } from "../../../src/agent/endpoint-rows.ts";
import { LocalState } from "../../../src/agent/local-state.ts";
import { reachingBy } from "../../../src/agent/reach.ts";
import type { CiliumNodeRow, IdentityRow } from "../../../src/agent/objects.ts";
import type { Attachment } from "../../../src/cni/index.ts";
import type { NodeState } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import * as types from "../../../src/kernel/gen/types.ts";
import { formatAddress } from "../../../src/lib/ip.ts";
import { MapApplier } from "../../../src/targets/index.ts";
import type { ApplyReport, MapName } from "../../../src/targets/index.ts";
import { viewOf } from "../../../src/targets/map-target.ts";

const local = { name: "a", uid: "n", internalIps: ["192.168.0.1"], routerIps: ["10.0.0.1"], podCidrs: ["10.0.0.0/24"] };
const NODE_STATE: NodeState = {
  subjects: new Map(), ruleSets: new Map(), selectors: new Map(), ruleNames: new Map(), policies: new Map(),
  routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
};
const http = (port: number) => [{ name: "http", port, protocol: 6 }];
const attachment = { containerId: "c", namespace: "ns", pod: "p", uid: "u", endpointId: 4, identity: 301, hostIfindex: 9, mac: "0a:00:00:00:00:01", hostMac: "0a:00:00:00:00:02", mtu: 1450, ipv6: undefined } as unknown as Attachment;

/** Few names and addresses, so that objects contend for them. */
const endpoint = fc.record({
  kind: fc.constant("endpoint" as const), name: fc.constantFrom("x", "y", "z"), gone: fc.boolean(),
  ips: fc.subarray(["10.0.1.5", "10.0.2.5", "fd00:1::5", "10.0.0.9", "192.168.0.2", "junk"]), nodeName: fc.constantFrom("a", "b", "c"),
  identity: fc.constantFrom(0, 301, 302, 303), written: fc.integer({ min: 1, max: 2 }), namedPorts: fc.constantFrom(undefined, http(80), http(88)),
});
const node = fc.record({ kind: fc.constant("node" as const), name: fc.constantFrom("b", "c"), gone: fc.boolean(), podCidrs: fc.subarray(["10.0.1.0/24", "10.0.2.0/24", "fd00:1::/64"]), ip: fc.constantFrom("192.168.0.2", "192.168.0.3", "10.0.1.5") });
const identity = fc.record({ kind: fc.constant("identity" as const), id: fc.constantFrom(301, 302, 303), gone: fc.boolean() });
const attached = fc.record({ kind: fc.constant("attachment" as const), gone: fc.boolean(), ipv4: fc.constantFrom("10.0.0.9", "10.0.0.8") });
const apply = fc.constant({ kind: "apply" as const });
const events = fc.array(fc.oneof({ weight: 4, arbitrary: endpoint }, { weight: 2, arbitrary: node }, { weight: 2, arbitrary: identity }, attached, { weight: 3, arbitrary: apply }), { maxLength: 40 });
type Event = typeof events extends fc.Arbitrary<(infer E)[]> ? E : never;

class Agent {
  readonly sources = {
    identities: new Map<string, IdentityRow>(), nodes: new Map<string, CiliumNodeRow>(), apiServers: new Map(), endpoints: new Map<string, EndpointObjectRow>(), attachments: new Map<string, Attachment>(), pods: new Map(), areApiServersKnown: () => true,
  };
  readonly maps = kernel();
  readonly state = new LocalState(local, this.sources, reachingBy("tunnel"));
  readonly applier = applierOf(this.maps);
  /** Classes of named ports that some address has carried. */
  readonly classes = new Set<number>();

  constructor() {
    for (const id of [301, 302]) this.sources.identities.set(String(id), { id, labels: new Map() });
  }

  happens(event: Event): void {
    const { identities, nodes, endpoints, attachments } = this.sources;
    if (event.kind === "endpoint") {
      const { kind: _, gone, name, ...rest } = event;
      const key = `ns/${name}`;
      const previous = endpoints.get(key);
      const row = gone ? undefined : { key, own: undefined, ...rest };
      set(endpoints, key, row);
      this.state.endpointMoved(row, previous);
    } else if (event.kind === "node") {
      set(nodes, event.name, event.gone ? undefined : { name: event.name, internalIps: [event.ip], routerIps: [], podCidrs: event.podCidrs });
      this.state.moved("nodes");
    } else if (event.kind === "identity") {
      set(identities, String(event.id), event.gone ? undefined : { id: event.id, labels: new Map() });
      this.state.moved("identities");
    } else if (event.kind === "attachment") {
      set(attachments, "c", event.gone ? undefined : { ...attachment, ipv4: event.ipv4 });
      this.state.moved("attachments");
    } else {
      this.apply();
    }
  }

  apply(): ApplyReport {
    const report = this.applier.apply(this.state.desired(NODE_STATE, true));
    for (const { ports } of Object.values(ipcache(this.maps))) this.classes.add(ports);
    return report;
  }

  /** Another agent that sees the same for the first time, and what its kernel has. */
  anew(): { readonly state: LocalState; readonly maps: Kernel; readonly report: ApplyReport } {
    const [state, maps] = [new LocalState(local, this.sources, reachingBy("tunnel")), kernel()];
    return { state, maps, report: applierOf(maps).apply(state.desired(NODE_STATE, true)) };
  }
}

type Kernel = Record<MapName, FakeMap> & { writes: number };

function kernel(): Kernel {
  const size = { interfaces: [4, types.endpointCodec.size], endpoints: [16, types.endpointCodec.size], ipcache: [16, types.peerCodec.size], cidrs: [types.cidrKeyCodec.size, types.peerCodec.size], nodes: [16, types.nodeCodec.size], subjects: [4, types.subjectCodec.size], policy: [types.policyKeyCodec.size, types.policyEntryCodec.size], blocks: [types.blockKeyCodec.size, types.blockCodec.size], host: [4, types.hostCodec.size] } as const;
  const made = { writes: 0 } as Kernel;
  for (const [name, [keySize, valueSize]] of Object.entries(size)) made[name as MapName] = new FakeMap({ name, keySize, valueSize, onChange: () => made.writes++ });
  return made;
}

const applierOf = (maps: Kernel): MapApplier => new MapApplier({ maps, nowMs: () => 0, firstGeneration: 1, rememberOpen: () => undefined });

function set<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function ipcache({ ipcache: map }: Kernel): Record<string, types.Peer> {
  return Object.fromEntries([...map.entries()].map(([key, value]) => [formatAddress(key), types.peerCodec.decode(viewOf(value))] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const sorted = <T>(rows: Iterable<readonly [string, T]>): (readonly [string, T])[] => [...rows].sort(([a], [b]) => (a < b ? -1 : 1));

describe("addresses of the cluster", () => {
  it("after any sequence of changes are those that a new agent would find, in the state and in the kernel", () => {
    fc.assert(
      fc.property(events, (sequence) => {
        const agent = new Agent();
        for (const event of sequence) agent.happens(event);
        const report = agent.apply();
        const anew = agent.anew();
        assert.deepEqual(sorted(agent.state.desired(NODE_STATE, true).peers), sorted(anew.state.desired(NODE_STATE, true).peers));
        assert.deepEqual(ipcache(agent.maps), ipcache(anew.maps));
        assert.deepEqual([...report.withheldPeers].sort(), [...anew.report.withheldPeers].sort());
        assert.equal(agent.applier.entries().get("ipcache"), Object.keys(ipcache(agent.maps)).length);
        const carried = new Set(Object.values(ipcache(agent.maps)).map(({ ports }) => ports));
        for (const ports of agent.classes) assert.equal(agent.applier.portClass(ports) !== undefined, ports !== 0 && carried.has(ports), "a class is known as long as some pod has it");
      }),
      { numRuns: 600 },
    );
  });

  it("are never walked through for the one that moves", () => {
    const agent = new Agent();
    agent.happens({ kind: "node", name: "b", gone: false, podCidrs: ["10.0.1.0/24"], ip: "192.168.0.2" });
    const pod = { kind: "endpoint", gone: false, nodeName: "b", written: 1, namedPorts: undefined, identity: 301 } as const;
    for (const [host, name] of (["x", "y", "z"] as const).entries()) agent.happens({ ...pod, name, ips: [`10.0.1.${host + 5}`] });
    agent.apply();
    const walked = (): never => assert.fail("all addresses, or all objects, were walked through");
    Object.assign(agent.state.desired(NODE_STATE, true).peers, { keys: walked, [Symbol.iterator]: walked });
    Object.assign(agent.sources.endpoints, { values: walked, [Symbol.iterator]: walked });
    agent.happens({ ...pod, name: "z", ips: ["10.0.1.7"], identity: 302 });
    assert.ok(agent.applier.apply(agent.state.desired(NODE_STATE, true)).ok);
    assert.equal(ipcache(agent.maps)["10.0.1.7"]?.identity, 302);
  });

  it("of which one moves are one write, and those that stay are none", () => {
    const agent = new Agent();
    agent.happens({ kind: "node", name: "b", gone: false, podCidrs: ["10.0.1.0/24"], ip: "192.168.0.2" });
    const pod = { kind: "endpoint", gone: false, nodeName: "b", written: 1, namedPorts: undefined, identity: 301 } as const;
    for (const [host, name] of (["x", "y", "z"] as const).entries()) agent.happens({ ...pod, name, ips: [`10.0.1.${host + 5}`] });
    agent.apply();
    const before = agent.maps.writes;
    agent.apply();
    agent.happens({ kind: "node", name: "b", gone: false, podCidrs: ["10.0.1.0/24"], ip: "192.168.0.2" });
    agent.happens({ ...pod, name: "z", ips: ["10.0.1.7"], written: 2 });
    agent.apply();
    assert.equal(agent.maps.writes, before, "the same is said again");
    agent.happens({ ...pod, name: "z", ips: ["10.0.1.7"], identity: 302 });
    agent.apply();
    assert.equal(agent.maps.writes, before + 1);
    agent.happens({ ...pod, name: "y", gone: true, ips: [] });
    agent.apply();
    assert.equal(agent.maps.writes, before + 2);
    assert.deepEqual(Object.entries(ipcache(agent.maps)).filter(([ip]) => ip.startsWith("10.0.1.")).map(([ip, { identity: id }]) => [ip, id]), [["10.0.1.5", 301], ["10.0.1.7", 302]]);
  });
});
