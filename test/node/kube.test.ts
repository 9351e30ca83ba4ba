/** src/kube and src/feed against a real API server. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { NodeState } from "../../src/compile/index.ts";
import { NodeStateReader, NodeStateWriter, manifestName } from "../../src/feed/index.ts";
import type { DeliveredState } from "../../src/feed/index.ts";
import { CILIUM_NODE_STATES, EVENTS, KubeEventRecorder, LEASES, LeaderElection, NAMESPACES, NODES, Reflector, isConflict, isNotFound } from "../../src/kube/index.ts";
import type { KubeClient, Leadership } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { clientOf, createNode, eventually, silent } from "../support/cluster-objects.ts";

const routing = { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } as const;
const stateOf = (subjects: readonly number[]): NodeState => ({
  subjects: new Map(subjects.map((identity) => [identity, "0000000000000001"])),
  ruleSets: new Map([["0000000000000001", { ingressDefault: undefined, egressDefault: undefined, rules: [] }]]),
  selectors: new Map(),
  ruleNames: new Map(),
  policies: new Map(),
  routing,
});

describe("a real API server", () => {
  let server: ApiServer;
  let client: KubeClient;
  const kubectl = (input: string, ...args: string[]) => spawnSync(server.kubectl, ["--kubeconfig", server.kubeconfig, ...args], { encoding: "utf8", input });

  before(async () => {
    server = await startApiServer({ users: ["nobody"] });
    client = clientOf(server.kubeconfig);
    for (const crd of ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumnodestates", "ciliumidentities", "ciliumendpoints", "ciliumnodes", "ciliumroutings", "ciliumencryptions"]) {
      const applied = kubectl("", "apply", "-f", join(import.meta.dirname, `../../crds/${crd}.yaml`));
      assert.equal(applied.status, 0, applied.stderr);
    }
    assert.equal(kubectl("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=10s").status, 0);
  });
  after(() => server.stop());

  test("create, get, replace, patch, delete; absence is undefined, a lost race a conflict", async () => {
    const created = await client.create(NAMESPACES, { metadata: { name: "one" } });
    assert.equal((await client.get(NAMESPACES, { name: "one" }))?.metadata.uid, created.metadata.uid);
    assert.equal(await client.get(NAMESPACES, { name: "absent" }), undefined);
    await assert.rejects(client.create(NAMESPACES, { metadata: { name: "one" } }), isConflict);
    await client.patch(NAMESPACES, { name: "one" }, { metadata: { labels: { a: "b" } } });
    await assert.rejects(client.replace(NAMESPACES, created), isConflict);
    await assert.rejects(client.patch(NAMESPACES, { name: "absent" }, {}), isNotFound);
    await client.delete(NAMESPACES, { name: "absent" });
  });

  test("a list longer than a page is whole", async () => {
    const names = Array.from({ length: 620 }, (_, index) => `ns-${index}`);
    for (let at = 0; at < names.length; at += 20) await Promise.all(names.slice(at, at + 20).map((name) => client.create(LEASES, { metadata: { namespace: "default", name } })));
    assert.equal((await client.list(LEASES, { namespace: "default" })).items.length, 620);
  });

  test("who may not list never syncs, and says why", async (context) => {
    const abort = new AbortController();
    context.after(() => abort.abort());
    const reflector = new Reflector({ type: NODES, transport: clientOf(server.kubeconfigOf("nobody")).transport, logger: silent, decode: () => true });
    await reflector.start(abort.signal);
    await sleep(500);
    assert.equal(reflector.synced, false);
    assert.match(reflector.health().message, /nodes is forbidden: User "nobody" cannot list|nodes is forbidden: User "nobody" cannot watch/);
  });

  test("a reflector follows through a restart of the API server, and misses nothing", async (context) => {
    const abort = new AbortController();
    context.after(() => abort.abort());
    const reflector = new Reflector({ type: NAMESPACES, transport: client.transport, logger: silent, decode: ({ metadata }) => metadata.labels?.["a"] ?? "" });
    await reflector.start(abort.signal);
    await reflector.whenSynced(AbortSignal.timeout(5000));
    assert.equal(reflector.objects.get("one"), "b");
    await server.kill();
    await sleep(300);
    assert.equal(reflector.objects.get("one"), "b");
    await server.restart();
    await client.patch(NAMESPACES, { name: "one" }, { metadata: { labels: { a: "c" } } });
    await eventually("the change", () => reflector.objects.get("one") === "c", 20_000);
  });

  test("the same event again raises its count", async () => {
    const recorder = new KubeEventRecorder(client, silent, "test", "test-1");
    const namespace = await client.get(NAMESPACES, { name: "one" });
    assert.ok(namespace);
    for (let times = 0; times < 3; times++) await recorder.record(NAMESPACES, namespace, "Warning", "Reason", "words");
    const { items } = await client.list(EVENTS, { namespace: "default" });
    assert.deepEqual(items.filter((event) => event.reason === "Reason").map((event) => [event.count, event.message]), [[3, "words"]]);
  });

  test("one of two candidates leads; when it stops, the other follows at once in the next term", async () => {
    const terms: string[] = [];
    let leading = 0;
    const candidate = (identity: string): LeaderElection =>
      new LeaderElection({
        client,
        logger: silent,
        namespace: "default",
        name: "lease",
        identity,
        retryMs: 50,
        lead: async ({ transitions, signal }: Leadership) => {
          assert.equal(++leading, 1);
          terms.push(`${identity}${transitions}`);
          while (!signal.aborted) await sleep(10, signal);
          leading--;
        },
      });
    const [a, b] = [candidate("a"), candidate("b")];
    await a.start(new AbortController().signal);
    await eventually("a leads", () => terms.length === 1);
    await b.start(new AbortController().signal);
    await sleep(300);
    assert.deepEqual(terms, ["a0"]);
    await a.stop();
    await eventually("b leads", () => terms.length === 2, 2000);
    assert.deepEqual(terms, ["a0", "b1"]);
    // Another takes the lease away: b stops by itself.
    const lease = await client.get(LEASES, { namespace: "default", name: "lease" });
    await client.patch(LEASES, { namespace: "default", name: "lease" }, { spec: { ...lease?.spec, holderIdentity: "c", leaseTransitions: 9 } });
    await eventually("b gives up", () => !b.leading, 2000);
    await b.stop();
  });

  test("node states: nothing is written twice, a deposed leader and a stale view write nothing", async () => {
    const nodeUid = await createNode(client, "n1");
    const target = { node: "n1", nodeUid, acknowledged: 0, transitions: 3, signal: new AbortController().signal };
    const first = new NodeStateWriter(client, silent);
    assert.equal((await first.write(target, stateOf([256]))).revision, 1);
    const version = async () => (await client.get(CILIUM_NODE_STATES, { name: manifestName("n1") }))?.metadata.resourceVersion;
    const before = await version();
    assert.equal((await first.write(target, stateOf([256]))).revision, 1);
    assert.equal((await new NodeStateWriter(client, silent).write({ ...target, transitions: 4 }, stateOf([256]))).revision, 1);
    assert.equal(await version(), before);
    const second = new NodeStateWriter(client, silent);
    assert.equal((await second.write({ ...target, transitions: 4 }, stateOf([256, 257]))).revision, 2);
    await assert.rejects(first.write(target, stateOf([1000])), isConflict);
    await assert.rejects(first.write(target, stateOf([1000])), { code: "DEPOSED" });
    // What the deposed one left behind goes with the first write of the next leader.
    await new NodeStateWriter(client, silent).write({ ...target, transitions: 5 }, stateOf([258]));
    const { items } = await client.list(CILIUM_NODE_STATES);
    assert.equal(items.filter((item) => item.part !== undefined).length, 1, "parts that no manifest names are removed");
  });

  test("node states: an operator that died between parts and manifest leaves a whole state", async () => {
    const nodeUid = await createNode(client, "n2");
    const target = { node: "n2", nodeUid, acknowledged: 0, transitions: 1, signal: new AbortController().signal };
    await new NodeStateWriter(client, silent).write(target, stateOf([256]));
    const dying = new Proxy(client, {
      get: (object, name) => (name === "replace" ? () => Promise.reject(new Error("killed")) : Reflect.get(object, name).bind?.(object)),
    });
    await assert.rejects(new NodeStateWriter(dying, silent).write(target, stateOf([300])), /killed/);
    const whole = async (): Promise<number> => {
      const manifest = (await client.get(CILIUM_NODE_STATES, { name: manifestName("n2") }))?.manifest;
      for (const { name } of manifest?.parts ?? []) assert.ok(await client.get(CILIUM_NODE_STATES, { name }));
      return manifest?.revision ?? 0;
    };
    assert.equal(await whole(), 1);
    await new NodeStateWriter(client, silent).write(target, stateOf([300]));
    assert.equal(await whole(), 2);
    const parts = (await client.list(CILIUM_NODE_STATES, { labelSelector: "cilium.io/node=n2" })).items.filter((item) => item.part !== undefined);
    assert.equal(parts.length, 1);
  });

  test("node states: a change is one write where the agent reads it so, objects where it does not, and the next operator knows both", async (context) => {
    const nodeUid = await createNode(client, "n3");
    const target = { node: "n3", nodeUid, acknowledged: 0, transitions: 1, signal: new AbortController().signal };
    const calls: string[] = [];
    const counting = new Proxy(client, {
      get: (object, name) => {
        const method = Reflect.get(object, name) as (...args: unknown[]) => unknown;
        return (...args: unknown[]) => (calls.push(String(name)), method.apply(object, args));
      },
    });
    const abort = new AbortController();
    const folder = await mkdtemp(join(tmpdir(), "cilium-feed-"));
    const delivered: DeliveredState[] = [];
    const reader = new NodeStateReader({
      transport: client.transport,
      logger: silent,
      node: "n3",
      nodeUid: () => nodeUid,
      path: join(folder, "state.json"),
      onState: (state) => delivered.push(state),
      onFailure: (failure) => assert.equal(failure, undefined),
      onSynced: () => undefined,
    });
    context.after(async () => { abort.abort(); await reader.stop(); await rm(folder, { recursive: true }); });
    await reader.start(abort.signal);
    const reads = async (revision: number, subjects: readonly number[]): Promise<void> => {
      const { state } = await eventually(`revision ${revision}`, () => delivered.find((each) => each.revision === revision));
      assert.deepEqual([...state.subjects.keys()], subjects);
    };
    const objects = async (): Promise<number> => (await client.list(CILIUM_NODE_STATES, { labelSelector: "cilium.io/node=n3" })).items.filter(({ part }) => part !== undefined).length;

    const writer = new NodeStateWriter(counting, silent);
    const carrying = { ...target, formats: [1, 2, 3] };
    assert.equal((await writer.write(carrying, stateOf([256]))).format, 3);
    const [first] = (await client.get(CILIUM_NODE_STATES, { name: manifestName("n3") }))?.manifest?.parts ?? [];
    assert.ok(first !== undefined && first.name !== `p-${first.hash}.n3`, "an operator that knows only objects takes it for one that is there");
    await reads(1, [256]);
    calls.length = 0;
    await writer.write(carrying, stateOf([256, 257]));
    assert.deepEqual(calls, ["replace"]);
    await reads(2, [256, 257]);
    assert.equal(await objects(), 0);
    // An older agent took its place: the same state, readable for it, by the same operator and by the next.
    assert.deepEqual(await writer.write({ ...target, formats: [1, 2] }, stateOf([256, 257])).then(({ revision, format }) => [revision, format]), [3, 1]);
    await reads(3, [256, 257]);
    assert.equal(await objects(), 1);
    const next = new NodeStateWriter(counting, silent);
    assert.equal((await next.write({ ...carrying, transitions: 2 }, stateOf([256, 257]))).revision, 3, "what is said already is not written again");
    await next.write({ ...carrying, transitions: 2 }, stateOf([300]));
    await reads(4, [300]);
    assert.equal(await objects(), 0);
    assert.equal((await new NodeStateWriter(client, silent).write({ ...carrying, transitions: 3 }, stateOf([300]))).revision, 4);
  });

  test("kubectl apply refuses by name what the language does not have, and keeps what is misspelt for the operator to name", () => {
    const base = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: default}\nspec:\n  endpointSelector: {}\n  ingress:\n  - ";
    const refusals: readonly (readonly [string, RegExp])[] = [
      ["rules: {http: []}", /spec\.ingress\[0\]\.rules: .*rules \(L7\) is not supported yet/],
      ["toPorts: [{ports: [{port: '80'}], rules: {http: []}}]", /spec\.ingress\[0\]\.toPorts\[0\]\.rules: .*rules \(L7\) is not supported yet/],
      ["fromGroups: []", /spec\.ingress\[0\]\.fromGroups: .*not supported yet/],
      ["{fromCIDR: [10.0.0.0/8], fromEntities: [world]}", /spec\.ingress\[0\]: .*an item has one kind of peers/],
      ["{toPorts: [{ports: [{port: '80'}]}], icmps: [{fields: [{type: 8}]}]}", /spec\.ingress\[0\]: .*either toPorts or icmps/],
      ["fromEntities: [everybody]", /spec\.ingress\[0\]\.fromEntities\[0\]/],
      ["toPorts: [{ports: [{port: '70000'}]}]", /ports\[0\]\.port/],
      ["toPorts: []", /spec\.ingress\[0\]\.toPorts/],
    ];
    for (const [item, message] of refusals) assert.match(kubectl(base + item, "apply", "-f", "-").stderr, message, item);
    assert.equal(kubectl(`${base}fromEndpoint: []`, "apply", "-f", "-").status, 0);
    assert.match(kubectl("", "get", "cnp", "p", "-o", "jsonpath={.spec}").stdout, /fromEndpoint/);
  });

  test("what is misspelt within the selector of an object for nodes, or deeper, is kept for the operator to name", () => {
    const selector = "{matchLabel: {zone: a}, matchExpressions: [{key: a, operator: Exists, Values: [b]}]}";
    const object = (kind: string, rest: string): string => `apiVersion: cilium.io/v2alpha1\nkind: ${kind}\nmetadata: {name: edge}\nspec: {nodeSelector: ${selector}, ${rest}}\n`;
    const objects = [object("CiliumRouting", "mode: native, tunnel: {ports: 1}, native: {cidr: []}, masquerade: {sourceCidrs: [10.0.0.0/8]}"), object("CiliumEncryption", "type: wireguard")];
    const made = kubectl(objects.join("---\n"), "apply", "-f", "-");
    assert.equal(made.status, 0, made.stderr);
    const spec = (plural: string): unknown => JSON.parse(kubectl("", "get", plural, "edge", "-o", "jsonpath={.spec}").stdout);
    const nodeSelector = { matchLabel: { zone: "a" }, matchExpressions: [{ key: "a", operator: "Exists", Values: ["b"] }] };
    assert.deepEqual(spec("ciliumroutings"), { mode: "native", nodeSelector, tunnel: { ports: 1 }, native: { cidr: [] }, masquerade: { sourceCidrs: ["10.0.0.0/8"] } });
    assert.deepEqual(spec("ciliumencryptions"), { type: "wireguard", nodeSelector });
  });

  test("kubectl explain has a sentence for every field", () => {
    for (const kind of ["cnp", "ccnp"]) {
      const text = kubectl("", "explain", `${kind}.spec.ingress.toPorts.ports`, "--recursive=false").stdout;
      assert.match(text, /Number of the port as a string, or its name in the receiving pod/);
      assert.doesNotMatch(text, /<no description>/);
    }
  });

  test("an identity's name is its number, and its labels never change", () => {
    const identity = (name: string, app: string) => kubectl(`apiVersion: cilium.io/v2\nkind: CiliumIdentity\nmetadata: {name: '${name}'}\nsecurity-labels: {'k8s:app': ${app}}\n`, "apply", "-f", "-");
    assert.equal(identity("300", "a").status, 0);
    assert.match(identity("300", "b").stderr, /the labels of a number never change/);
    for (const name of ["255", "16777216", "abc", "0300"]) assert.match(identity(name, "a").stderr, /must be a number from 256 to 16777215/);
  });
});
