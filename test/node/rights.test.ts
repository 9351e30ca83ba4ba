/**
 * What a stolen token can do: a real API server with the chart's roles and admission policies, tokens bound to an agent's
 * pod as the kubelet asks for them. The agent's own writers and the operator's process show that nothing needed is refused.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dump } from "js-yaml";
import { AcknowledgementWriter } from "../../src/agent/acknowledge.ts";
import { EndpointWriter } from "../../src/agent/endpoint-writer.ts";
import { CiliumNodeWriter, NOT_READY_TAINT, NodeReadiness } from "../../src/agent/node-writer.ts";
import type { LocalNode } from "../../src/agent/peers.ts";
import { Tables } from "../../src/agent/tables.ts";
import type { Node } from "../../src/api/core.ts";
import type { Attachment } from "../../src/cni/index.ts";
import { manifestName, statusName } from "../../src/feed/index.ts";
import { partName } from "../../src/feed/names.ts";
import { ApiError, CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NETWORK_POLICIES, CILIUM_NODES, CILIUM_NODE_STATES, NODES, PODS, objectPath } from "../../src/kube/index.ts";
import { resourceType } from "../../src/kube/resource.ts";
import type { KubeClient, KubeObject, ResourceType } from "../../src/kube/index.ts";
import { freePort, startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { chartObjects, findHelm } from "../support/chart.ts";
import { clientOf, condition, createNamespace, createPod, eventually, getPolicy, policy, silent } from "../support/cluster-objects.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const ADDRESSES = { n1: "192.0.2.1", n2: "192.0.2.2" };
const CIDRS = { n1: ["10.1.1.0/24"], n2: ["10.1.2.0/24"] };
const RIGHTS = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];

const SERVICE_ACCOUNTS = resourceType("", "v1", "serviceaccounts", "ServiceAccount", true);

type NodeName = keyof typeof CIDRS;

describe("rights", () => {
  let server: ApiServer;
  let admin: KubeClient;
  /** With the token that the kubelet of n1 gives to its agent. */
  let stolen: KubeClient;
  let own: LocalNode;
  const ended = new AbortController();

  const token = async (account: string, pod?: string): Promise<string> => {
    const ref = pod === undefined ? undefined : { apiVersion: "v1", kind: "Pod", name: pod, uid: (await admin.get(PODS, { namespace: "kube-system", name: pod }))?.metadata.uid };
    const answer = (await admin.transport.json({
      method: "POST",
      path: `/api/v1/namespaces/kube-system/serviceaccounts/${account}/token`,
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { ...(ref === undefined ? {} : { boundObjectRef: ref }) } },
    })) as { readonly status: { readonly token: string } };
    return answer.status.token;
  };
  const clientWith = async (account: string, pod?: string): Promise<KubeClient> => clientOf(server.kubeconfigWith(`${account}-${pod ?? "none"}`, await token(account, pod)));
  const apply = (objects: readonly unknown[], file: string): void => {
    const path = join(server.directory, file);
    writeFileSync(path, objects.map((each) => dump(each)).join("---\n"));
    const { status, stderr } = spawnSync(server.kubectl, ["--kubeconfig", server.kubeconfig, "apply", "-f", path], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
  };
  const refused = async (what: string, write: Promise<unknown>, why: RegExp): Promise<void> => {
    const error = await write.then(() => undefined, (thrown: unknown) => thrown);
    assert.ok(error instanceof ApiError, `${what}: ${error instanceof Error ? error.message : "was allowed"}`);
    assert.ok(error.status === 403 || error.status === 422, `${what}: ${error.message}`);
    assert.match(error.message, why, what);
  };

  const makeNode = async (name: NodeName): Promise<string> => {
    const spec = { podCIDRs: CIDRS[name], podCIDR: CIDRS[name][0], taints: [{ key: NOT_READY_TAINT, effect: "NoExecute" }, { key: "dedicated", value: "db", effect: "NoSchedule" }] };
    const node = await admin.create(NODES, { metadata: { name, labels: { zone: "a" } }, spec } as unknown as Node);
    const conditions = [{ type: "Ready", status: "False", reason: "KubeletNotReady", message: "", lastHeartbeatTime: null, lastTransitionTime: "2026-01-02T03:04:05Z" }];
    await admin.patchStatus(NODES, { name }, { addresses: [{ type: "InternalIP", address: ADDRESSES[name] }], conditions });
    const agent = { nodeName: name, serviceAccountName: "cilium", containers: [{ name: "cilium-agent", image: "none" }] };
    await admin.create(PODS, { metadata: { namespace: "kube-system", name: `agent-${name}`, labels: { "k8s-app": "cilium" } }, spec: agent } as never);
    return node.metadata.uid ?? "";
  };
  const ciliumNode = (name: string, node: NodeName, ip = ADDRESSES[node], podCIDRs = CIDRS[node]): KubeObject =>
    ({ metadata: { name }, spec: { addresses: [{ type: "InternalIP", ip }], ipam: { podCIDRs } } }) as KubeObject;
  const endpoint = (name: string, nodeName: string, more: object = {}): KubeObject => {
    const ownerReferences = [{ apiVersion: "v1", kind: "Pod", name, uid: "11111111-1111-4111-8111-111111111111" }];
    return { metadata: { namespace: "shop", name, ownerReferences, ...more }, status: { id: 1, identity: { id: 300 }, state: "ready", networking: { addressing: [{ ipv4: "10.1.1.9" }], node: "192.0.2.1", nodeName } } } as KubeObject;
  };

  const tryOut = (node: KubeObject): Promise<unknown> => {
    const body = { apiVersion: "cilium.io/v2", kind: "CiliumNode", ...node };
    return stolen.transport.json({ method: "POST", path: "/apis/cilium.io/v2/ciliumnodes", query: { dryRun: "All" }, body });
  };

  const startOperator = async (name: string, kubeconfig: string): Promise<{ child: ChildProcess; log: string; port: number }> => {
    const config = join(server.directory, name);
    mkdirSync(config);
    const port = await freePort();
    for (const [key, value] of [["log-level", "debug"], ["operator-prometheus-port", "0"], ["operator-health-port", String(port)]] as const) writeFileSync(join(config, key), value);
    const log = join(server.directory, `${name}.log`);
    const out = openSync(log, "a");
    const child = spawn(process.execPath, [join(ROOT, "src/operator/main.ts")], {
      env: { ...process.env, KUBECONFIG: kubeconfig, CILIUM_CONFIG_DIRECTORY: config, POD_NAME: name, POD_NAMESPACE: "kube-system" },
      stdio: ["ignore", out, out],
    });
    return { child, log, port };
  };

  before(async () => {
    server = await startApiServer();
    admin = clientOf(server.kubeconfig);
    const crds = spawnSync(server.kubectl, ["--kubeconfig", server.kubeconfig, "apply", "-f", join(ROOT, "crds")], { encoding: "utf8" });
    assert.equal(crds.status, 0, crds.stderr);
    apply(chartObjects(await findHelm()).filter(({ kind, metadata }) => RIGHTS.includes(kind) && metadata.annotations?.["helm.sh/hook"] === undefined), "rights.yaml");
    await createNamespace(admin, "shop");
    await admin.create(SERVICE_ACCOUNTS, { metadata: { namespace: "kube-system", name: "nobody" } });
    const uid = await makeNode("n1");
    await makeNode("n2");
    own = { name: "n1", uid, internalIps: [ADDRESSES.n1], routerIps: ["10.1.1.1"], podCidrs: CIDRS.n1 };
    stolen = await clientWith("cilium", "agent-n1");
    await eventually("the definitions are served", async () => (await admin.list(CILIUM_NODES)).items.length === 0);
    await eventually("the admission policies are in force", async () => {
      await Promise.all([
        refused("node", tryOut(ciliumNode("n2", "n2")), /its own CiliumNode/),
        refused("addresses", tryOut(ciliumNode("n1", "n1", "192.0.2.9")), /addresses are not those/),
        refused("host", stolen.patch(NODES, { name: "n2" }, { metadata: { labels: { a: "b" } } }), /its own Node/),
      ]);
      return true;
    });
  });
  after(async () => {
    ended.abort();
    await server.stop();
  });

  test("the agent's own writers get through with the token of its node, and its tables fill", async () => {
    const { signal } = ended;
    const tables = new Tables({ transport: stolen.transport, logger: silent, nodeName: "n1", encrypts: true, folder: join(server.directory, "tables") });
    mkdirSync(join(server.directory, "tables"));
    await tables.start(signal);
    await eventually("all sources", () => tables.isSynced && tables.pods.synced && tables.node.synced && tables.namespaces.synced);
    await new CiliumNodeWriter({ client: stolen, local: () => own, current: () => undefined, encryption: () => ({ report: undefined }), routing: () => undefined }).reconcile("n1", signal);
    const readiness = new NodeReadiness(stolen, "n1", () => true);
    await eventually("taint and condition", async () => (await readiness.reconcile("n1", signal), true));
    const node = await admin.get(NODES, { name: "n1" });
    const taints = node?.spec?.taints?.map(({ key }) => key) ?? [];
    assert.deepEqual([taints.includes(NOT_READY_TAINT), taints.includes("dedicated")], [false, true]);
    assert.equal(node?.status?.conditions?.find(({ type }) => type === "NetworkUnavailable")?.status, "False");
    assert.equal(node?.status?.conditions?.find(({ type }) => type === "Ready")?.reason, "KubeletNotReady");

    const acknowledgement = new AcknowledgementWriter(stolen, () => own);
    acknowledgement.set({ appliedRevision: 1, appliedHash: "a", nodeUID: own.uid, formats: [1] });
    await acknowledgement.reconcile("n1", signal);
    assert.equal((await admin.get(CILIUM_NODE_STATES, { name: statusName("n1") }))?.status?.appliedRevision, 1);

    const attachment = { containerId: "c", namespace: "shop", pod: "p", uid: "22222222-2222-4222-8222-222222222222", endpointId: 7, ipv4: "10.1.1.7", ipv6: undefined, identity: 300 } as unknown as Attachment;
    const attachments = new Map([["c", attachment]]);
    const { objects } = tables.endpoints;
    let isGone = false;
    const writer = new EndpointWriter({ client: stolen, local: () => own, attachments, objects, isSynced: () => true, isReady: () => true, isGone: () => isGone, labels: () => [], namedPorts: () => undefined });
    await writer.reconcile("shop/p", signal);
    await eventually("the endpoint", () => objects.get("shop/p")?.own?.id === 7);
    attachments.set("c", { ...attachment, endpointId: 8 });
    await writer.reconcile("shop/p", signal);
    await eventually("the endpoint's next sandbox", () => objects.get("shop/p")?.own?.id === 8);
    isGone = true;
    await writer.reconcile("shop/p", signal);
    assert.equal(await admin.get(CILIUM_ENDPOINTS, { namespace: "shop", name: "p" }), undefined);
  });

  test("another node's CiliumNode is refused, and what the Node does not say of the own one", async () => {
    await admin.create(CILIUM_NODES, ciliumNode("n2", "n2"));
    await refused("change", stolen.patch(CILIUM_NODES, { name: "n2" }, { metadata: { labels: { a: "b" } } }), /its own CiliumNode/);
    // Two policies refuse it; which of them is named first is the server's choice.
    await refused("its own pods' traffic", stolen.patch(CILIUM_NODES, { name: "n2" }, { spec: { ipam: { podCIDRs: ["10.1.1.0/24"] } } }), /its own CiliumNode|pod CIDRs are not those/);
    await refused("a node that there is none of", stolen.create(CILIUM_NODES, ciliumNode("n3", "n2")), /its own CiliumNode/);
    for (const podCIDRs of [["10.1.2.0/24"], ["10.1.1.0/24", "0.0.0.0/0"], ["10.1.1.0/25"]]) {
      await refused(podCIDRs.join(), stolen.apply(CILIUM_NODES, ciliumNode("n1", "n1", ADDRESSES.n1, podCIDRs) as never, "thief"), /pod CIDRs are not those/);
    }
    await refused("another's address", stolen.apply(CILIUM_NODES, ciliumNode("n1", "n1", ADDRESSES.n2) as never, "thief"), /addresses are not those/);
    await refused("delete", stolen.delete(CILIUM_NODES, { name: "n2" }), /cannot delete/);
    await refused("delete its own", stolen.delete(CILIUM_NODES, { name: "n1" }), /cannot delete/);
  });

  test("endpoints of other nodes' pods are refused, in both directions of a move", async () => {
    const ref = { namespace: "shop", name: "theirs" };
    await admin.create(CILIUM_ENDPOINTS, endpoint("theirs", "n2"));
    await refused("create for another node", stolen.create(CILIUM_ENDPOINTS, endpoint("x", "n2")), /its own pods/);
    await refused("create for no node", stolen.create(CILIUM_ENDPOINTS, { metadata: { namespace: "shop", name: "x" } }), /own pods|owned by the pod/);
    await refused("take over", stolen.apply(CILIUM_ENDPOINTS, endpoint("theirs", "n1") as never, "thief"), /not of a pod on n1/);
    await refused("change of identity", stolen.patch(CILIUM_ENDPOINTS, ref, { status: { identity: { id: 2 } } }), /its own pods|not of a pod/);
    await refused("delete", stolen.delete(CILIUM_ENDPOINTS, ref), /not of a pod on n1/);
    await refused("delete all", stolen.transport.json({ method: "DELETE", path: "/apis/cilium.io/v2/namespaces/shop/ciliumendpoints" }), /cannot deletecollection/);
    await stolen.create(CILIUM_ENDPOINTS, endpoint("mine", "n1"));
    await refused("give away", stolen.patch(CILIUM_ENDPOINTS, { namespace: "shop", name: "mine" }, { status: { networking: { nodeName: "n2" } } }), /its own pods/);
    await refused("without an owner it would stay for ever", stolen.create(CILIUM_ENDPOINTS, endpoint("y", "n1", { ownerReferences: [] })), /owned by the pod/);
    await refused("owned by another pod", stolen.create(CILIUM_ENDPOINTS, endpoint("y", "n1", { ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "z", uid: "1" }] })), /owned by the pod/);
    await refused("with a finalizer", stolen.patch(CILIUM_ENDPOINTS, { namespace: "shop", name: "mine" }, { metadata: { finalizers: ["a.b/c"] } }), /no finalizer/);
    await stolen.delete(CILIUM_ENDPOINTS, { namespace: "shop", name: "mine" });
  });

  test("desired states, identities and policies are not an agent's to write, nor others' acknowledgements", async () => {
    const state = (name: string, node: string, more: object = {}): KubeObject => ({ metadata: { name }, node, ...more }) as KubeObject;
    const create = (what: string, object: KubeObject): Promise<void> => refused(what, stolen.create(CILIUM_NODE_STATES as ResourceType, object), /own acknowledgement/);
    const manifest = { revision: 9, hash: "h", format: 1, nodeUID: "u", leaseTransitions: 9, parts: [] };
    await create("its own manifest", state(manifestName("n1"), "n1", { manifest }));
    await create("another's manifest", state(manifestName("n2"), "n2", { manifest }));
    await create("a part", state(partName("n1", "0123456789abcdef"), "n1", { part: { hash: "h", data: "e30=" } }));
    await create("another's acknowledgement", state(statusName("n2"), "n2"));
    await create("its own for another", state(statusName("n1"), "n2"));
    await create("a manifest in its acknowledgement", state(statusName("n1"), "n1", { manifest }));
    await admin.create(CILIUM_NODE_STATES, state(statusName("n2"), "n2") as never);
    await refused("another's status", stolen.patchStatus(CILIUM_NODE_STATES, { name: statusName("n2") }, { appliedRevision: 99, appliedHash: "h", nodeUID: "u", formats: [1] }), /own acknowledgement/);
    await refused("the object itself", stolen.patch(CILIUM_NODE_STATES, { name: statusName("n1") }, { node: "n2" }), /cannot patch/);
    await refused("identity", stolen.create(CILIUM_IDENTITIES, { metadata: { name: "300" }, "security-labels": {} } as never), /cannot create/);
    await refused("policy", stolen.create(CILIUM_NETWORK_POLICIES, policy("shop", "open", {})), /cannot create/);
  });

  test("of the own Node it takes the own taint and sets the one condition; of another's it changes nothing", async () => {
    const change = (what: string, patch: object, why: RegExp, name = "n1"): Promise<void> => refused(what, stolen.patch(NODES, { name }, patch), why);
    await change("another's taint", { spec: { taints: [{ key: "dedicated", value: "db", effect: "NoSchedule" }] } }, /its own Node/, "n2");
    await change("labels", { metadata: { labels: { zone: "b" } } }, /labels/);
    await change("annotations", { metadata: { annotations: { a: "b" } } }, /labels, annotations/);
    await change("another taint away", { spec: { taints: [] } }, /take the taint/);
    await change("a taint put on", { spec: { taints: [{ key: NOT_READY_TAINT, effect: "NoSchedule" }, { key: "dedicated", value: "db", effect: "NoSchedule" }] } }, /take the taint/);
    await change("cordon", { spec: { unschedulable: true } }, /take the taint/);
    const status = (what: string, patch: object, name = "n1"): Promise<void> =>
      refused(what, stolen.transport.json({ method: "PATCH", path: objectPath(NODES, { name }, "status"), body: { status: patch }, contentType: "application/strategic-merge-patch+json" }), /NetworkUnavailable|its own Node/);
    await status("addresses", { addresses: [{ type: "InternalIP", address: ADDRESSES.n2 }] });
    await status("capacity", { capacity: { cpu: "1000" } });
    await status("another condition", { conditions: [{ type: "Ready", status: "True", reason: "x", message: "" }] });
    await status("another node's condition", { conditions: [{ type: "NetworkUnavailable", status: "False", reason: "x", message: "" }] }, "n2");
  });

  test("a token that names no node writes nothing", async () => {
    const unbound = await clientWith("cilium");
    await refused("node", unbound.create(CILIUM_NODES, ciliumNode("n3", "n1")), /does not say on which node/);
    await refused("endpoint", unbound.create(CILIUM_ENDPOINTS, endpoint("x", "n1")), /does not say on which node/);
    await refused("endpoint of no node", unbound.create(CILIUM_ENDPOINTS, endpoint("x", "")), /does not say on which node/);
    await refused("state", unbound.create(CILIUM_NODE_STATES, { metadata: { name: "status.n3" }, node: "" } as never), /does not say on which node/);
    await refused("host", unbound.patch(NODES, { name: "n1" }, { metadata: { labels: { a: "b" } } }), /does not say on which node/);
  });

  test("an operator that is let in nowhere is alive and not ready, and its token is in no line that it logs", async () => {
    const secret = await token("nobody");
    const { child, log, port } = await startOperator("stranger", server.kubeconfigWith("stranger", secret));
    try {
      await eventually("it was refused", () => /forbidden/i.test(readFileSync(log, "utf8")));
      assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
      const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
      assert.equal(ready.status, 503);
      const said = `${await ready.text()}${readFileSync(log, "utf8")}`;
      assert.ok(!said.includes(secret) && !said.includes(secret.split(".")[2] ?? secret));
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("the operator does all its work with its own rights", async () => {
    const { child, log, port } = await startOperator("operator", server.kubeconfigWith("operator", await token("cilium-operator")));
    try {
      await eventually("ready", async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200);
      await createPod(admin, "shop", "web", "n1", { app: "web" });
      await admin.create(CILIUM_NETWORK_POLICIES, policy("shop", "web", { endpointSelector: {}, ingress: [] }));
      await eventually("the node's state", async () => (await admin.get(CILIUM_NODE_STATES, { name: manifestName("n1") }))?.manifest?.parts.length);
      await eventually("an identity", async () => (await admin.list(CILIUM_IDENTITIES)).items.length > 0);
      await eventually("the policy's status", async () => condition(await getPolicy(admin, "shop", "web"), "Valid").status === "True");
      await admin.delete(CILIUM_NETWORK_POLICIES, { namespace: "shop", name: "web" });
      await admin.delete(NODES, { name: "n2" });
      await eventually("what belonged to a node that is gone", async () => (await admin.get(CILIUM_NODE_STATES, { name: statusName("n2") })) === undefined);
      assert.doesNotMatch(readFileSync(log, "utf8"), /forbidden|Forbidden|"status":403/);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
