/** Peers that policies name by other objects, nodes and services, over both families; what the receiving side saw decides. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { apply, get, kubectl, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { judged, toPod, toServer } from "./harness/judged.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { createPods, type Pod, type Site } from "./harness/pods.ts";
import { conditionOf, enforce, getPolicy, policy } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("peers");
const outside = await plugInOutside(207);
after(() => Promise.all([ns.remove(), outside.remove()]));
const pods = await createPods(ns.name, [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080] },
  { name: "caller", node: 1, labels: { app: "caller" } },
  { name: "client", node: 1, labels: { app: "client" } },
  { name: "stranger", node: 2, labels: { app: "stranger" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [api, caller, client, stranger] = [pod("api"), pod("caller"), pod("client"), pod("stranger")];
const onNode = (number: number): object => ({ matchLabels: { "kubernetes.io/hostname": node(number).name } });
const at = (number: number): readonly string[] => [node(number).ipv4, node(number).ipv6];

test("fromNodes lets in the processes of the nodes that are named, and neither other nodes' nor pods", { timeout: 600_000 }, async () => {
  await enforce(ns.name, policy("api", { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromNodes: [onNode(2)] }] }));
  await toPod(nodeSite(2), api, 8080, true);
  await Promise.all([nodeSite(3), stranger].map((other) => toPod(other, api, 8080, false)));
  await kubectl("delete", "cnp", "api", "-n", ns.name);
});

test("toNodes lets out to the nodes that are named, and to no other; toNodes beside a denial loses", { timeout: 600_000 }, async () => {
  const [first, second] = await Promise.all([nodeSite(1).serve(7011), nodeSite(2).serve(7012)]);
  const endpointSelector = { matchLabels: { app: "caller" } };
  try {
    await enforce(ns.name, policy("caller", { endpointSelector, egress: [{ toNodes: [onNode(2)] }] }));
    await Promise.all([toServer(caller, second, at(2), 7012, true), toServer(caller, first, at(1), 7011, false)]);
    await enforce(ns.name, policy("caller", { endpointSelector, egress: [{ toNodes: [{}] }], egressDeny: [{ toNodes: [onNode(2)] }] }));
    await Promise.all([toServer(caller, first, at(1), 7011, true), toServer(caller, second, at(2), 7012, false)]);
  } finally {
    first.close();
    second.close();
  }
});

const reached = (from: Site, address: string, port: number): Promise<true> =>
  waitFor(`${from.name} reaches ${address} ${port}`, async () => ((await from.ask("tcp", address, port, { timeoutMs: 1500 })).answered ? true : undefined), () => kubectl("describe", "cnp", "client", "-n", ns.name));

test("a service by its name is its pods, under its address and their own, and no other pod", { timeout: 600_000 }, async () => {
  await apply({ apiVersion: "v1", kind: "Service", metadata: { name: "api" }, spec: { selector: { app: "api" }, ports: [{ port: 80, targetPort: 8080 }] } }, "-n", ns.name);
  const { spec } = await get<{ spec: { clusterIP: string } }>("service", "api", "-n", ns.name);
  const toServices = [{ k8sService: { serviceName: "api" } }];
  await enforce(ns.name, policy("client", { endpointSelector: { matchLabels: { app: "client" } }, egress: [{ toServices, toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }] }));
  await reached(client, spec.clusterIP, 80);
  const heard = async (): Promise<string[]> => (await api.received()).map(({ text }) => text);
  await judged(client, spec.clusterIP, 80, true, heard);
  await Promise.all([toPod(client, api, 8080, true), toPod(client, stranger, 8080, false)]);
  await enforce(ns.name, policy("client", { endpointSelector: { matchLabels: { app: "client" } }, egress: [{ toEntities: ["all"] }], egressDeny: [{ toServices }] }));
  await Promise.all([judged(client, spec.clusterIP, 80, false, heard), toPod(client, api, 8080, false), toPod(client, stranger, 8080, true)]);
});

test("a service that selects no pods is where its slices say, and that is nobody's pod", { timeout: 600_000 }, async () => {
  const slice = (name: string, addressType: string, ...addresses: string[]): object => ({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name, labels: { "kubernetes.io/service-name": "billing" } }, addressType, endpoints: addresses.map((address) => ({ addresses: [address] })), ports: [{ port: 7013 }] });
  await apply(policy("client", { endpointSelector: { matchLabels: { app: "client" } }, egress: [{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { system: "billing" } } } }] }] }), "-n", ns.name);
  await waitFor("nobody is meant", async () => (conditionOf(await getPolicy(ns.name, "client"), "Resolved")?.status === "False" ? true : undefined), () => kubectl("describe", "cnp", "client", "-n", ns.name));
  const server = await outside.site.serve(7013);
  try {
    await apply({ apiVersion: "v1", kind: "Service", metadata: { name: "billing", labels: { system: "billing" } }, spec: { ports: [{ port: 80, targetPort: 7013 }] } }, "-n", ns.name);
    await apply(slice("billing-4", "IPv4", outside.ipv4, stranger.ipv4), "-n", ns.name);
    await reached(client, outside.ipv4, 7013);
    await Promise.all([toServer(client, server, [outside.ipv4], 7013, true), toServer(client, server, [outside.ipv6], 7013, false), toPod(client, stranger, 8080, false)]);
    // Slices take addresses as RFC 5952 writes them alone.
    await apply(slice("billing-6", "IPv6", new URL(`http://[${outside.ipv6}]`).hostname.slice(1, -1)), "-n", ns.name);
    await reached(client, outside.ipv6, 7013);
    const found = await waitFor("its service is there", async () => {
      const object = await getPolicy(ns.name, "client");
      return conditionOf(object, "Resolved")?.status === "True" ? object : undefined;
    }, () => kubectl("describe", "cnp", "client", "-n", ns.name));
    assert.equal(conditionOf(found, "Valid")?.status, "True");
    await toPod(client, stranger, 8080, false);
  } finally {
    server.close();
  }
});
