/**
 * The same cluster without a tunnel: switched by a chart value while pods run, and back. Who reaches whom is asked in both
 * families, and told by the receiver.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { apply, CHART_URL, get, inNode, kubectl, must, namespace, node, NODES, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { createPods, type Pod, type Site } from "./harness/pods.ts";
import { enforce, policy, remove } from "./harness/policy.ts";

await readyCluster();
await must(["helm", "repo", "add", "--force-update", "cilium", CHART_URL]);
const ns = await namespace("native");
const outside = await plugInOutside(207);
let [near, far, other, late]: Pod[] = [];
let isBack = false;

async function route(...values: string[]): Promise<void> {
  await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reset-values", ...values.flatMap((value) => ["--set", value])]);
  await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
  await readyCluster();
}

before(async () => {
  const pods = await createPods(ns.name, [
    { name: "near", node: 1, labels: { app: "near" } },
    { name: "far", node: 2, labels: { app: "far" } },
    { name: "other", node: 1, labels: { app: "other" } },
  ]);
  [near, far, other] = ["near", "far", "other"].map((name) => pods[name]) as [Pod, Pod, Pod];
  await route("routingMode=native", "autoDirectNodeRoutes=true");
  ({ late } = await createPods(ns.name, [{ name: "late", node: 3, labels: { app: "late" } }])) as { late: Pod };
}, { timeout: 900_000 });
after(async () => {
  await Promise.all([ns.remove(), outside.remove()]);
  if (!isBack) await route();
}, { timeout: 900_000 });

const word = (...parts: readonly string[]): string => [...parts, Math.random().toString(36).slice(2, 8)].join("-");

async function reaches(from: Site, to: Pod, peers?: readonly string[]): Promise<void> {
  for (const address of to.addresses) {
    for (const protocol of ["tcp", "udp"] as const) {
      const text = word(from.name, to.name, protocol);
      await from.reaches(protocol, address, 8080, text);
      const heard = (await to.heard(text)).map(({ peer }) => peer);
      assert.equal(heard.length, 1, `${to.name} heard ${from.name} ${heard.length} times`);
      if (peers !== undefined) assert.ok(peers.includes(heard[0] ?? ""), `${to.name} heard ${heard.join()}`);
    }
  }
}

async function isCut(from: Site, to: Pod): Promise<void> {
  for (const address of to.addresses) {
    const text = word(from.name, "cut", to.name);
    await from.isCutFrom("tcp", address, 8080, text);
    assert.deepEqual(await to.heard(text), []);
  }
}

const routesOf = async (name: string): Promise<string> => `${await inNode(name, ["ip", "route"])}${await inNode(name, ["ip", "-6", "route"])}`;

interface Routing {
  readonly spec: { readonly mode: string; readonly native: { readonly directNodeRoutes: boolean } };
  readonly status?: { readonly nodes: string; readonly tunnel: number; readonly native: number; readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[] };
}

/** What the CiliumRouting says, once it says it: mode, nodes, by tunnel, natively. */
async function routingIs(mode: string, nodes: string, tunnel: number, native: number): Promise<void> {
  await waitFor(`CiliumRouting: ${mode} on ${nodes}`, async () => {
    const { spec, status } = await get<Routing>("ciliumrouting", "default");
    const ready = status?.conditions.find(({ type }) => type === "Ready")?.status;
    return spec.mode === mode && status?.nodes === nodes && status.tunnel === tunnel && status.native === native && ready === "True" ? true : undefined;
  }, () => kubectl("describe", "ciliumrouting,ciliumnode"));
}

describe("native routing", () => {
  test("the CiliumRouting says how the nodes route, and on how many it is so; a spec changed by hand is the chart's again", async () => {
    await routingIs("native", "3/3", 0, 3);
    assert.match(await kubectl("describe", "ciliumrouting", "default"), /all 3 nodes route by native/);
    await kubectl("patch", "ciliumrouting", "default", "--type=merge", "-p", JSON.stringify({ spec: { native: { directNodeRoutes: false } } }));
    await waitFor("the chart's spec", async () => ((await get<Routing>("ciliumrouting", "default")).spec.native.directNodeRoutes ? true : undefined), () => kubectl("describe", "ciliumrouting"));
    await routingIs("native", "3/3", 0, 3);
  });

  test("no route leads to the tunnel; each node routes the others' pods to their addresses", async () => {
    for (const { name } of NODES) {
      const routes = await routesOf(name);
      for (const there of [1, 2, 3].map(node).filter((each) => each.name !== name)) {
        const { spec } = await get<{ spec: { podCIDRs: string[] } }>("node", there.name);
        for (const cidr of spec.podCIDRs) assert.match(routes, new RegExp(`${cidr.replaceAll(".", "\\.")} via ${(cidr.includes(":") ? there.ipv6 : there.ipv4).replaceAll(".", "\\.")} dev eth0 proto 193`));
      }
      assert.doesNotMatch(routes, /\/\d+ dev cilium_host/);
    }
  });

  test("pods that ran before and pods that came later reach each other with their own addresses", async () => {
    for (const [from, to] of [[near, far], [far, near], [near, late], [late, far], [near, other]] as const) await reaches(from as Pod, to as Pod, from?.addresses);
  });

  test("policy decides by the other pod's labels, and a node is no pod", async () => {
    await enforce(ns.name, policy("far", { endpointSelector: { matchLabels: { app: "far" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "near" } }] }] }));
    await reaches(near as Pod, far as Pod, near?.addresses);
    for (const from of [other, late, nodeSite(1), outside.site]) await isCut(from as Site, far as Pod);
    await reaches(nodeSite(2), far as Pod);
    await remove(ns.name, "far");
    await reaches(other as Pod, far as Pod);
    await reaches(nodeSite(1), far as Pod);
  });

  test("services: ClusterIP from a pod and a node, node port from outside, with a backend on another node", async () => {
    await apply({ apiVersion: "v1", kind: "Service", metadata: { name: "far", namespace: ns.name }, spec: { type: "NodePort", selector: { app: "far" }, ipFamilyPolicy: "RequireDualStack", ports: [{ port: 80, targetPort: 8080 }] } });
    const { spec } = await get<{ spec: { clusterIPs: string[]; ports: { nodePort: number }[] } }>("service", "far", "-n", ns.name);
    const ask = async (from: Site, address: string, port: number): Promise<void> => {
      await waitFor(`${from.name} → ${address} ${port}`, async () => ((await from.ask("tcp", address, port, { timeoutMs: 1000 })).answered ? true : undefined), () => kubectl("get", "endpointslices", "-n", ns.name));
    };
    for (const [index, address] of spec.clusterIPs.entries()) {
      await ask(near as Pod, address, 80);
      const text = word("service");
      await near?.reaches("tcp", address, 80, text);
      assert.deepEqual((await far?.heard(text))?.map(({ peer }) => peer), [near?.addresses[index]]);
      await ask(nodeSite(1), address, 80);
    }
    for (const number of [1, 2]) for (const address of [node(number).ipv4, node(number).ipv6]) await ask(outside.site, address, spec.ports[0]?.nodePort ?? 0);
  });

  test("a pod that came without a tunnel has the underlay's whole MTU, and it passes", async () => {
    assert.equal((await late?.exec("cat /sys/class/net/eth0/mtu"))?.trim(), (await inNode("node-3", ["cat", "/sys/class/net/eth0/mtu"])).trim());
    for (const address of far?.addresses ?? []) assert.ok((await late?.ask("udp", address, 8080, { size: 1450 }))?.answered, address);
    const { late2 } = await createPods(ns.name, [{ name: "late2", node: 1, labels: { app: "late2" } }]);
    for (const address of late2?.addresses ?? []) {
      assert.ok((await late?.ask("udp", address, 8080, { size: 1500 }))?.answered, address);
      assert.deepEqual(await late?.ask("udp", address, 8080, { size: 1501 }), { answered: false, detail: "Message too long" });
    }
  });

  test("pods leave with their node's address", async () => {
    const server = await outside.site.serve(18087);
    try {
      for (const [address, expected] of [[outside.ipv4, node(1).ipv4], [outside.ipv6, node(1).ipv6]] as const) {
        const text = word("out");
        await near?.reaches("tcp", address, 18087, text);
        assert.deepEqual(server.received().filter((line) => line.text === text).map(({ peer }) => peer), [expected]);
      }
    } finally {
      server.close();
    }
  });

  test("a route that somebody deletes is back at once", async () => {
    const before = await routesOf("node-1");
    const [cidr] = (await get<{ spec: { podCIDRs: string[] } }>("node", "node-2")).spec.podCIDRs;
    await inNode("node-1", ["ip", "route", "delete", cidr ?? ""]);
    await waitFor("the route", async () => ((await routesOf("node-1")) === before ? true : undefined), () => routesOf("node-1"), { timeoutMs: 60_000, everyMs: 100 });
    await reaches(near as Pod, far as Pod);
  });

  test("and back on the live cluster: no direct route is left, pods of before and after reach each other under policy, also those with a longer link", async () => {
    await enforce(ns.name, policy("far", { endpointSelector: { matchLabels: { app: "far" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "near" } }, { matchLabels: { app: "late" } }] }] }));
    await route();
    isBack = true;
    await routingIs("tunnel", "3/3", 3, 0);
    for (const { name } of NODES) {
      assert.match(await inNode(name, ["ip", "link"]), /cilium_vxlan/);
      const routes = await routesOf(name);
      assert.doesNotMatch(routes, / via \S+ dev \S+ proto 193/);
      for (const there of NODES.filter((each) => each.name !== name)) {
        const { spec } = await get<{ spec: { podCIDRs: string[] } }>("node", there.name);
        for (const cidr of spec.podCIDRs) assert.ok(routes.includes(`${cidr} dev cilium_host proto 193`), `${name}: ${cidr}\n${routes}`);
      }
    }
    const { newest } = await createPods(ns.name, [{ name: "newest", node: 3, labels: { app: "newest" } }]);
    for (const [from, to] of [[near, far], [late, far], [far, near], [far, late], [newest, late], [near, newest]] as const) await reaches(from as Pod, to as Pod, from?.addresses);
    for (const from of [other, newest]) await isCut(from as Site, far as Pod);
    // The link of a pod that came without a tunnel is longer than the tunnel takes: it is told, nothing is lost.
    for (const address of far?.addresses ?? []) assert.deepEqual(await late?.ask("udp", address, 8080, { size: 1500, timeoutMs: 20_000 }), { answered: false, detail: "Message too long" });
    await remove(ns.name, "far");
  });
});
