/** Every part of the policy language on the live cluster, over both families; what the receiving side saw decides. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { apply, get, kubectl, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { toPod, toServer } from "./harness/judged.ts";
import { createPods, type Pod, type PodSpec, type Site } from "./harness/pods.ts";
import { conditionOf, enforce, getPolicy, policy, settled, type PolicyObject } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("language");
const outside = await plugInOutside(203);
const CLUSTERWIDE = `language-${ns.name}`;
after(async () => {
  await kubectl("delete", "ccnp,ccg", CLUSTERWIDE, "--ignore-not-found");
  await Promise.all([ns.remove(), outside.remove()]);
});

/** The two are of one identity and call different ports by one name. */
const named = (name: string, on: number, containerPort: number): PodSpec => ({ name, node: on, labels: { app: "named" }, ports: [8080, 9090], container: { ports: [{ name: "http", containerPort, protocol: "TCP" }] } });
const pods = await createPods(ns.name, [
  named("named-1", 1, 8080),
  named("named-2", 2, 9090),
  { name: "caller", node: 1, labels: { app: "caller" } },
  { name: "range", node: 2, labels: { app: "range" }, ports: [8080, 9090] },
  { name: "denied", node: 1, labels: { app: "denied" }, ports: [8080, 9090] },
  { name: "wide", node: 2, labels: { app: "wide" }, ports: [8080, 9090] },
  { name: "blocks", node: 1, labels: { app: "blocks" } },
  { name: "native", node: 1, labels: { app: "native" }, ports: [8080, 9090] },
  { name: "entities", node: 1, labels: { app: "entities" } },
  { name: "pinged", node: 2, labels: { app: "pinged" } },
  { name: "groups", node: 1, labels: { app: "groups" } },
  { name: "client", node: 1, labels: { app: "client" } },
  { name: "set-0", node: 1, labels: { app: "set", "statefulset.kubernetes.io/pod-name": "set-0", "job-name": "job-0" } },
  { name: "set-1", node: 2, labels: { app: "set", "statefulset.kubernetes.io/pod-name": "set-1", "job-name": "job-1" } },
  { name: "peer", node: 1, labels: { app: "peer" } },
  { name: "other", node: 2, labels: { app: "other" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [peer, other] = [pod("peer"), pod("other")];
const selects = (app: string): object => ({ matchLabels: { app } });
interface NativeObject {
  readonly metadata: { readonly uid: string; readonly generation: number };
}

describe("the policy language", { concurrency: 3 }, () => {
  test("a port's name is that of the receiving pod: two pods of one identity mean different numbers, both ways", async () => {
    const http = [{ ports: [{ port: "http", protocol: "TCP" }] }];
    const check = async (from: Site): Promise<void> => {
      await Promise.all([["named-1", 8080, 9090], ["named-2", 9090, 8080]].flatMap(([name, own, another]) => [
        toPod(from, pod(String(name)), Number(own), true),
        toPod(from, pod(String(name)), Number(another), false),
      ]));
    };
    await enforce(ns.name, policy("caller", { endpointSelector: selects("caller"), egress: [{ toEndpoints: [selects("named")], toPorts: http }] }));
    await check(pod("caller"));
    await toPod(peer, pod("named-1"), 9090, true);
    await enforce(ns.name, policy("named", { endpointSelector: selects("named"), ingress: [{ fromEntities: ["cluster"], toPorts: http }] }));
    await check(peer);
  });

  test("a range of ports", async () => {
    await enforce(ns.name, policy("range", { endpointSelector: selects("range"), ingress: [{ fromEndpoints: [selects("peer")], toPorts: [{ ports: [{ port: "8001", endPort: 9089, protocol: "TCP" }] }] }] }));
    await Promise.all([toPod(peer, pod("range"), 8080, true), toPod(peer, pod("range"), 9090, false), toPod(other, pod("range"), 8080, false)]);
  });

  test("a denial beats a narrower allow, and without default deny closes nothing else", async () => {
    const subject = pod("denied");
    await enforce(ns.name, policy("denied", { endpointSelector: selects("denied"), ingressDeny: [{ fromEndpoints: [selects("other")] }], enableDefaultDeny: { ingress: false } }));
    await Promise.all([toPod(peer, subject, 8080, true), toPod(other, subject, 8080, false)]);
    await enforce(ns.name, policy("allowed", { endpointSelector: selects("denied"), ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }] }));
    await Promise.all([toPod(peer, subject, 8080, true), toPod(peer, subject, 9090, false), toPod(other, subject, 8080, false)]);
  });

  test("a policy of the whole cluster selects by namespace and label, and says that it is enforced", async () => {
    const subject = pod("wide");
    const endpointSelector = { matchLabels: { app: "wide", "k8s:io.kubernetes.pod.namespace": ns.name } };
    const spec = { endpointSelector, ingress: [{ fromEndpoints: [selects("peer")] }], ingressDeny: [{ toPorts: [{ ports: [{ port: "9090" }] }] }] };
    await apply({ apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: CLUSTERWIDE }, specs: [spec] });
    const find = (): Promise<PolicyObject> => get<PolicyObject>("ccnp", CLUSTERWIDE);
    const object = await waitFor("Enforced", async () => {
      const found = await find();
      return conditionOf(found, "Enforced")?.status === "True" && found.status?.enforced === "1/1" ? found : undefined;
    }, () => kubectl("describe", "ccnp", CLUSTERWIDE), { timeoutMs: 30_000 });
    assert.equal(object.status?.endpoints, 1);
    await Promise.all([toPod(peer, subject, 8080, true), toPod(peer, subject, 9090, false), toPod(other, subject, 8080, false)]);
  });

  test("a label of one pod of a workload: the policy closes that pod alone, also when it comes later", async () => {
    const member = (name: string): object => ({ matchLabels: { "statefulset.kubernetes.io/pod-name": name } });
    const counted = (name: string): Promise<PolicyObject> =>
      waitFor(`${name} 1/1`, async () => {
        const found = await getPolicy(ns.name, name);
        return conditionOf(found, "Enforced")?.status === "True" && found.status?.enforced === "1/1" ? found : undefined;
      }, () => kubectl("describe", "cnp", name, "-n", ns.name), { timeoutMs: 90_000 });
    await apply(policy("set", { endpointSelector: member("set-0"), ingress: [{ fromEndpoints: [selects("peer")] }] }), "-n", ns.name);
    await counted("set");
    await Promise.all([toPod(peer, pod("set-0"), 8080, true), toPod(other, pod("set-0"), 8080, false), toPod(other, pod("set-1"), 8080, true)]);
    // As a peer, and by what it does not have: all of the workload but one.
    const others = { matchLabels: { app: "set" }, matchExpressions: [{ key: "statefulset.kubernetes.io/pod-name", operator: "NotIn", values: ["set-0"] }] };
    await apply(policy("later", { endpointSelector: member("set-2"), ingress: [{ fromEndpoints: [others] }] }), "-n", ns.name);
    const late = (await createPods(ns.name, [{ name: "set-2", node: 2, labels: { app: "set", "statefulset.kubernetes.io/pod-name": "set-2" } }]))["set-2"] ?? assert.fail("no pod set-2");
    await counted("later");
    await Promise.all([toPod(pod("set-1"), late, 8080, true), toPod(pod("set-0"), late, 8080, false), toPod(peer, late, 8080, false)]);
  });

  test("a denial of one pod of a workload is enforced from when it is told so, and denies that pod alone", async () => {
    const denial = { endpointSelector: selects("peer"), ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: "set", "job-name": "job-0" } }] }], enableDefaultDeny: { ingress: false } };
    await enforce(ns.name, policy("one-denied", denial));
    await Promise.all([toPod(pod("set-0"), peer, 8080, false), toPod(pod("set-1"), peer, 8080, true), toPod(other, peer, 8080, true)]);
  });

  test("blocks mean the outside and no pod; what is excepted is not meant", async () => {
    const server = await outside.site.serve(7000);
    const both = [outside.ipv4, outside.ipv6];
    const rule = (except: boolean): object => ({
      endpointSelector: selects("blocks"),
      egress: [{ toCIDRSet: [{ cidr: "0.0.0.0/0", except: except ? [`${outside.ipv4}/32`] : [] }, { cidr: "::/0", except: except ? [`${outside.ipv6}/128`] : [] }] }],
    });
    try {
      await enforce(ns.name, policy("blocks", rule(false)));
      await toServer(pod("blocks"), server, both, 7000, true);
      await toPod(pod("blocks"), peer, 8080, false);
      await enforce(ns.name, policy("blocks", rule(true)));
      await toServer(pod("blocks"), server, both, 7000, false);
    } finally {
      server.close();
    }
  });

  test("a group of blocks: what names it follows every change of it, and a missing one means nobody", async () => {
    const server = await outside.site.serve(7005);
    const both = [outside.ipv4, outside.ipv6];
    const group = (...externalCIDRs: string[]): Promise<string> => apply({ apiVersion: "cilium.io/v2", kind: "CiliumCIDRGroup", metadata: { name: CLUSTERWIDE, labels: { "e2e/group": ns.name } }, spec: { externalCIDRs } });
    // The status of the policy does not change with the group: what the packets do is awaited.
    const becomes = (address: string, passes: boolean): Promise<unknown> =>
      waitFor(`${address} ${passes ? "reached" : "cut off"}`, async () => ((await pod("groups").ask("tcp", address, 7005, { timeoutMs: 1_500 })).answered === passes ? true : undefined), () => kubectl("describe", "cnp", "groups", "-n", ns.name), { timeoutMs: 60_000 });
    try {
      const named = (by: object): object => policy("groups", { endpointSelector: selects("groups"), egress: [{ toCIDRSet: [by] }] });
      const object = await enforce(ns.name, named({ cidrGroupRef: CLUSTERWIDE }));
      assert.equal(conditionOf(object, "Resolved")?.status, "False");
      await toServer(pod("groups"), server, both, 7005, false);
      await group(`${outside.ipv4}/32`);
      await becomes(outside.ipv4, true);
      await toServer(pod("groups"), server, [outside.ipv6], 7005, false);
      await group(`${outside.ipv6}/128`);
      await Promise.all([becomes(outside.ipv6, true), becomes(outside.ipv4, false)]);
      await enforce(ns.name, named({ cidrGroupSelector: { matchLabels: { "e2e/group": ns.name } } }));
      await group(...both);
      await Promise.all(both.map((address) => becomes(address, true)));
      await kubectl("delete", "ccg", CLUSTERWIDE);
      await Promise.all(both.map((address) => becomes(address, false)));
    } finally {
      server.close();
    }
  });

  test("entities: the world is no pod and no node, the host is the pod's own node", async () => {
    const [server, host] = await Promise.all([outside.site.serve(7001), nodeSite(1).serve(7002)]);
    const own = [node(1).ipv4, node(1).ipv6];
    const subject = pod("entities");
    const to = (...toEntities: string[]): object => policy("entities", { endpointSelector: selects("entities"), egress: [{ toEntities }] });
    try {
      await enforce(ns.name, to("world"));
      await Promise.all([toServer(subject, server, [outside.ipv4, outside.ipv6], 7001, true), toServer(subject, host, own, 7002, false), toPod(subject, peer, 8080, false)]);
      await enforce(ns.name, to("host"));
      await Promise.all([toServer(subject, server, [outside.ipv4, outside.ipv6], 7001, false), toServer(subject, host, own, 7002, true), toPod(subject, peer, 8080, false)]);
      await enforce(ns.name, to("cluster"));
      await Promise.all([toServer(subject, server, [outside.ipv4, outside.ipv6], 7001, false), toPod(subject, peer, 8080, true), toPod(subject, other, 8080, true)]);
    } finally {
      server.close();
      host.close();
    }
  });

  test("the API server by its entity, under its service's address and its own, and nothing else; a denial cuts it off", async () => {
    const client = pod("client");
    const { spec } = await get<{ spec: { clusterIP: string } }>("service", "kubernetes", "-n", "default");
    const { items } = await get<{ items: { endpoints: { addresses: string[] }[]; ports: { port: number }[] }[] }>("endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes");
    const own = items.flatMap(({ endpoints, ports }) => endpoints.flatMap(({ addresses }) => addresses.map((address) => [address, ports[0]?.port ?? 443] as const)));
    const servers = [[spec.clusterIP, 443] as const, ...own];
    // What speaks TLS says so to whoever does not: some other answer than the echo is the API server's.
    const answers = async ([address, port]: readonly [string, number]): Promise<boolean> => (await client.ask("tcp", address, port, { text: "GET / HTTP/1.0", timeoutMs: 5_000 })).detail === "another answer";
    const server = await outside.site.serve(7003);
    const host = await nodeSite(1).serve(7004);
    try {
      await enforce(ns.name, policy("client", { endpointSelector: selects("client"), egress: [{ toEntities: ["kube-apiserver"] }] }));
      for (const one of servers) await waitFor(`the API server at ${one.join(" ")}`, async () => ((await answers(one)) ? true : undefined), () => kubectl("describe", "cnp", "client", "-n", ns.name), { timeoutMs: 60_000 });
      await Promise.all([toServer(client, server, [outside.ipv4, outside.ipv6], 7003, false), toServer(client, host, [node(1).ipv4, node(1).ipv6], 7004, false), toPod(client, peer, 8080, false), toPod(client, other, 8080, false)]);
      await enforce(ns.name, policy("client", { endpointSelector: selects("client"), egress: [{ toEntities: ["all"] }], egressDeny: [{ toEntities: ["kube-apiserver"] }] }));
      assert.deepEqual(await Promise.all(servers.map(answers)), servers.map(() => false));
      await Promise.all([toServer(client, server, [outside.ipv4, outside.ipv6], 7003, true), toPod(client, peer, 8080, true)]);
    } finally {
      server.close();
      host.close();
    }
  });

  test("messages of ICMP by their names", async () => {
    const subject = pod("pinged");
    const ping = async (from: Pod, passes: boolean): Promise<void> => {
      for (const address of subject.addresses) {
        const said = await from.exec(`ping -c 2 -W 1 ${address} || true`);
        assert.match(said, passes ? /[12] packets received/ : / 0 packets received/, `${from.name} → ${address}`);
      }
    };
    const rule = (type: string): object => ({ fromEndpoints: [selects("peer")], icmps: [{ fields: [{ type }, { family: "IPv6", type }] }] });
    await enforce(ns.name, policy("pinged", { endpointSelector: selects("pinged"), ingress: [rule("EchoRequest")] }));
    await Promise.all([ping(peer, true), ping(other, false), toPod(peer, subject, 8080, false)]);
    await enforce(ns.name, policy("pinged", { endpointSelector: selects("pinged"), ingress: [rule("EchoReply")] }));
    await ping(peer, false);
  });

  test("a NetworkPolicy: a block means pods, a name is the pod's, and an empty item everything", async () => {
    const subject = pod("native");
    const native = (ingress: readonly object[]): object => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "native" }, spec: { podSelector: selects("native"), ingress } });
    const blocks = (of: Pod): object[] => of.addresses.map((address) => ({ ipBlock: { cidr: `${address}/${address.includes(":") ? 128 : 32}` } }));
    const inForce = async (ingress: readonly object[], check: () => Promise<void>): Promise<void> => {
      await apply(native(ingress), "-n", ns.name);
      // The kind has no status: the node's state must say this generation, and the node that it is applied.
      const { metadata } = await get<NativeObject>("networkpolicy", "native", "-n", ns.name);
      const record = `"${metadata.uid}","NetworkPolicy","${ns.name}","native",${metadata.generation},`;
      await waitFor("the node state says it", async () => {
        const { items } = await get<{ items: { part?: { data: string }; manifest?: { parts: { data?: string }[] } }[] }>("ciliumnodestates");
        const texts = items.flatMap(({ part, manifest }) => [part?.data, ...(manifest?.parts ?? []).map(({ data }) => data)]);
        return texts.some((text) => text?.includes(record) === true) ? true : undefined;
      }, () => kubectl("get", "ciliumnodestates"), { timeoutMs: 30_000 });
      await settled();
      await check();
    };
    await inForce([{ from: blocks(peer), ports: [{ port: 8080 }] }], async () => {
      await Promise.all([toPod(peer, subject, 8080, true), toPod(peer, subject, 9090, false), toPod(other, subject, 8080, false)]);
    });
    await inForce([{}], () => Promise.all([toPod(peer, subject, 9090, true), toPod(other, subject, 8080, true)]).then(() => undefined));
    await inForce([], () => Promise.all([toPod(peer, subject, 9090, false), toPod(other, subject, 8080, false)]).then(() => undefined));
  });
});
