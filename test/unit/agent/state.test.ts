import { strict as assert } from "node:assert";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { acknowledgement } from "../../../src/agent/acknowledge.ts";
import { apiServerCandidates } from "../../../src/agent/api-server.ts";
import { podAddresses } from "../../../src/agent/objects.ts";
import type { PodRow } from "../../../src/agent/objects.ts";
import { loadConfig } from "../../../src/agent/config.ts";
import { Enforcer } from "../../../src/agent/enforcer.ts";
import type { Assignment } from "../../../src/agent/enforcer.ts";
import { KeptTable } from "../../../src/agent/kept-table.ts";
import { localNode } from "../../../src/agent/local-node.ts";
import { LocalState } from "../../../src/agent/local-state.ts";
import { reachingBy } from "../../../src/agent/reach.ts";
import type { Attachment } from "../../../src/cni/index.ts";
import { Identity } from "../../../src/kernel/gen/types.ts";
import type { NodeState } from "../../../src/compile/state.ts";
import type { Source, SourceListener } from "../../../src/kube/index.ts";
import { isTracked } from "../../../src/reconcile/index.ts";
import { OK } from "../../../src/lib/lifecycle.ts";
import type { Logger } from "../../../src/lib/log.ts";
import type { ApplyReport, DesiredState } from "../../../src/targets/index.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
const policy = (uid: string) => ({ kind: "CiliumNetworkPolicy" as const, namespace: "ns", name: uid, uid, generation: 1 });
const nodeState: NodeState = {
  subjects: new Map([[300, "aa"]]),
  ruleSets: new Map([["aa", { ingressDefault: 7, egressDefault: undefined, rules: [] }]]),
  selectors: new Map(),
  ruleNames: new Map([[7, { kind: "default-deny", direction: "ingress", policies: [policy("u1"), policy("u2")], path: "" }]]),
  policies: new Map([["u1", 1]]),
  routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
};
const assignment: Assignment = { state: nodeState, revision: 5, hash: "h" };
const report = (more: Partial<ApplyReport> = {}): ApplyReport => ({ ok: true, parts: [], enforced: new Set([300]), withheldPeers: [], readyEndpoints: new Set(), ...more });
const local = { name: "a", uid: "n", internalIps: ["192.168.0.1"], routerIps: ["10.0.0.1"], podCidrs: ["10.0.0.0/24"] };
const attachment: Attachment = {
  containerId: "c", ifname: "eth0", netns: "/n", netnsId: "1:2", namespace: "ns", pod: "p", uid: "u", endpointId: 4, hostIfname: "lxc1", ipv4: "10.0.0.2", ipv6: undefined, identity: 300, step: "ready", hostIfindex: 9, mac: "m", hostMac: "h", mtu: 1450,
};

function moved({ peers }: DesiredState): string[] {
  assert.ok(isTracked(peers));
  return [...peers.take().keys()];
}

describe("local state", () => {
  it("gives the host the API server's label when its addresses say so, and takes it back", () => {
    const sources = { identities: new Map([["300", { id: 300, labels: new Map([["k8s:app", "a"]]) }]]), nodes: new Map(), apiServers: new Map<string, string[]>(), areApiServersKnown: () => true, endpoints: new Map(), attachments: new Map<string, Attachment>(), pods: new Map<string, PodRow>() };
    const state = new LocalState(local, sources, reachingBy("tunnel"));
    const labels = () => [Identity.HOST, 300].map((number) => state.desired(nodeState, true).identities.get(number));
    assert.deepEqual(labels(), [undefined, ["k8s:app=a"]]);
    const before = state.identities;
    state.moved("nodes");
    assert.equal(state.identities, before, "the same as long as nothing else is meant");
    for (const [addresses, host] of [[["192.168.0.1"], ["reserved:host", "reserved:kube-apiserver"]], [["203.0.113.1"], undefined]] as const) {
      sources.apiServers.set("kubernetes", [...addresses]);
      state.moved("nodes");
      assert.deepEqual(labels(), [host, ["k8s:app=a"]]);
    }
  });

  it("keeps the reference of every part that did not move", () => {
    const sources = { identities: new Map(), nodes: new Map(), apiServers: new Map<string, string[]>(), areApiServersKnown: () => true, endpoints: new Map(), attachments: new Map<string, Attachment>(), pods: new Map<string, PodRow>() };
    const state = new LocalState(local, sources, reachingBy("tunnel"));
    const first = state.desired(nodeState, false);
    const second = state.desired(nodeState, true);
    for (const part of ["identities", "endpoints", "peers", "cidrs", "nodes"] as const) assert.equal(second[part], first[part], part);
    moved(second);
    assert.deepEqual(moved(state.desired(nodeState, true)), [], "peers are one object, which tells what moved");
    sources.attachments.set("c", attachment);
    state.moved("attachments");
    const third = state.desired(nodeState, true);
    assert.notEqual(third.endpoints, first.endpoints);
    assert.equal(third.cidrs, first.cidrs);
    assert.equal(third.identities, first.identities);
    assert.deepEqual(third.peers.get("10.0.0.2"), { identity: 300, node: undefined, flags: 0 });
    state.moved("nodes");
    assert.deepEqual(state.remoteCidrs, []);
    moved(third);
    sources.nodes.set("b", { name: "b", internalIps: ["192.168.0.2"], routerIps: [], podCidrs: [] });
    state.moved("nodes");
    assert.deepEqual(state.remoteCidrs, []);
    assert.ok(moved(state.desired(nodeState, true)).includes("192.168.0.2"), "also when someone else asked for the CIDRs first");
  });

  it("gives a pod's endpoint and addresses what the pod calls its ports, also once the pod is gone from the API server", () => {
    const namedPorts = [{ name: "http", port: 80, protocol: 6 }];
    const pod: PodRow = { namespace: "ns", name: "p", uid: "u", sandboxUid: "u", labels: {}, serviceAccount: "default", hostNetwork: false, finished: false, ips: [], namedPorts };
    const endpoints = new Map();
    const sources = { identities: new Map(), nodes: new Map(), apiServers: new Map(), areApiServersKnown: () => true, endpoints, attachments: new Map([["c", attachment]]), pods: new Map([["ns/p", pod]]) };
    const state = new LocalState(local, sources, reachingBy("tunnel"));
    const seen = (): unknown[] => {
      state.moved("attachments");
      const { endpoints: rows, peers } = state.desired(nodeState, true);
      return [rows.get("c")?.namedPorts, peers.get("10.0.0.2")?.namedPorts];
    };
    assert.deepEqual(seen(), [namedPorts, namedPorts]);
    sources.pods.set("ns/p", { ...pod, uid: "another" });
    assert.deepEqual(seen(), [undefined, undefined]);
    endpoints.set("ns/p", { key: "ns/p", identity: 300, ips: [], nodeName: "a", written: 1, namedPorts, own: { ownerUid: "u" } });
    assert.deepEqual(seen(), [namedPorts, namedPorts]);
  });

  it("knows the named ports of a pod that only its admission has seen, before the pod is listed", () => {
    const namedPorts = [{ name: "http", port: 80, protocol: 6 }];
    const sources = { identities: new Map(), nodes: new Map(), apiServers: new Map<string, string[]>(), areApiServersKnown: () => true, endpoints: new Map(), attachments: new Map([["c", { ...attachment, namedPorts }]]), pods: new Map<string, PodRow>() };
    const { endpoints, peers } = new LocalState(local, sources, reachingBy("tunnel")).desired(nodeState, true);
    assert.deepEqual([endpoints.get("c")?.namedPorts, peers.get("10.0.0.2")?.namedPorts], [namedPorts, namedPorts]);
  });
});

function busy(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

describe("enforcer", () => {
  beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
  afterEach(() => mock.timers.reset());

  function enforcer(options: { usable?: boolean; reports?: ApplyReport[]; slowMs?: number } = {}) {
    const applied: DesiredState[] = [];
    const flags = { usable: options.usable ?? true };
    const reports = options.reports ?? [];
    const made = new Enforcer({
      applier: { apply: (desired) => (busy(options.slowMs ?? 0), applied.push(desired), reports.shift() ?? report()), sweep: () => 0, invalidate: () => undefined, entries: () => new Map() },
      state: new LocalState(local, { identities: new Map(), nodes: new Map(), apiServers: new Map<string, string[]>(), areApiServersKnown: () => true, endpoints: new Map(), attachments: new Map(), pods: new Map() }, reachingBy("tunnel")),
      logger: silent, isUsable: () => flags.usable, isSynced: () => false, onReport: () => undefined,
    });
    return { made, applied, flags };
  }

  it("applies a burst of changes once", () => {
    const { made, applied } = enforcer();
    made.assign(assignment);
    for (let i = 0; i < 10; i++) made.touch();
    mock.timers.tick(10);
    assert.equal(applied.length, 1);
    assert.equal(made.isEnforced(300), true);
    assert.equal(made.isEnforced(301), false);
  });

  it("lets changes of other nodes' pods wait the longer the longer they take, and nothing else for them", () => {
    const { made, applied } = enforcer({ slowMs: 30 });
    made.assign(assignment);
    made.touchPeers();
    mock.timers.tick(5);
    assert.equal(applied.length, 1);
    made.touchPeers();
    mock.timers.tick(100);
    assert.equal(applied.length, 1, "four times 30 ms have not passed");
    made.touch();
    mock.timers.tick(5);
    assert.equal(applied.length, 2, "another change does not wait");
    mock.timers.tick(2000);
    assert.equal(applied.length, 2, "what it took along is done");
  });

  it("does not touch the kernel before enough is known: what an earlier process wrote stays", () => {
    const { made, applied, flags } = enforcer({ usable: false });
    assert.equal(made.applyNow(), undefined);
    made.assign(assignment);
    mock.timers.tick(10);
    assert.equal(applied.length, 0);
    flags.usable = true;
    assert.ok(made.applyNow() !== undefined);
  });

  it("tries again what the kernel refused", () => {
    const failed = report({ ok: false, parts: [{ part: "policy", ok: false, written: 0, removed: 0, failures: [{ subject: "x", identities: [300], error: new Error("full") }] }] });
    const { made, applied } = enforcer({ reports: [failed, failed] });
    made.assign(assignment);
    mock.timers.tick(5);
    assert.equal(applied.length, 1);
    mock.timers.tick(1_000);
    mock.timers.tick(1_000);
    assert.ok(applied.length >= 3);
  });
});

describe("acknowledgement", () => {
  it("names the policies of identities that failed, and only when it knows all of them", () => {
    const failure = { subject: "identity 300", identities: [300], error: new Error("map is full") };
    const part = { part: "policy" as const, ok: false, written: 0, removed: 0, failures: [failure] };
    assert.deepEqual(acknowledgement(assignment, report(), "n", undefined), { appliedRevision: 5, appliedHash: "h", nodeUID: "n", formats: [1, 2, 3, 4, 5, 6, 7, 8] });
    const waiting = acknowledgement(assignment, report({ enforced: new Set() }), "n", undefined);
    assert.match(waiting.failures?.[0]?.message ?? "", /1 identities keep their earlier rules until the API server has listed all/, "no failure, and not in force either");
    const named = acknowledgement(assignment, report({ ok: false, parts: [part] }), "n", undefined);
    assert.deepEqual(named.failedPolicies, ["u1", "u2"]);
    assert.deepEqual(named.failures, [{ part: "policy", message: "identity 300: map is full" }]);
    const unnamed = acknowledgement(assignment, report({ ok: false, parts: [part, { ...part, part: "ipcache", failures: [{ ...failure, identities: [] }] }] }), "n", undefined);
    assert.equal(unnamed.failedPolicies, undefined);
    assert.match(acknowledgement(assignment, report(), "n", { part: "node-state", message: "format 2" }).failures?.[0]?.message ?? "", /format 2/);
  });
});

class FakeSource implements Source<number> {
  readonly name = "fake";
  synced = false;
  readonly objects = new Map<string, number>();
  readonly #listeners: SourceListener<number>[] = [];
  subscribe(listener: SourceListener<number>): () => void {
    this.#listeners.push(listener);
    return () => undefined;
  }
  async whenSynced(): Promise<void> {}
  health() {
    return OK;
  }
  set(key: string, value: number): void {
    const previous = this.objects.get(key);
    this.objects.set(key, value);
    for (const listener of this.#listeners) listener.changed(key, value, previous);
  }
  sync(): void {
    this.synced = true;
    for (const listener of this.#listeners) listener.synced?.();
  }
}

describe("files of the agent", () => {
  let folder = "";
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "cilium-agent-"))));
  // A table that nobody awaits may still be writing.
  afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));

  it("a table serves what was kept until the API server has told all", async () => {
    const file = join(folder, "t.json");
    const table = (source: FakeSource): KeptTable<number> => new KeptTable({ name: "t", source, file, logger: silent, toJson: (row) => row, fromJson: (value: never) => value });
    const first = table(new FakeSource());
    await first.start();
    assert.equal(first.isUsable, false);
    await writeFile(file, JSON.stringify({ format: 1, rows: [["old", 1], ["both", 2]] }));
    const source = new FakeSource();
    const second = table(source);
    await second.start();
    const events: string[] = [];
    second.subscribe({ changed: (key, value) => void events.push(`${key}=${value}`), synced: () => void events.push("synced") });
    assert.equal(second.isUsable, true);
    source.set("both", 3);
    source.set("new", 4);
    assert.deepEqual([...second.objects], [["old", 1], ["both", 3], ["new", 4]]);
    source.sync();
    assert.deepEqual([...second.objects.keys()], ["both", "new"]);
    assert.deepEqual(events, ["old=1", "both=2", "both=3", "new=4", "old=undefined", "synced"]);
    await writeFile(file, "{");
    const third = table(new FakeSource());
    await third.start();
    assert.equal(third.isUsable, false);
  });

  it("finds the API server without a service load balancer", async () => {
    const kubeconfig = join(folder, "kubelet.conf");
    await writeFile(kubeconfig, "current-context: b\ncontexts: [{name: a, context: {cluster: one}}, {name: b, context: {cluster: two}}]\nclusters: [{name: one, cluster: {server: 'https://one:1'}}, {name: two, cluster: {server: 'https://two:2'}}]\n");
    await writeFile(join(folder, "broken"), "{{");
    const sources = { configured: undefined, lastGoodFile: join(folder, "apiserver"), kubeconfigs: [join(folder, "absent"), join(folder, "broken"), kubeconfig], service: "https://10.96.0.1:443" };
    assert.deepEqual(await apiServerCandidates(sources), ["https://two:2", "https://10.96.0.1:443"]);
    await writeFile(join(folder, "apiserver"), "https://last:3\n");
    assert.deepEqual(await apiServerCandidates(sources), ["https://last:3", "https://two:2", "https://10.96.0.1:443"]);
    assert.deepEqual(await apiServerCandidates({ ...sources, configured: "https://set:4" }), ["https://set:4"]);
  });

  it("reads its settings, and names the one that is wrong", async () => {
    const environment = { NODE_NAME: "n1", KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const defaults = loadConfig({ directory: folder, environment });
    assert.equal(defaults.apiServerOfService, "https://[fd00::1]:443");
    assert.equal(defaults.routing.tunnelPort, 8472);
    assert.deepEqual(defaults.devices, []);
    for (const [key, value] of [["enable-ipv4", "yes"], ["tunnel-port", "0"], ["tunnel-port", "1e3"], ["routing-mode", "bgp"], ["auto-direct-node-routes", "true"], ["ipv4-native-routing-cidr", "fd00::/8"], ["non-masquerade-cidrs", "10.0.0.0"], ["log-level", "loud"], ["cni-conf-path", "etc"]] as const) {
      await writeFile(join(folder, key), value);
      assert.throws(() => loadConfig({ directory: folder, environment }), new RegExp(key));
      await rm(join(folder, key));
    }
    assert.throws(() => loadConfig({ directory: folder, environment: {} }), /NODE_NAME/);
    await writeFile(join(folder, "devices"), "eth0, eth1\n");
    assert.deepEqual(loadConfig({ directory: folder, environment }).devices, ["eth0", "eth1"]);
    assert.equal(await readFile(join(folder, "devices"), "utf8"), "eth0, eth1\n");
  });

  it("knows the node only when it has an address and a pod CIDR of a family that is on", () => {
    const row = { name: "a", uid: "u", podCidrs: ["10.0.0.0/24", "fd00::/64"], internalIps: ["192.168.0.1"] };
    assert.deepEqual(localNode(row, { enableIPv4: true, enableIPv6: true })?.routerIps, ["10.0.0.1", "fd00::1"]);
    assert.deepEqual(localNode(row, { enableIPv4: true, enableIPv6: false })?.podCidrs, ["10.0.0.0/24"]);
    assert.equal(localNode({ ...row, podCidrs: [] }, { enableIPv4: true, enableIPv6: true }), undefined);
    assert.equal(localNode({ ...row, internalIps: [] }, { enableIPv4: true, enableIPv6: true }), undefined);
  });
});

describe("addresses of this node's pods", () => {
  it("are those of pods with a network of their own, however they are written", () => {
    const pod = { namespace: "ns", name: "p", uid: "u", sandboxUid: "u", labels: {}, serviceAccount: "default", hostNetwork: false, finished: false, ips: ["10.0.0.5", "FD00:0::5", "junk"] };
    assert.deepEqual([...podAddresses([pod, { ...pod, hostNetwork: true, ips: ["192.168.0.1"] }, { ...pod, finished: true, ips: ["10.0.0.6"] }])], [["10.0.0.5", "u"], ["fd00::5", "u"]]);
  });
});
