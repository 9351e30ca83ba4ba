/** Policies that only watch, on the live cluster: what the other pod received decides, then what was told. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { PacketEvent } from "../../src/hubble/event.ts";
import { apply, command, get, kubectl, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod } from "./harness/pods.ts";
import { conditionOf, enforce, monitor, policy, remove, settled, waitCondition, type PolicyObject } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("audit");
const CLUSTERWIDE = `audit-${ns.name}`;
after(async () => {
  await kubectl("delete", "ccnp", CLUSTERWIDE, "--ignore-not-found");
  await ns.remove();
});
const pods = await createPods(ns.name, [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080] },
  { name: "friend", node: 1, labels: { app: "friend" } },
  { name: "stranger", node: 2, labels: { app: "stranger" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [api, friend, stranger] = [pod("api"), pod("friend"), pod("stranger")];
const PATIENT = { timeoutMs: 90_000, everyMs: 250 };
const word = (): string => `try-${Math.random().toString(36).slice(2, 10)}`;

async function heardFrom(from: Pod): Promise<void> {
  for (const address of api.addresses) {
    const text = word();
    await from.reaches("tcp", address, 8080, text);
    assert.ok((await api.received()).some((one) => one.text === text), `${from.name} → ${address}`);
  }
}

async function notHeardFrom(from: Pod): Promise<void> {
  for (const address of api.addresses) {
    const text = word();
    await from.isCutFrom("tcp", address, 8080, text);
    assert.ok(!(await api.received()).some((one) => one.text === text), `${from.name} → ${address}`);
  }
}

const spec = (enforcement: "Audit" | "Enforce" | undefined): object => ({
  ...(enforcement === undefined ? {} : { enforcement }),
  endpointSelector: { matchLabels: { app: "api" } },
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "friend" } }] }],
});

/** Of the stranger, newest first, after a first try was told: then the monitor listens. */
async function toldOf(of: (event: PacketEvent) => boolean, tries: () => Promise<void>): Promise<PacketEvent> {
  const watching = monitor(ns.name, "--verdict", "AUDIT");
  try {
    return await waitFor("an event of verdict audit", async () => {
      await tries();
      return watching.events().find(of);
    }, () => Promise.resolve(JSON.stringify(watching.events().slice(-3))), PATIENT);
  } finally {
    watching.close();
  }
}

test("a policy that only watches: everything passes, what it would drop is told; enforced, the same is dropped", { timeout: 400_000 }, async () => {
  await apply(policy("watched", spec("Audit")), "-n", ns.name);
  const audited = await waitCondition(ns.name, "watched", "Ready", "True", PATIENT);
  assert.deepEqual([conditionOf(audited, "Audit")?.status, conditionOf(audited, "Enforced")?.reason, audited.status?.enforced], ["True", "Audited", "audit 1/1"]);
  for (const from of [friend, stranger]) await heardFrom(from);
  const event = await toldOf(({ source }) => source.pod === stranger.name, () => heardFrom(stranger));
  assert.deepEqual([event.type, event.verdict, event.reason, event.destination.pod, event.rule?.kind], ["policy-verdict", "audit", "policy-denied", api.name, "default-deny"]);
  assert.deepEqual(event.rule?.policies, [`${ns.name}/watched`]);
  await enforce(ns.name, policy("watched", spec("Enforce")));
  await heardFrom(friend);
  await notHeardFrom(stranger);
  await remove(ns.name, "watched");
  await settled();
});

test("an edit of a policy in force: it stays in force as it is, what the edit would drop is told, and explain says both", { timeout: 400_000 }, async () => {
  const ingress = (...apps: readonly string[]): object => ({ endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: apps.map((app) => ({ matchLabels: { app } })) }] });
  await enforce(ns.name, policy("api", ingress("friend")));
  await apply(policy("api-edit", { ...ingress("stranger"), enforcement: "Audit", stages: "api" }), "-n", ns.name);
  await waitCondition(ns.name, "api-edit", "Ready", "True", PATIENT);
  await heardFrom(friend);
  await notHeardFrom(stranger);
  const event = await toldOf(({ source }) => source.pod === friend.name, () => heardFrom(friend));
  assert.deepEqual([event.verdict, event.destination.pod, event.rule?.policies], ["audit", api.name, [`${ns.name}/api-edit`]]);
  const explained = async (from: Pod): Promise<string> => (await command(["cilium", "policy", "explain", "--from", `${ns.name}/${from.name}`, "--to", `${ns.name}/${api.name}`, "--port", "8080/TCP"])).stdout;
  assert.match(await explained(friend), /ALLOWED\n[^]*ingress of [^\n]* allowed, as policies only watch that would drop it/);
  assert.match(await explained(stranger), /DENIED\n[^]*pending: allowed by CiliumNetworkPolicy [^\n]*\/api-edit spec\.ingress\[0\]/);
  await remove(ns.name, "api-edit");
  await remove(ns.name, "api");
  await settled();
});

test("a namespace's label makes its own policies watch, and no clusterwide one", { timeout: 400_000 }, async () => {
  await enforce(ns.name, policy("own", spec(undefined)));
  await notHeardFrom(stranger);
  await kubectl("label", "namespace", ns.name, "cilium.io/enforcement=Audit");
  await waitFor("the policy only watches", async () => {
    const object = await get<PolicyObject>("cnp", "own", "-n", ns.name);
    return conditionOf(object, "Audit")?.status === "True" && conditionOf(object, "Ready")?.status === "True" ? true : undefined;
  }, () => kubectl("describe", "cnp", "own", "-n", ns.name), PATIENT);
  // The pod's identity tells its namespace's labels: it moves once the rules of the new one are in force.
  await waitFor("the stranger is let in", async () => {
    try {
      await heardFrom(stranger);
      return true;
    } catch {
      return undefined;
    }
  }, () => kubectl("get", "cep", "-n", ns.name), PATIENT);
  await apply({ apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: CLUSTERWIDE }, spec: { endpointSelector: { matchLabels: { app: "api", "k8s:io.kubernetes.pod.namespace": ns.name } }, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: "stranger", "k8s:io.kubernetes.pod.namespace": ns.name } }] }], enableDefaultDeny: { ingress: false } } });
  await waitFor("the clusterwide policy is enforced", async () => (conditionOf(await get<PolicyObject>("ccnp", CLUSTERWIDE), "Enforced")?.status === "True" ? true : undefined), () => kubectl("describe", "ccnp", CLUSTERWIDE), PATIENT);
  await notHeardFrom(stranger);
  await heardFrom(friend);
});
