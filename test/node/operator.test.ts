/** The operator as a process against a real API server, with agents that read and acknowledge. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CiliumNodeState } from "../../src/api/gen/ciliumnodestates.ts";
import { readCrds } from "../../src/api/index.ts";
import { CILIUM_CIDR_GROUPS, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NETWORK_POLICIES, CILIUM_NODE_STATES, CRDS, EVENTS, NAMESPACES, NETWORK_POLICIES, NODES, PODS } from "../../src/kube/index.ts";
import type { KubeClient } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { manifestName, statusName } from "../../src/feed/index.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";
import { FakeAgent, clientOf, condition, createEndpoint, createNamespace, createNode, createPod, eventually, getPolicy, policy, setAgentPod } from "../support/cluster-objects.ts";
import { changeAndAwait, damageAndAwait } from "../support/damage.ts";
import { OperatorProcess } from "../support/operator-process.ts";

const FRONTEND_TO_API = {
  endpointSelector: { matchLabels: { app: "api" } },
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "frontend" } }], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }],
};
const NS = "production";

describe("operator", () => {
  let server: ApiServer;
  let client: KubeClient;
  let operator: OperatorProcess;
  let directory: string;
  const agents = new Map<string, FakeAgent>();
  const nodes = ["n1", "n2", "n3"];

  const identityOf = (app: string): Promise<number> =>
    eventually(`identity of ${app}`, async () => {
      const { items } = await client.list(CILIUM_IDENTITIES);
      const found = items.find((item) => item["security-labels"]["k8s:app"] === app && item["security-labels"]["k8s:io.kubernetes.pod.namespace"] === NS && !("named:pod-template-hash" in item["security-labels"]));
      return found === undefined ? undefined : Number(found.metadata.name);
    });
  const enforced = (name: string, wanted: string, reason?: string) =>
    eventually(`${name} ${wanted} ${reason ?? ""}`, async () => {
      const object = await getPolicy(client, NS, name);
      if (object.status?.enforced !== wanted || condition(object, "Enforced").observedGeneration !== object.metadata.generation) return undefined;
      return reason === undefined || condition(object, "Enforced").reason === reason ? object : undefined;
    });
  const agentOf = (node: string): FakeAgent => {
    const agent = agents.get(node);
    assert.ok(agent);
    return agent;
  };

  before(async () => {
    server = await startApiServer();
    directory = mkdtempSync(join(tmpdir(), "cilium-operator-"));
    spawnSync("mkdir", ["-p", join(directory, "config")]);
    for (const [key, value] of [["log-level", "debug"], ["operator-prometheus-port", "0"], ["operator-health-port", "0"], ["identity-quiet-seconds", "2"]] as const) {
      writeFileSync(join(directory, "config", key), value);
    }
    client = clientOf(server.kubeconfig);
    for (const node of nodes) agents.set(node, new FakeAgent(client, node, await createNode(client, node)));
    for (const node of nodes) await setAgentPod(client, node, true);
    await createNamespace(client, NS, { team: "shop" });
    operator = new OperatorProcess(server, directory, "op-1");
  });

  after(async () => {
    for (const agent of agents.values()) await agent.stop();
    await operator.end("SIGKILL");
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test("applies the definitions, then says for every node what runs there", async () => {
    await eventually("definitions", async () => (await client.list(CRDS)).items.length === readCrds().length);
    await eventually("manifests", async () => (await client.list(CILIUM_NODE_STATES)).items.filter((item) => item.manifest !== undefined).length === 3);
    for (const agent of agents.values()) await agent.start();
    for (const [name, node, app] of [["api-1", "n1", "api"], ["api-2", "n2", "api"], ["fe-1", "n3", "frontend"]] as const) {
      await createPod(client, NS, name, node, { app, "pod-template-hash": name });
    }
    const api = await identityOf("api");
    await eventually("subject on n2", () => agentOf("n2").latest?.state.subjects.has(api));
    assert.ok(api >= 256);
    for (const [name, node, app] of [["api-1", "n1", "api"], ["api-2", "n2", "api"], ["fe-1", "n3", "frontend"]] as const) {
      await createEndpoint(client, NS, name, node, await identityOf(app));
    }
  });

  test("an identity holds the labels of pod, namespace and service account, and not those that churn", async () => {
    const identity = await client.get(CILIUM_IDENTITIES, { name: String(await identityOf("api")) });
    assert.deepEqual(identity?.["security-labels"], {
      "k8s:app": "api",
      "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": NS,
      "k8s:io.cilium.k8s.namespace.labels.team": "shop",
      "k8s:io.cilium.k8s.policy.cluster": "default",
      "k8s:io.cilium.k8s.policy.serviceaccount": "default",
      "k8s:io.kubernetes.pod.namespace": NS,
    });
  });

  test("a policy is compiled for the nodes of its pods alone, and counted when they acknowledge", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "api", FRONTEND_TO_API));
    const object = await enforced("api", "2/2", "Enforced");
    assert.equal(object.status?.endpoints, 2);
    assert.deepEqual(["Valid", "Ready", "Enforced"].map((type) => condition(object, type).status), ["True", "True", "True"]);
    assert.equal(agentOf("n3").latest?.state.policies.size, 0);
    const state = agentOf("n1").latest?.state;
    assert.deepEqual([...(state?.ruleNames.values() ?? [])].map(({ kind, path }) => `${kind} ${path}`).sort(), ["default-deny ", "rule spec.ingress[0].toPorts[0]"]);
  });

  test("kubectl wait and kubectl describe show it", () => {
    const kubectl = (...args: string[]) => spawnSync(server.kubectl, ["--kubeconfig", server.kubeconfig, "-n", NS, ...args], { encoding: "utf8" });
    assert.equal(kubectl("wait", "--for=condition=Enforced", "--timeout=5s", "cnp/api").status, 0);
    assert.match(kubectl("get", "cnp", "api").stdout, /VALID +ENFORCED +ENDPOINTS +AGE\napi +True +2\/2 +2 +/);
    assert.match(kubectl("describe", "cnp", "api").stdout, /2 of 2 nodes enforce it[\s\S]*Events:[\s\S]*Enforced/);
  });

  test("a status that did not change is not written again", async () => {
    const { resourceVersion } = (await getPolicy(client, NS, "api")).metadata;
    await agentOf("n1").acknowledge();
    await setAgentPod(client, "n1", true);
    await sleep(600);
    assert.equal((await getPolicy(client, NS, "api")).metadata.resourceVersion, resourceVersion);
  });

  test("a status that someone else changed is put right", async () => {
    await client.patchStatus(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" }, { enforced: "9/9" });
    await eventually("2/2 again", async () => (await getPolicy(client, NS, "api")).status?.enforced === "2/2");
  });

  test("an invalid edit keeps the last good version, names the field, and survives a restart of the operator", async () => {
    const before = agentOf("n1").latest?.hash;
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" }, { spec: { ingress: [{ fromEndpoint: [] }] } });
    const check = () =>
      eventually("invalid", async () => {
        const object = await getPolicy(client, NS, "api");
        return condition(object, "Valid").status === "False" && condition(object, "Enforced").observedGeneration === 2 ? object : undefined;
      });
    const object = await check();
    assert.match(condition(object, "Valid").message, /spec\.ingress\[0\]\.fromEndpoint: unknown field; did you mean fromEndpoints\?; generation 1 stays enforced/);
    assert.equal(condition(object, "Enforced").status, "False");
    assert.equal(await operator.end("SIGTERM"), 0);
    operator = new OperatorProcess(server, directory, "op-2");
    await createPod(client, NS, "api-3", "n3", { app: "api" });
    await eventually("the last good version covers a pod that came later", () => agentOf("n3").latest?.state.policies.size === 1);
    assert.equal(agentOf("n1").latest?.hash, before);
    await check();
    await client.delete(PODS, { namespace: NS, name: "api-3" });
  });

  test("a policy that never was valid enforces nothing", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "typo", { endpointSelector: {}, ingress: [{ fromEndpoint: [] }] }));
    const object = await enforced("typo", "0/0", "Invalid");
    assert.match(condition(object, "Valid").message, /nothing is enforced/);
    await sleep(200);
    for (const agent of agents.values()) assert.ok(![...(agent.latest?.state.ruleNames.values() ?? [])].some(({ policies }) => policies.some(({ name }) => name === "typo")));
  });

  test("an agent that cannot apply is named with its error; one that is not Ready makes it Unknown", async () => {
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" }, { spec: FRONTEND_TO_API });
    await enforced("api", "2/2", "Enforced");
    const agent = agentOf("n2");
    agent.failure = { part: "policy", message: "map full: needs 20000 of 16384 entries" };
    await agent.acknowledge();
    const failing = await enforced("api", "1/2", "NodesFailing");
    assert.deepEqual(failing.status?.failingNodes, [{ node: "n2", message: "policy: map full: needs 20000 of 16384 entries" }]);
    assert.equal(condition(failing, "Ready").status, "False");
    agent.failure = undefined;
    await agent.acknowledge();
    await setAgentPod(client, "n1", false);
    const unknown = await enforced("api", "1/2", "NodesNotHeardFrom");
    assert.equal(condition(unknown, "Enforced").status, "Unknown");
    assert.match(condition(unknown, "Enforced").message, /n1 \(the cilium agent is not Ready since 2026-01-02T03:04:05Z\)/);
    await setAgentPod(client, "n1", true);
    await enforced("api", "2/2", "Enforced");
    const reasons = (await client.list(EVENTS, { namespace: NS })).items.filter((event) => event.involvedObject.name === "api").map((event) => event.reason);
    for (const reason of ["Valid", "Invalid", "Enforced", "NodesFailing", "NodesNotHeardFrom"]) assert.ok(reasons.includes(reason), `${reason} in ${reasons.join()}`);
  });

  test("a node that did not acknowledge that the policy left it still counts", async () => {
    const agent = agentOf("n2");
    agent.silent = true;
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" }, { spec: { ...FRONTEND_TO_API, endpointSelector: { matchLabels: { app: "frontend" } } } });
    const object = await enforced("api", "1/2", "Pending");
    assert.deepEqual(object.status?.failingNodes?.map(({ node }) => node), ["n2"]);
    agent.silent = false;
    await agent.acknowledge();
    await enforced("api", "1/1", "Enforced");
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" }, { spec: FRONTEND_TO_API });
    await enforced("api", "2/2", "Enforced");
  });

  test("a policy of the whole cluster counts its pods of every namespace, and keeps its last good version", async () => {
    const wide = async () => (await client.get(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { name: "wide" })) ?? assert.fail("no policy");
    const said = (enforcedNodes: string, generation: number) =>
      eventually(`wide ${enforcedNodes}`, async () => {
        const object = await wide();
        return object.status?.enforced === enforcedNodes && condition(object, "Enforced").observedGeneration === generation ? object : undefined;
      });
    await client.create(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { metadata: { name: "wide" }, specs: [{ endpointSelector: {}, egressDeny: [{ toEntities: ["world"] }] }] });
    const object = await said("3/3", 1);
    assert.equal(object.status?.endpoints, 3);
    assert.equal(condition(object, "Ready").status, "True");
    await client.patch(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { name: "wide" }, { specs: [{ endpointSelector: {}, egress: [{ toFqdn: [] }] }] });
    const invalid = await said("3/3", 2);
    assert.match(condition(invalid, "Valid").message, /specs\[0\]\.egress\[0\]\.toFqdn: unknown field.*generation 1 stays enforced/);
    assert.deepEqual(JSON.parse(invalid.status?.lastValid?.specs ?? ""), [{ egressDeny: [{ toEntities: ["world"] }], endpointSelector: {} }]);
    await client.delete(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { name: "wide" });
    await eventually("gone from every node", () => [...agents.values()].every((agent) => ![...(agent.latest?.state.policies.keys() ?? [])].includes(object.metadata.uid ?? "")));
  });

  test("a NetworkPolicy is compiled for the nodes of its pods", async () => {
    const native = (name: string, spec: object) => client.create(NETWORK_POLICIES, { metadata: { namespace: NS, name }, spec });
    const created = await native("native", { podSelector: { matchLabels: { app: "frontend" } }, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }], ports: [{ port: "http" }] }] });
    const state = await eventually("it is on n3", () => (agentOf("n3").latest?.state.policies.has(created.metadata.uid ?? "") === true ? agentOf("n3").latest?.state : undefined));
    assert.deepEqual([...state.selectors.values()], [{ kind: "cidrs", blocks: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }], scopes: ["world", "nodes", "pods"] }]);
    assert.equal(agentOf("n1").latest?.state.policies.has(created.metadata.uid ?? ""), false);
    await client.delete(NETWORK_POLICIES, { namespace: NS, name: "native" });
  });

  test("what there is no room for of a NetworkPolicy is told as an Event", async () => {
    const metadata = { namespace: NS, name: "too-much" };
    const many = <T>(make: (at: number) => T): T[] => Array.from({ length: 300 }, (_, at) => make(at));
    await client.create(NETWORK_POLICIES, { metadata, spec: { podSelector: { matchLabels: { app: "none" } }, ingress: [{ from: many((at) => ({ podSelector: { matchLabels: { app: `a${at}` } } })), ports: many((port) => ({ port: port + 1 })) }] } });
    await eventually("an Event says why", async () => (await client.list(EVENTS, { namespace: NS })).items.find(({ involvedObject, reason, message }) => involvedObject.name === "too-much" && reason === "CapacityExceeded" && /90000 rules/.test(message)));
    await client.delete(NETWORK_POLICIES, metadata);
  });

  test("a policy that names a churning label gives the pods that it reaches identities that tell it, and waits for them", async () => {
    const told = (name: string) =>
      eventually(`identity of ${name}`, async () => {
        const { items } = await client.list(CILIUM_IDENTITIES);
        const found = items.find((item) => item["security-labels"]["k8s:pod-template-hash"] === name);
        return found === undefined ? undefined : Number(found.metadata.name);
      });
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "rollout", { endpointSelector: { matchLabels: { "pod-template-hash": "api-2" } }, ingress: [] }));
    const pending = await enforced("rollout", "0/3", "Pending");
    assert.match(condition(pending, "Enforced").message, /wait for an identity with the labels that the policy names/);
    const numbers = { "api-1": await told("api-1"), "api-2": await told("api-2"), "fe-1": await told("fe-1") };
    const state = await eventually("n2 knows", () => (agentOf("n2").latest?.state.subjects.has(numbers["api-2"]) === true ? agentOf("n2").latest?.state : undefined));
    assert.deepEqual(state.named, new Map([[NS, ["pod-template-hash"]]]));
    assert.ok(state.ruleSets.get(state.subjects.get(numbers["api-2"]) ?? "")?.ingressDefault !== undefined);
    const move = (name: string, id: number) => client.patch(CILIUM_ENDPOINTS, { namespace: NS, name }, { status: { identity: { id } } });
    for (const name of ["api-1", "api-2", "fe-1"] as const) await move(name, numbers[name]);
    const object = await enforced("rollout", "1/1", "Enforced");
    assert.equal(object.status?.endpoints, 1);
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "rollout" });
    const plain = await eventually("the pods are one identity again", async () => {
      const number = await identityOf("api");
      return agentOf("n1").latest?.state.subjects.has(number) === true && agentOf("n1").latest?.state.named === undefined ? number : undefined;
    });
    for (const name of ["api-1", "api-2"]) await move(name, plain);
    await move("fe-1", await identityOf("frontend"));
  });

  test("a group of blocks: what names it follows it, and says when it is missing", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "offices", { endpointSelector: { matchLabels: { app: "frontend" } }, egress: [{ toCIDRSet: [{ cidrGroupRef: "offices" }] }] }));
    const resolved = (status: string) =>
      eventually(`offices Resolved=${status}`, async () => {
        const object = await getPolicy(client, NS, "offices");
        return object.status?.conditions?.some((one) => one.type === "Resolved" && one.status === status) === true ? object : undefined;
      });
    const blocks = (): unknown[] => [...(agentOf("n3").latest?.state.selectors.values() ?? [])].flatMap((one) => (one.kind === "cidrs" ? one.blocks.map(({ cidr }) => cidr) : []));
    assert.match(condition(await resolved("False"), "Resolved").message, /spec\.egress\[0\]\.toCIDRSet\[0\]\.cidrGroupRef: there is no CiliumCIDRGroup offices/);
    await enforced("offices", "1/1", "Enforced");
    assert.deepEqual(blocks(), []);
    const metadata = { name: "offices" };
    await client.create(CILIUM_CIDR_GROUPS, { metadata, spec: { externalCIDRs: ["192.0.2.0/24"] } });
    await resolved("True");
    await eventually("the blocks are on n3", () => blocks().join() === "192.0.2.0/24");
    await client.patch(CILIUM_CIDR_GROUPS, metadata, { spec: { externalCIDRs: ["198.51.100.0/24"] } });
    await eventually("the other blocks are on n3", () => blocks().join() === "198.51.100.0/24");
    await enforced("offices", "1/1", "Enforced");
    await client.delete(CILIUM_CIDR_GROUPS, metadata);
    await resolved("False");
    await eventually("nobody is meant on n3", () => blocks().length === 0);
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "offices" });
  });

  test("blocks of three large groups reach the node; of a fourth they are too many for the namespace, and that policy alone is left out", async () => {
    const groups = ["large-1", "large-2", "large-3", "large-4"];
    const blocksOf = (group: number): string[] => Array.from({ length: 20_000 }, (_, at) => `${100 + group}.${at >> 8}.${at & 255}.0/24`);
    for (const [at, name] of groups.entries()) await client.create(CILIUM_CIDR_GROUPS, { metadata: { name }, spec: { externalCIDRs: blocksOf(at) } });
    const spec = (names: readonly string[]) => ({ endpointSelector: { matchLabels: { app: "frontend" } }, egress: [{ toCIDRSet: names.map((cidrGroupRef) => ({ cidrGroupRef })) }] });
    const blocks = (): number => [...(agentOf("n3").latest?.state.selectors.values() ?? [])].reduce((sum, one) => sum + (one.kind === "cidrs" ? one.blocks.length : 0), 0);
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "large", spec(groups.slice(0, 3))));
    await eventually("60,000 blocks are on n3", () => blocks() === 60_000);
    await enforced("large", "1/1", "Enforced");
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "large" }, { spec: spec(groups) });
    const refused = await enforced("large", "1/1", "CapacityExceeded");
    assert.match(condition(refused, "Enforced").message, /80000 blocks of addresses.*may have 65536 and 65536/);
    assert.equal(condition(refused, "Ready").status, "False");
    await eventually("none is on n3, which is closed all the same", () => blocks() === 0 && [...(agentOf("n3").latest?.state.ruleSets.values() ?? [])].some((set) => set.egressDefault !== undefined));
    await enforced("api", "2/2", "Enforced");
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "large" });
    for (const name of groups) await client.delete(CILIUM_CIDR_GROUPS, { name });
  });

  test("a policy that selects no pod is enforced on 0/0 nodes", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "none", { endpointSelector: { matchLabels: { app: "constructor" } }, ingress: [] }));
    const object = await enforced("none", "0/0", "NoEndpoints");
    assert.equal(condition(object, "Enforced").status, "True");
  });

  test("a second operator stands by and takes over after the first is killed", async () => {
    const second = new OperatorProcess(server, directory, "op-3");
    await eventually("standby follows", () => second.text.includes('"started"'));
    await sleep(500);
    assert.ok(!second.text.includes('"leading"'));
    await operator.end("SIGKILL");
    operator = second;
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "none" }, { spec: { endpointSelector: { matchLabels: { app: "api" } } } });
    await eventually("the new leader writes", () => agentOf("n1").latest?.state.policies.size === 2);
    const manifest = (await client.get(CILIUM_NODE_STATES, { name: manifestName("n1") }))?.manifest;
    assert.ok((manifest?.leaseTransitions ?? 0) >= 2);
  });

  test("an identity that nobody has used for the quiet period is freed, one in use never", async () => {
    const frontend = await identityOf("frontend");
    await client.delete(PODS, { namespace: NS, name: "fe-1" });
    await sleep(5000);
    assert.ok(await client.get(CILIUM_IDENTITIES, { name: String(frontend) }), "its endpoint still names it");
    await client.delete({ group: "cilium.io", version: "v2", plural: "ciliumendpoints", kind: "CiliumEndpoint", namespaced: true }, { namespace: NS, name: "fe-1" });
    await eventually("freed", async () => (await client.get(CILIUM_IDENTITIES, { name: String(frontend) })) === undefined);
    assert.ok(await client.get(CILIUM_IDENTITIES, { name: String(await identityOf("api")) }));
  });

  test("a changed namespace label gives its pods a new identity", async () => {
    const old = await identityOf("api");
    await client.patch(NAMESPACES, { name: NS }, { metadata: { labels: { team: "search" } } });
    const renewed = await eventually("new identity", async () => {
      const { items } = await client.list(CILIUM_IDENTITIES);
      const found = items.find((item) => item["security-labels"]["k8s:app"] === "api" && item["security-labels"]["k8s:io.cilium.k8s.namespace.labels.team"] === "search");
      return found === undefined ? undefined : Number(found.metadata.name);
    });
    await eventually("new subject", () => {
      const subjects = agentOf("n1").latest?.state.subjects;
      return subjects !== undefined && subjects.has(renewed) && !subjects.has(old);
    });
  });

  test("a manifest or part that someone deletes or damages is written again; an older agent finds the parts where it looks", async () => {
    const name = manifestName("n1");
    const manifest = async (): Promise<CiliumNodeState["manifest"]> => (await client.get(CILIUM_NODE_STATES, { name }))?.manifest;
    await client.delete(CILIUM_NODE_STATES, { name });
    await eventually("the manifest again", async () => (await manifest())?.format === 3);
    agentOf("n1").formats = [1, 2];
    await agentOf("n1").acknowledge();
    const isWholeApart = async (): Promise<string | undefined> => {
      const { format = 0, parts = [] } = (await manifest()) ?? {};
      const objects = await Promise.all(parts.map((part) => client.get(CILIUM_NODE_STATES, { name: part.name })));
      return format < 3 && parts.every(({ data }) => data === undefined) && objects.every((object) => object !== undefined) ? parts[0]?.name : undefined;
    };
    const part = await eventually("parts as objects", isWholeApart);
    await client.delete(CILIUM_NODE_STATES, { name: part });
    await eventually("a whole state again", isWholeApart);
    await damageAndAwait(client, "n1");
  });

  test("an operator that took over and had nothing to write sees what someone changes; its next revision is beyond the acknowledged", async () => {
    const name = manifestName("n1");
    const manifest = async (): Promise<CiliumNodeState["manifest"]> => (await client.get(CILIUM_NODE_STATES, { name }))?.manifest;
    const before = await manifest();
    assert.ok(before);
    assert.equal(await operator.end("SIGTERM"), 0);
    operator = new OperatorProcess(server, directory, "op-4");
    // Statuses are written once every node was looked at.
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "nobody", { ...FRONTEND_TO_API, endpointSelector: { matchLabels: { app: "nobody" } } }));
    await enforced("nobody", "0/0");
    assert.deepEqual(await manifest(), before, "there was nothing to write");
    await changeAndAwait(client, "n1", before);
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "nobody" });
  });

  test("a deleted policy is gone from the nodes; a deleted node takes its status along", async () => {
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "api" });
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "none" });
    await eventually("no rules", () => agentOf("n1").latest?.state.ruleNames.size === 0);
    await client.delete(NODES, { name: "n3" });
    await eventually("status removed", async () => (await client.get(CILIUM_NODE_STATES, { name: statusName("n3") })) === undefined);
  });

  test("the API server goes away and comes back: nothing is lost, work goes on", async () => {
    const hash = agentOf("n1").latest?.hash;
    await server.kill();
    await sleep(1500);
    await server.restart();
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "again", FRONTEND_TO_API));
    await eventually("compiled", () => agentOf("n1").latest?.state.policies.size === 1);
    assert.notEqual(agentOf("n1").latest?.hash, hash);
  });
});
