/** ClusterNetworkPolicy before and behind the policies of a namespace, on the live cluster; what the receiving side saw decides. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { apply, get, kubectl, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { toPod } from "./harness/judged.ts";
import { createPods, type Pod } from "./harness/pods.ts";
import { conditionOf, enforce, policy, settled, type PolicyObject } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("tiers");
const KIND = "clusternetworkpolicies.policy.networking.k8s.io";
const LABEL = "e2e/of";
after(async () => {
  await kubectl("delete", KIND, "-l", `${LABEL}=${ns.name}`, "--ignore-not-found");
  await ns.remove();
});

const pods = await createPods(ns.name, [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080, 9090] },
  { name: "plain", node: 2, labels: { app: "plain" }, ports: [8080] },
  { name: "caller", node: 2, labels: { app: "caller" } },
  { name: "peer", node: 2, labels: { app: "peer" } },
  { name: "other", node: 1, labels: { app: "other" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [api, plain, peer, other] = [pod("api"), pod("plain"), pod("peer"), pod("other")];
const namespaceSelector = { matchLabels: { "kubernetes.io/metadata.name": ns.name } };
const named = (app: string): object => ({ pods: { namespaceSelector, podSelector: { matchLabels: { app } } } });

/** Applies and waits until every node that must enforces this generation. */
async function decide(name: string, spec: object): Promise<PolicyObject> {
  const full = `${ns.name}-${name}`;
  await apply({ apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy", metadata: { name: full, labels: { [LABEL]: ns.name } }, spec });
  return waitFor(`${full} in force`, async () => {
    const object = await get<PolicyObject>(KIND, full);
    const condition = conditionOf(object, "Enforced");
    return condition?.status === "True" && condition.observedGeneration === object.metadata.generation ? object : undefined;
  }, () => kubectl("describe", KIND, full), { timeoutMs: 30_000 });
}

async function forget(name: string): Promise<void> {
  await kubectl("delete", KIND, `${ns.name}-${name}`);
  await settled();
}

test("what the administrator denies no policy allows; what he passes on is the policies' to decide; the smaller priority is asked first", { timeout: 600_000 }, async () => {
  const ingress = (action: string, from: object): object => ({ tier: "Admin", subject: named("api"), ingress: [{ action, from: [from] }] });
  await enforce(ns.name, policy("api", { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "peer" } }, { matchLabels: { app: "other" } }], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }] }));
  await Promise.all([toPod(peer, api, 8080, true), toPod(peer, api, 9090, false)]);

  const object = await decide("deny", { ...ingress("Deny", named("peer")), priority: 20 });
  assert.equal(conditionOf(object, "Valid")?.status, "True");
  await Promise.all([toPod(peer, api, 8080, false), toPod(other, api, 8080, true)]);

  await decide("pass", { ...ingress("Pass", named("peer")), priority: 10 });
  await Promise.all([toPod(peer, api, 8080, true), toPod(peer, api, 9090, false)]);

  await decide("accept", { ...ingress("Accept", named("peer")), priority: 5 });
  await Promise.all([toPod(peer, api, 9090, true), toPod(other, api, 9090, false)]);

  for (const name of ["accept", "pass"]) await forget(name);
  await toPod(peer, api, 8080, false);
  await forget("deny");
  await toPod(peer, api, 8080, true);
});

test("what the administrator denies on the way out to a block of addresses, pods have such too", { timeout: 600_000 }, async () => {
  const networks = other.addresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`);
  await decide("out", { tier: "Admin", priority: 1, subject: named("caller"), egress: [{ action: "Deny", to: [{ networks }] }] });
  await Promise.all([toPod(pod("caller"), other, 8080, false), toPod(pod("caller"), peer, 8080, true)]);
  await forget("out");
  await toPod(pod("caller"), other, 8080, true);
});

test("the baseline decides where no policy closes the direction: a NetworkPolicy takes its place", { timeout: 600_000 }, async () => {
  await decide("base", { tier: "Baseline", priority: 10, subject: named("plain"), ingress: [{ action: "Accept", from: [named("other")] }, { action: "Deny", from: [{ namespaces: {} }] }] });
  await Promise.all([toPod(peer, plain, 8080, false), toPod(other, plain, 8080, true)]);
  await apply({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "plain" }, spec: { podSelector: { matchLabels: { app: "plain" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "peer" } } }] }] } }, "-n", ns.name);
  // The kind has no status: its effect is waited for.
  const address = plain.addresses[0] ?? assert.fail("no address");
  await waitFor("the NetworkPolicy lets the peer in", async () => ((await peer.ask("tcp", address, 8080, { timeoutMs: 1500 })).answered ? true : undefined), () => kubectl("get", "networkpolicy", "-n", ns.name));
  await settled();
  await Promise.all([toPod(peer, plain, 8080, true), toPod(other, plain, 8080, false)]);
});
