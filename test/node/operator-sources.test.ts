/** An operator that cannot read one of its sources: what the nodes were told stays, it says which, and goes on once it can. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { manifestName } from "../../src/feed/index.ts";
import { CILIUM_IDENTITIES, CILIUM_NODE_STATES } from "../../src/kube/index.ts";
import type { KubeClient } from "../../src/kube/index.ts";
import { freePort, startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { clientOf, createNamespace, createNode, createPod, eventually } from "../support/cluster-objects.ts";

const CRDS = resolve(import.meta.dirname, "../../crds");
const KIND = "ciliumclusterwidenetworkpolicies";
const PATIENCE_MS = 90_000;
const USER = "operator-of-a-test";

describe("a source that cannot be read", { timeout: 400_000 }, () => {
  let server: ApiServer;
  let admin: KubeClient;
  let port = 0;
  const operators: ChildProcess[] = [];

  const kubectl = (args: readonly string[], input = ""): void => {
    const { status, stderr } = spawnSync(server.kubectl, ["--kubeconfig", server.kubeconfig, ...args], { encoding: "utf8", input });
    assert.equal(status, 0, stderr);
  };
  const start = async (name: string, kubeconfig: string): Promise<ChildProcess> => {
    const config = join(server.directory, name);
    mkdirSync(config);
    port = await freePort();
    for (const [key, value] of [["crds-create", "false"], ["operator-prometheus-port", "0"], ["operator-health-port", String(port)]] as const) writeFileSync(join(config, key), value);
    const out = openSync(join(server.directory, `${name}.log`), "a");
    const child = spawn(process.execPath, [resolve(import.meta.dirname, "../../src/operator/main.ts")], {
      env: { ...process.env, KUBECONFIG: kubeconfig, CILIUM_CONFIG_DIRECTORY: config, POD_NAME: name, POD_NAMESPACE: "kube-system" }, stdio: ["ignore", out, out],
    });
    operators.push(child);
    return child;
  };
  const stop = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  const ready = async (): Promise<{ readonly status: number; readonly text: string }> => {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
    return { status: answer.status, text: await answer.text() };
  };
  const saysWhy = (why: RegExp): Promise<unknown> => eventually(`not ready: ${why.source}`, async () => {
    const { status, text } = await ready();
    return status === 503 && text.includes(KIND) && why.test(text);
  }, PATIENCE_MS);
  const isReady = (): Promise<unknown> => eventually("ready", async () => (await ready()).status === 200, PATIENCE_MS);
  const manifest = async () => (await admin.get(CILIUM_NODE_STATES, { name: manifestName("n1") }))?.manifest;
  const identityOf = async (app: string): Promise<boolean> => (await admin.list(CILIUM_IDENTITIES)).items.some((item) => item["security-labels"]["k8s:app"] === app);

  /** Every right but the named kinds of ours. */
  const grant = (...kinds: readonly string[]): void => {
    const all = (apiGroup: string, resources: readonly string[]): object => ({ apiGroups: [apiGroup], resources, verbs: ["*"] });
    const rules = [all("cilium.io", kinds), ...["", "coordination.k8s.io", "networking.k8s.io", "policy.networking.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io", "events.k8s.io"].map((group) => all(group, ["*"]))];
    const metadata = { name: USER };
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata, rules };
    const binding = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", metadata, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: USER }, subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: USER }] };
    kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: [role, binding] }));
  };

  before(async () => {
    server = await startApiServer({ users: [USER] });
    admin = clientOf(server.kubeconfig);
    for (const file of readdirSync(CRDS)) if (!file.startsWith(KIND)) kubectl(["apply", "-f", join(CRDS, file)]);
    await createNode(admin, "n1");
    await createNamespace(admin, "shop");
    await createPod(admin, "shop", "first", "n1", { app: "first" });
  });
  after(async () => {
    for (const child of operators) child.kill("SIGKILL");
    await server.stop();
  });

  test("a definition that nobody made is named; nothing is told to a node before it is there, all of it afterwards", async () => {
    const operator = await start("without-definition", server.kubeconfig);
    await saysWhy(/404|not found/i);
    assert.equal(await manifest(), undefined, "a kind that cannot be listed is not an empty one");
    kubectl(["apply", "-f", join(CRDS, `${KIND}.yaml`)]);
    await isReady();
    await eventually("the node's state", async () => (await manifest()) !== undefined && (await identityOf("first")), PATIENCE_MS);
    await stop(operator);
  });

  test("a kind that it may not list is named; what the node was told stays; it goes on when it may", async () => {
    const others = readdirSync(CRDS).map((file) => file.replace(/\.yaml$/, "")).filter((kind) => kind !== KIND).flatMap((kind) => [kind, `${kind}/status`]);
    const told = await manifest();
    grant(...others);
    const operator = await start("without-right", server.kubeconfigOf(USER));
    await saysWhy(/403|forbidden/i);
    await createPod(admin, "shop", "second", "n1", { app: "second" });
    // By the second of these it has long been told of the pod, by the kinds that it may follow.
    const refusals = (): number => readFileSync(join(server.directory, "without-right.log"), "utf8").split("\n").filter((line) => line.includes("watch interrupted") && line.includes(KIND)).length;
    const before = refusals();
    await eventually("refused twice more", async () => refusals() >= before + 2, PATIENCE_MS);
    assert.deepEqual(await manifest(), told);
    assert.equal(await identityOf("second"), false);
    assert.equal(operator.exitCode, null, "it waits");
    grant(...others, KIND, `${KIND}/status`);
    await isReady();
    await eventually("the new pod's identity and state", async () => (await identityOf("second")) && (await manifest())?.revision !== told?.revision, PATIENCE_MS);
    await stop(operator);
  });
});
