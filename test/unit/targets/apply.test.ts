import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { NodeState, LabelPeers, RuleSet } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import * as types from "../../../src/kernel/gen/types.ts";
import { formatAddress } from "../../../src/lib/ip.ts";
import { MapApplier } from "../../../src/targets/apply.ts";
import type { DesiredState, EndpointRow, NamedPorts, PeerRow } from "../../../src/targets/index.ts";
import { viewOf } from "../../../src/targets/map-target.ts";
import { retain } from "../../../src/targets/retain.ts";
import { selects } from "../../../src/targets/resolve.ts";
import { Maps, PACKETS, expected, judge } from "./policy-model.ts";

const LABELS: ReadonlyMap<number, readonly string[]> = new Map([
  [256, ["k8s:app=a"]], [257, ["k8s:app=b"]], [301, ["k8s:app=a", "k8s:x="]], [302, ["k8s:app=b"]], [303, ["k8s:app=c"]],
]);
const SELECTORS: ReadonlyMap<string, LabelPeers> = new Map([
  ["s1", { kind: "labels", requirements: [{ key: "k8s:app", operator: "In", values: ["a"] }] }],
  ["s2", { kind: "labels", requirements: [{ key: "k8s:app", operator: "NotIn", values: ["a"] }] }],
]);
const rule = (id: number, peer: string | undefined, verdict: "allow" | "deny", port: number): RuleSet["rules"][number] => ({
  id, direction: "ingress", peer, ports: [{ protocol: 6, port, prefix: 16 }], verdict, precedence: verdict === "deny" ? 2 : 1,
});
const RULE_SETS: ReadonlyMap<string, RuleSet> = new Map([
  ["open", { ingressDefault: undefined, egressDefault: undefined, rules: [] }],
  ["a80", { ingressDefault: 7, egressDefault: undefined, rules: [rule(1, "s1", "allow", 80), rule(2, "s1", "allow", 443)] }],
  ["notA", { ingressDefault: undefined, egressDefault: undefined, rules: [rule(3, "s2", "deny", 80), rule(4, undefined, "allow", 80)] }],
]);

const endpoint = (id: number, identity: number): EndpointRow => ({
  id, ifindex: 10 + id, identity, mtu: 1450, mac: `0a:00:00:00:00:0${id}`, hostMac: `0a:00:00:00:01:0${id}`, ipv4: `10.0.0.${id}`, ipv6: `fd00::${id}`,
});
const peer = (identity: number): PeerRow => ({ identity, node: "192.168.0.2", flags: types.PEER_TUNNEL });

function nodeState(subjects: ReadonlyMap<number, string>, audits?: ReadonlyMap<number, string>): NodeState {
  return { subjects, ...(audits === undefined ? {} : { audits }), ruleSets: RULE_SETS, selectors: SELECTORS, ruleNames: new Map(), policies: new Map(), routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } };
}

const EMPTY: DesiredState = { nodeState: nodeState(new Map()), identities: new Map(), endpoints: new Map(), peers: new Map(), cidrs: new Map(), nodes: new Map(), synced: true };

const desired: fc.Arbitrary<DesiredState> = fc
  .record({
    known: fc.subarray([301, 302, 303]),
    local: fc.array(fc.constantFrom(undefined, ...RULE_SETS.keys()), { minLength: 2, maxLength: 2 }),
    audits: fc.array(fc.constantFrom(undefined, undefined, ...RULE_SETS.keys()), { minLength: 2, maxLength: 2 }),
    endpoints: fc.array(fc.constantFrom(undefined, 256, 257), { minLength: 3, maxLength: 3 }),
    peers: fc.array(fc.constantFrom(undefined, 301, 302, 303), { minLength: 3, maxLength: 3 }),
    nodes: fc.subarray(["192.168.0.2", "192.168.0.3"]),
  })
  .map(({ known, local, audits, endpoints, peers, nodes }) => ({
    nodeState: nodeState(new Map(local.flatMap((set, i) => (set === undefined ? [] : [[256 + i, set] as const]))), new Map(audits.flatMap((set, i) => (set === undefined || local[i] === undefined ? [] : [[256 + i, set] as const])))),
    identities: new Map([256, 257, ...known].map((identity) => [identity, LABELS.get(identity) ?? []])),
    endpoints: new Map(endpoints.flatMap((identity, i) => (identity === undefined ? [] : [[`c${i}`, endpoint(i + 1, identity)] as const]))),
    peers: new Map(peers.flatMap((identity, i) => (identity === undefined ? [] : [[`10.0.1.${i}`, peer(identity)] as const]))),
    cidrs: new Map(nodes.map((node, i) => [`10.0.${i + 1}.0/24`, { identity: 0, node, flags: types.PEER_POD_CIDR | types.PEER_TUNNEL }])),
    nodes: new Map(nodes.map((node, i) => [node, { address: node, routerIpv4: `10.0.${i + 1}.1`, routerIpv6: undefined }])),
    synced: true,
  }));

class Kernel {
  readonly policy: Maps;
  readonly maps: Record<"interfaces" | "endpoints" | "ipcache" | "cidrs" | "nodes" | "host", FakeMap>;
  /** Looks at everything after each single write. */
  watch: () => void = () => undefined;
  now = 0;
  writes = 0;

  constructor() {
    const onChange = (): void => {
      this.writes++;
      this.watch();
    };
    const make = (name: string, keySize: number, valueSize: number): FakeMap => new FakeMap({ name, keySize, valueSize, onChange });
    this.policy = new Maps(10_000, onChange);
    this.maps = {
      interfaces: make("interfaces", 4, types.endpointCodec.size),
      endpoints: make("endpoints", 16, types.endpointCodec.size),
      ipcache: make("ipcache", 16, types.peerCodec.size),
      cidrs: make("cidrs", types.cidrKeyCodec.size, types.peerCodec.size),
      nodes: make("nodes", 16, types.nodeCodec.size),
      host: make("host", 4, types.hostCodec.size),
    };
  }

  applier(): MapApplier {
    return new MapApplier({ maps: { ...this.maps, subjects: this.policy.subjects, policy: this.policy.policy, blocks: this.policy.blocks }, nowMs: () => this.now, firstGeneration: 1, rememberOpen: () => undefined });
  }

  endpoints(): types.Endpoint[] {
    return [...this.maps.interfaces.entries(), ...this.maps.endpoints.entries()].map(([, value]) => types.endpointCodec.decode(viewOf(value)));
  }

  peers(): Map<string, types.Peer> {
    return new Map([...this.maps.ipcache.entries()].map(([key, value]) => [formatAddress(key), types.peerCodec.decode(viewOf(value))]));
  }
}

function encodeSubject(subject: types.Subject): Uint8Array {
  const bytes = new Uint8Array(types.subjectCodec.size);
  types.subjectCodec.encode(subject, viewOf(bytes));
  return bytes;
}

function resolve({ identities }: DesiredState): ReadonlyMap<string, ReadonlySet<number>> {
  return new Map([...SELECTORS].map(([id, selector]) => [id, new Set([...identities].filter(([, labels]) => selects(selector, labels)).map(([identity]) => identity))]));
}

/** A subject's verdict on packets of a peer; a closed subject lets nothing pass. */
function verdict(state: DesiredState, identity: number, packet: (typeof PACKETS)[number]): boolean {
  const set = RULE_SETS.get(state.nodeState.subjects.get(identity) ?? "");
  return set !== undefined && expected(set, resolve(state), packet);
}

describe("MapApplier", () => {
  it("at every write: open endpoints have rules, and packets of every address are judged by the old or the new state", () => {
    fc.assert(
      fc.property(fc.array(desired, { minLength: 1, maxLength: 4 }), (states) => {
        const kernel = new Kernel();
        const applier = kernel.applier();
        let before = EMPTY;
        for (const next of states) {
          kernel.now += 1000;
          const effective = { ...next, nodeState: retain(next.nodeState, before.nodeState, [...next.endpoints.values()].map((row) => row.identity)) };
          kernel.watch = () => checkMoment(kernel, before, effective);
          const report = applier.apply(next);
          assert.deepEqual(report.parts.flatMap((part) => part.failures), []);
          checkEnd(kernel, next, report);
          before = effective;
        }
      }),
      { numRuns: 120 },
    );
  });

  it("does nothing the second time, nor after a restart", () => {
    fc.assert(
      fc.property(desired, desired, (first, last) => {
        const kernel = new Kernel();
        const applier = kernel.applier();
        applier.apply(first);
        applier.apply(last);
        kernel.now += 1000;
        applier.sweep();
        const writes = kernel.writes;
        applier.apply(last);
        applier.invalidate();
        applier.apply(last);
        assert.equal(kernel.writes, writes, "the same state writes nothing");
        kernel.applier().apply(last);
        const subjects = [...last.nodeState.subjects.keys()].sort();
        const pods = [...new Set([...last.endpoints.values()].map((row) => row.identity))].sort();
        // Slots are read back from pods; a rule set that outlives its subject is known in memory only.
        if (subjects.join() === pods.join()) assert.equal(kernel.writes, writes, "a restart writes nothing");
      }),
    );
  });

  it("what watches has a slot of its own that its owner names; a change of it judges flows again, and its end leaves nothing", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const state = (set: string, audit?: string): DesiredState => ({ ...EMPTY, nodeState: nodeState(new Map([[256, set]]), audit === undefined ? undefined : new Map([[256, audit]])), identities: LABELS, endpoints: new Map([["c1", endpoint(1, 256)]]) });
    const subject = (slot: number): types.Subject => kernel.policy.picture().subjects.get(slot) ?? assert.fail(`no slot ${slot}`);
    const own = (): types.Subject => subject(kernel.endpoints()[0]?.subject ?? 0);
    const passes = (slot: number, from: number): boolean => judge(slot, { direction: "ingress", peer: from, address: "10.0.1.2", scope: "pods", names: [], protocol: 6, port: 80 }, () => kernel.policy.picture());
    const report = applier.apply(state("open", "notA"));
    assert.deepEqual([...report.enforced], [256]);
    const { audit, generation } = own();
    assert.notEqual(audit, 0);
    assert.deepEqual([passes(kernel.endpoints()[0]?.subject ?? 0, 302), passes(audit, 302), passes(audit, 301)], [true, false, true]);
    applier.apply(state("open", "a80"));
    assert.equal(own().audit, audit);
    assert.ok(own().generation > generation, "flows are judged again, so that those are told that a change would cut");
    applier.apply(state("a80"));
    assert.equal(own().audit, 0);
    assert.equal(subject(audit).ruleSet, 0, "nobody names its slot any more: it is closed");
    kernel.now += 1000;
    applier.sweep();
    assert.deepEqual(new Set([...kernel.policy.picture().policy.keys()].map((key) => Number(key.split(":")[0]))), new Set([own().ruleSet]));
  });

  it("slots that a version wrote which kept no owners are nobody else's while a pod has them", () => {
    const kernel = new Kernel();
    const pods = new Map([["c1", endpoint(1, 256)], ["c2", endpoint(2, 257)]]);
    const state = (...subjects: (readonly [number, string])[]): DesiredState => ({ ...EMPTY, nodeState: nodeState(new Map(subjects)), identities: LABELS, endpoints: pods, peers: new Map([["10.0.1.2", peer(302)]]) });
    const before = state([256, "a80"], [257, "open"]);
    kernel.applier().apply(before);
    const { subjects } = kernel.policy;
    for (const [slot, value] of subjects.entries()) subjects.update(slot, encodeSubject({ ...types.subjectCodec.decode(viewOf(value)), owner: 0 }));
    const after = state([257, "open"], [256, "a80"]);
    kernel.watch = () => checkMoment(kernel, before, after);
    const applier = kernel.applier();
    const report = applier.apply(after);
    kernel.watch = () => undefined;
    checkEnd(kernel, after, report);
    kernel.now += 1000;
    applier.sweep();
    assert.equal([...kernel.policy.subjects.entries()].filter(([, value]) => types.subjectCodec.decode(viewOf(value)).ruleSet !== 0).length, 2, "slots without an owner are closed in the end");
  });

  it("keeps addresses of unknown identities out, and lets them in when the identity is known", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const state: DesiredState = { ...EMPTY, peers: new Map([["10.0.1.1", peer(301)], ["10.0.1.2", peer(types.Identity.REMOTE_NODE)]]) };
    assert.deepEqual(applier.apply(state).withheldPeers, ["10.0.1.1"]);
    assert.deepEqual([...kernel.peers().keys()], ["10.0.1.2"]);
    assert.deepEqual(applier.apply({ ...state, identities: new Map([[301, ["k8s:app=a"]]]) }).withheldPeers, []);
    assert.equal(kernel.peers().size, 2);
  });

  it("deletes nothing before everything is known", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const state: DesiredState = { ...EMPTY, nodeState: nodeState(new Map([[256, "a80"]])), identities: LABELS, endpoints: new Map([["c1", endpoint(1, 256)]]), peers: new Map([["10.0.1.1", peer(301)]]) };
    applier.apply(state);
    const [writes, restarted] = [kernel.writes, kernel.applier()];
    const report = restarted.apply({ ...EMPTY, synced: false });
    assert.equal(kernel.writes, writes);
    assert.equal(report.ok, true);
  });

  it("holds back the rules that deny kube-apiserver, and no others, while nobody has said where that is", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const selectors = new Map([...SELECTORS, ["api", { kind: "labels", requirements: [{ key: "reserved:kube-apiserver", operator: "Exists", values: [] }] }]] satisfies [string, LabelPeers][]);
    const sets = (verdict: "allow" | "deny"): NodeState["ruleSets"] => new Map([...RULE_SETS, ["named", { ingressDefault: undefined, egressDefault: 9, rules: [{ ...rule(5, "api", verdict, 6443), direction: "egress" }] }]]);
    const stateOf = (isApiServerUnknown: boolean, verdict: "allow" | "deny" = "deny"): DesiredState => ({
      ...EMPTY, isApiServerUnknown, identities: LABELS, endpoints: new Map([["c1", endpoint(1, 256)], ["c2", endpoint(2, 257)]]),
      nodeState: { ...nodeState(new Map([[256, "named"], [257, "a80"]])), ruleSets: sets(verdict), selectors },
    });
    const early = applier.apply(stateOf(true));
    assert.deepEqual([[...early.readyEndpoints], [...early.enforced]], [["c2"], [257]]);
    assert.match(early.parts.flatMap(({ failures }) => failures).map(({ subject, error }) => `${subject}: ${error.message}`).join(), /^identity 256: its rules deny kube-apiserver/);
    assert.deepEqual([...applier.apply(stateOf(false)).readyEndpoints], ["c1", "c2"]);
    assert.deepEqual([...applier.apply(stateOf(true)).readyEndpoints], ["c1", "c2"], "what is in force stays");
    assert.deepEqual([...new Kernel().applier().apply(stateOf(true, "allow")).readyEndpoints], ["c1", "c2"], "what allows it lets nothing pass meanwhile");
  });

  it("a rule set that means more than the map holds is refused before it is made, and the other subjects go on", () => {
    const kernel = new Kernel();
    const crowd = Array.from({ length: 5001 }, (_, at) => [1000 + at, LABELS.get(301) ?? []] as const);
    const report = kernel.applier().apply({ ...EMPTY, nodeState: nodeState(new Map([[256, "a80"], [257, "notA"]])), identities: new Map([...LABELS, ...crowd]), endpoints: new Map([["c1", endpoint(1, 256)], ["c2", endpoint(2, 257)]]) });
    const [failure] = report.parts.flatMap(({ failures }) => failures);
    assert.deepEqual([failure?.identities, failure?.error.message], [[256], "map policy needs more than 10000 entries, and has room for so many"]);
    assert.deepEqual([[...report.enforced], [...report.readyEndpoints]], [[257], ["c2"]], "two ports of 5,003 identities are too many for one");
  });

  it("keeps an endpoint closed until its identity has rules, and reports it", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const state: DesiredState = { ...EMPTY, identities: LABELS, endpoints: new Map([["c1", endpoint(1, 256)]]) };
    assert.deepEqual([...applier.apply(state).readyEndpoints], []);
    assert.ok(kernel.endpoints().every(({ flags, subject }) => flags === 0 && subject === 0));
    assert.deepEqual([...applier.apply({ ...state, nodeState: nodeState(new Map([[256, "open"]])) }).readyEndpoints], ["c1"]);
    assert.ok(kernel.endpoints().every(({ flags, subject }) => flags === types.ENDPOINT_READY && subject !== 0));
  });

  it("keeps a pod's rules, resolved against today's identities, when the node state drops its identity first", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const state: DesiredState = { ...EMPTY, nodeState: nodeState(new Map([[256, "notA"]])), identities: new Map([[256, ["k8s:app=a"]]]), endpoints: new Map([["c1", endpoint(1, 256)]]) };
    applier.apply(state);
    const report = applier.apply({ ...state, nodeState: nodeState(new Map()), identities: LABELS });
    assert.deepEqual([...report.readyEndpoints], ["c1"]);
    assert.deepEqual([...report.enforced], [], "but it is not counted as enforced");
    const subject = kernel.endpoints()[0]?.subject;
    assert.equal(judge(subject, { direction: "ingress", peer: 302, address: "10.0.1.2", scope: "pods", names: [], protocol: 6, port: 80 }, () => kernel.policy.picture()), false);
    const restarted = kernel.applier().apply({ ...state, nodeState: nodeState(new Map()), identities: LABELS });
    assert.deepEqual([...restarted.readyEndpoints], [], "rules that cannot be known after a restart close the pod");
  });

  it("judges each pod by what it calls its ports, as subject and as destination, at every write, and forgets a class that nobody has", () => {
    const kernel = new Kernel();
    const applier = kernel.applier();
    const byName = (id: number, direction: "ingress" | "egress", verdict: "allow" | "deny"): RuleSet["rules"][number] => ({ id, direction, peer: undefined, ports: [{ protocol: 6, name: "http" }], verdict, precedence: verdict === "deny" ? 2 : 1 });
    const state = nodeState(new Map([[256, "named"]]));
    const named = { ...state, ruleSets: new Map([["named", { ingressDefault: 7, egressDefault: undefined, rules: [byName(1, "ingress", "allow"), byName(2, "egress", "deny")] }]]) };
    const http = (port: number): NamedPorts => [{ name: "http", port, protocol: 6 }];
    const desiredWith = (identity: number): DesiredState => ({
      ...EMPTY, nodeState: named, identities: LABELS,
      endpoints: new Map([["c1", { ...endpoint(1, 256), namedPorts: http(80) }], ["c2", { ...endpoint(2, 256), namedPorts: http(88) }], ["c3", endpoint(3, 256)]]),
      peers: new Map([["10.0.1.1", { ...peer(identity), namedPorts: http(80) }], ["10.0.1.2", { ...peer(identity), namedPorts: http(88) }]]),
    });
    const passes = (id: number, direction: "ingress" | "egress", port: number, address = "10.0.1.1"): boolean => {
      const { subject } = kernel.endpoints().find((row) => row.id === id) as types.Endpoint;
      const { identity, ports } = kernel.peers().get(address) as types.Peer;
      return judge(subject, { direction, peer: identity, address, scope: "pods", names: [], protocol: 6, port }, () => kernel.policy.picture(), ports);
    };
    assert.deepEqual(applier.apply(desiredWith(301)).parts.flatMap((part) => part.failures), []);
    const checkEgress = (): void => {
      for (const [address, denied] of [["10.0.1.1", 80], ["10.0.1.2", 88]] as const) for (const port of [80, 88]) assert.equal(passes(3, "egress", port, address), port !== denied, `${address}:${port}`);
    };
    assert.deepEqual([1, 2, 3].map((id) => [80, 88].map((port) => passes(id, "ingress", port))), [[true, false], [false, true], [false, false]]);
    checkEgress();
    kernel.watch = checkEgress;
    const entries = kernel.policy.picture().policy.size;
    applier.apply(desiredWith(302)); // both pods' labels change
    kernel.now += 1000;
    applier.sweep();
    assert.equal(kernel.policy.picture().policy.size, entries, "the old classes' entries are gone");
    const writes = kernel.writes;
    kernel.applier().apply(desiredWith(302));
    assert.equal(kernel.writes, writes, "a restart gives the same numbers");
  });

  it("an address map without room: one failure with the numbers, what is there stays, and the rest follows when there is room", () => {
    const kernel = new Kernel();
    kernel.maps.ipcache = new FakeMap({ name: "ipcache", keySize: 16, valueSize: types.peerCodec.size, maxEntries: 4 });
    const applier = kernel.applier();
    const peers = (...hosts: number[]): DesiredState => ({ ...EMPTY, identities: LABELS, peers: new Map(hosts.map((host) => [`10.0.1.${host}`, peer(301)])) });
    applier.apply(peers(1, 2));
    const { parts } = applier.apply(peers(9, 8, 7, 6, 5, 4, 3, 2, 1));
    assert.deepEqual(parts.flatMap(({ failures }) => failures).map(({ subject, error }) => `${subject}: ${error.message}`), ["10.0.1.7, 10.0.1.6, 10.0.1.5 and 2 more: map ipcache needs 9 entries and has room for 4"]);
    assert.deepEqual([...kernel.peers().keys()].sort(), ["10.0.1.1", "10.0.1.2", "10.0.1.8", "10.0.1.9"]);
    assert.equal(applier.apply(peers(9, 8, 7, 6)).ok, true);
    assert.deepEqual([...kernel.peers().keys()].sort(), ["10.0.1.6", "10.0.1.7", "10.0.1.8", "10.0.1.9"]);
  });

  it("refuses a second endpoint with the same device or address, and bad rows, without harm to others", () => {
    const kernel = new Kernel();
    const state: DesiredState = {
      ...EMPTY,
      nodeState: nodeState(new Map([[256, "open"]])),
      identities: LABELS,
      endpoints: new Map([["a", endpoint(1, 256)], ["b", { ...endpoint(2, 256), ipv4: "10.0.0.1" }], ["c", endpoint(3, 256)]]),
      peers: new Map([["10.0.1.1", peer(301)], ["nonsense", peer(301)]]),
    };
    const report = kernel.applier().apply(state);
    assert.deepEqual(report.parts.flatMap((part) => part.failures.map((failure) => `${part.part} ${failure.subject}`)), ["endpoints b", "ipcache nonsense"]);
    assert.deepEqual([...report.readyEndpoints].sort(), ["a", "c"]);
    assert.deepEqual([...kernel.peers().keys()], ["10.0.1.1"]);
  });
});

function checkMoment(kernel: Kernel, before: DesiredState, next: DesiredState): void {
  const picture = kernel.policy.picture();
  const present = new Set([...kernel.peers().values()].map(({ identity }) => identity));
  for (const { identity, subject, flags } of kernel.endpoints()) {
    if (flags === 0) continue;
    assert.notEqual(picture.subjects.get(subject)?.ruleSet ?? 0, 0, "an open endpoint has rules");
    for (const packet of PACKETS) {
      if (!present.has(packet.peer)) continue;
      const now = judge(subject, packet, () => picture);
      const allowed = [verdict(before, identity, packet), verdict(next, identity, packet)];
      assert.ok(allowed.includes(now), `identity ${identity}, ${JSON.stringify(packet)}: ${now}`);
    }
  }
}

function checkEnd(kernel: Kernel, next: DesiredState, report: ReturnType<MapApplier["apply"]>): void {
  const withheld = new Set(report.withheldPeers);
  assert.deepEqual(new Set(kernel.peers().keys()), new Set([...next.peers.keys()].filter((address) => !withheld.has(address))));
  assert.equal([...kernel.maps.interfaces.entries()].length, next.endpoints.size);
  assert.equal([...kernel.maps.endpoints.entries()].length, 2 * next.endpoints.size);
  assert.equal([...kernel.maps.nodes.entries()].length, next.nodes.size);
  assert.equal([...kernel.maps.cidrs.entries()].length, next.cidrs.size);
  assert.deepEqual(report.enforced, new Set(next.nodeState.subjects.keys()));
}
