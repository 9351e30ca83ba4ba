/** An agent that may not read one kind, or finds no such kind: it says which, follows the others, and opens nothing. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { statusName } from "../../src/feed/index.ts";
import { CILIUM_ENDPOINTS, CILIUM_NODE_STATES, CILIUM_NODES } from "../../src/kube/index.ts";
import { AgentLab } from "./agent-lab.ts";

const CRDS = resolve(import.meta.dirname, "../../crds");
const USER = "agent-of-a-test";
const KIND = "ciliumendpoints";
const GROUPS = ["", "coordination.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io", "events.k8s.io"];
const PATIENCE_MS = 120_000;

const lab = new AgentLab({ prefix: `cilref${process.pid}`, pods: 2, subnet: "198.51.100", podCidrs: ["10.73.0.0/24", "fd73::/64"], user: USER });
const { path, ping, until } = lab;
const kinds = readdirSync(CRDS).map((file) => file.replace(/\.yaml$/, ""));

const kubectl = (args: readonly string[], input = ""): string => execFileSync(lab.api.kubectl, ["--kubeconfig", lab.api.kubeconfig, ...args], { encoding: "utf8", input });

/** All rights, of our kinds on the named ones alone. */
function grant(...ours: readonly string[]): void {
  const rules = [{ apiGroups: GROUPS, resources: ["*"], verbs: ["*"] }, { apiGroups: ["cilium.io"], resources: ours.flatMap((kind) => [kind, `${kind}/status`]), verbs: ["*"] }];
  const [apiGroup, metadata] = ["rbac.authorization.k8s.io", { name: USER }];
  const role = { apiVersion: `${apiGroup}/v1`, kind: "ClusterRole", metadata, rules };
  const binding = { apiVersion: `${apiGroup}/v1`, kind: "ClusterRoleBinding", metadata, roleRef: { apiGroup, kind: "ClusterRole", name: USER }, subjects: [{ apiGroup, kind: "User", name: USER }] };
  kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: [role, binding] }));
}

/** What readiness answers on the node. */
function readyz(): string {
  const ask = 'exec 3<>/dev/tcp/127.0.0.1/9879; printf "GET /readyz HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3';
  return spawnSync("ip", ["netns", "exec", lab.nodeNs, "bash", "-c", ask], { encoding: "utf8" }).stdout;
}

const saysWhy = (why: RegExp): Promise<unknown> => until(`not ready: ${why.source}`, () => / 503 /.test(readyz()) && readyz().includes(KIND) && why.test(readyz()), PATIENCE_MS);
const warnings = async (): Promise<readonly { readonly part: string; readonly message: string }[]> => (await lab.client.get(CILIUM_NODE_STATES, { name: statusName(lab.node) }))?.status?.warnings ?? [];

describe("a kind that the agent cannot read", { timeout: 600_000 }, () => {
  before(async () => {
    await lab.setUp();
    kubectl(["delete", "-f", join(CRDS, `${KIND}.yaml`)]);
    grant(...kinds.filter((kind) => kind !== KIND));
    await lab.createPod("first");
    await lab.createIdentity(300, "first");
    await lab.writeState([300]);
  });
  after(() => lab.tearDown());

  test("without its definition, and then without the right: it is named, the others are followed, no pod gets a network", async () => {
    lab.spawnAgent();
    await saysWhy(/403|forbidden/i);
    grant(...kinds);
    await saysWhy(/404|could not find|not found/i);
    await until("its own CiliumNode is written", () => lab.client.get(CILIUM_NODES, { name: lab.node }), PATIENCE_MS);
    await until("identities are followed", () => existsSync(path("state/tables/identities.json")) && readFileSync(path("state/tables/identities.json"), "utf8").includes("300"), PATIENCE_MS);
    assert.notEqual((await lab.plugin("STATUS", "first", 0)).code, 0);
    const { code, answer } = await lab.plugin("ADD", "first", 0);
    assert.deepEqual([code, answer?.ips], [1, undefined], JSON.stringify(answer));
  });

  test("with both it goes on by itself", async () => {
    kubectl(["apply", "--server-side", "-f", join(CRDS, `${KIND}.yaml`)]);
    await until("the state is in force", async () => (await lab.plugin("STATUS", "first", 0)).code === 0, PATIENCE_MS);
    assert.equal((await lab.plugin("ADD", "first", 0)).code, 0);
    ping(lab.nodeNs, "10.73.0.2");
    await until("its CiliumEndpoint, kept on disk", async () => (await lab.client.get(CILIUM_ENDPOINTS, { name: "first", namespace: "default" })) !== undefined
      && existsSync(path("state/tables/endpoints.json")) && readFileSync(path("state/tables/endpoints.json"), "utf8").includes("first"), PATIENCE_MS);
  });

  test("taken away again, over a restart: what it told last holds, the acknowledgement says so, and pods of known identities start", async () => {
    grant(...kinds.filter((kind) => kind !== KIND));
    await lab.killAgent();
    await lab.startAgent();
    await until("the warning", async () => (await warnings()).some(({ part, message }) => part === KIND && /403|forbidden/i.test(message)), PATIENCE_MS);
    ping(lab.nodeNs, "10.73.0.2");
    await lab.createPod("second", "first");
    await until("the pod is known", () => readFileSync(path("state/tables/pods.json"), "utf8").includes("second"), PATIENCE_MS);
    const { code, answer } = await lab.plugin("ADD", "second", 1);
    assert.equal(code, 0, JSON.stringify(answer));
    ping(lab.podNs[1] ?? "", "10.73.0.2");
    grant(...kinds);
    await until("no warning", async () => (await warnings()).every(({ part }) => part !== KIND), PATIENCE_MS);
  });
});
