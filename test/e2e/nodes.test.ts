/**
 * Nodes come, move and go while pods talk, in a cluster of its own: a node is added while its first pods already have
 * policies, gets other addresses in another segment behind a router, and is taken out.
 *
 *   node-1 ┐            ┌ node-3, from its move on
 *   node-2 ┼ switch ═ router ═ far, a bridge
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { machineCgroups } from "../../src/cluster/cgroup.ts";
import { clusterPaths, controlNetns, type NodeIdentity } from "../../src/cluster/config.ts";
import { ensurePki } from "../../src/cluster/controlplane.ts";
import { ensureKubelet } from "../../src/cluster/node.ts";
import { isAlive, readPidFile, run } from "../../src/cluster/process.ts";
import { findPrograms } from "../../src/cluster/programs.ts";
import { Progress } from "../../src/cluster/progress.ts";
import { sideCluster } from "./harness/side-cluster.ts";
import type { Pod, PodSpec, Site } from "./harness/pods.ts";

const NUMBER = 85;
const cluster = sideCluster("nodes", NUMBER, { NODES: "3" });
cluster.adopt();
const { apply, get, inNode, kubectl, must, namespace, node, ROOT, waitFor } = await import("./harness/cluster.ts");
const { createPods, podObject, readyPods } = await import("./harness/pods.ts");
const { enforce, policy } = await import("./harness/policy.ts");
const { nodeSite } = await import("./harness/outside.ts");
const { agentPod } = await import("./harness/faults.ts");

const { config } = cluster;
const ROUTER = `${config.name}-router`;
/** The second segment: the router's end of it, and where node-3 moves to. */
const FAR = { ipv4: `198.18.${NUMBER}`, ipv6: `fd00:198:18:${NUMBER.toString(16)}` } as const;
const MOVED = { ipv4: `${FAR.ipv4}.13`, ipv6: `${FAR.ipv6}::d` } as const;
const PATIENT = { timeoutMs: 90_000, everyMs: 500 } as const;
const SPECS: readonly PodSpec[] = [1, 2, 3].map((number) => ({ name: `p${number}`, node: number, labels: { app: `p${number}` } }));
const SERVER = { name: "server", node: 3, labels: { app: "server" } } as const;

const ip = (netns: string, line: string): Promise<string> => run(["ip", "-n", netns, ...line.split(" ")]);
const word = (...parts: readonly string[]): string => [...parts, Math.random().toString(36).slice(2, 8)].join("-");
const state = async (): Promise<string> => `${await kubectl("get", "nodes,pods", "-A", "-o", "wide")}\n${await kubectl("get", "ciliumnodes,ciliumroutings,ciliumencryptions", "-o", "yaml")}`;
const routesOf = async (name: string): Promise<string> => `${await inNode(name, ["ip", "route"])}${await inNode(name, ["ip", "-6", "route"])}`;

const podCidrs = async (name: string): Promise<readonly string[]> => (await get<{ spec: { podCIDRs: string[] } }>("node", name)).spec.podCIDRs;

/** In both families, told by who was asked: with the asker's own address. */
async function reaches(from: Pod, to: Pod): Promise<void> {
  for (const [index, address] of to.addresses.entries()) {
    await waitFor(`${from.name} → ${to.name} ${address}`, async () => {
      const text = word(from.name, to.name);
      if (!(await from.ask("tcp", address, 8080, { text, timeoutMs: 2000 })).answered) return undefined;
      assert.deepEqual((await to.heard(text)).map(({ peer }) => peer), [from.addresses[index]]);
      return true;
    }, state, PATIENT);
  }
}

async function allReach(pods: readonly Pod[]): Promise<void> {
  for (const from of pods) for (const to of pods) if (from !== to) await reaches(from, to);
}

async function isCut(from: Site, to: Pod): Promise<void> {
  for (const address of to.addresses) {
    const text = word(from.name, "cut");
    await from.isCutFrom("tcp", address, 8080, text);
    assert.deepEqual(await to.heard(text), []);
  }
}

/** As when a machine is plugged in elsewhere and gets other addresses: the node's pods run on. */
async function moveNode(identity: NodeIdentity): Promise<void> {
  const control = controlNetns(config);
  const kubelet = readPidFile(join(clusterPaths(config).run, `${identity.name}-kubelet.pid`)) ?? assert.fail("no kubelet");
  process.kill(kubelet.pid, "SIGTERM");
  await waitFor("the kubelet's end", async () => (isAlive(kubelet) ? undefined : true), state, PATIENT);
  await ip(control, `link set ${identity.port} master far`);
  await ip(identity.netns, "-4 address flush dev eth0 scope global");
  await ip(identity.netns, "-6 address flush dev eth0 scope global");
  await ip(identity.netns, `address add ${MOVED.ipv4}/24 dev eth0`);
  await ip(identity.netns, `address add ${MOVED.ipv6}/64 dev eth0 nodad`);
  await ip(identity.netns, `route replace default via ${FAR.ipv4}.254 dev eth0`);
  await ip(identity.netns, `-6 route replace default via ${FAR.ipv6}::fe dev eth0`);
  const pki = await ensurePki(config);
  rmSync(pki.files(`${identity.name}-serving`).cert);
  await ensureKubelet(config, { ...identity, ...MOVED }, machineCgroups(), await findPrograms(config, new Progress(() => undefined)), pki);
}

/** A second segment behind a router; everybody of the first one knows the way. */
async function makeSegment(): Promise<void> {
  const control = controlNetns(config);
  const near = { ipv4: `${config.subnet4}.254`, ipv6: `${config.subnet6}::fe` };
  await run(["ip", "netns", "add", ROUTER]);
  await run(["ip", "netns", "exec", ROUTER, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  await ip(control, "link add far type bridge");
  await ip(control, "link set far up");
  for (const [end, bridge, ipv4, ipv6] of [["near0", "switch", near.ipv4, near.ipv6], ["far0", "far", `${FAR.ipv4}.254`, `${FAR.ipv6}::fe`]] as const) {
    await ip(control, `link add r-${bridge} type veth peer name ${end} netns ${ROUTER}`);
    await ip(control, `link set r-${bridge} master ${bridge} up`);
    await ip(ROUTER, `link set ${end} up`);
    await ip(ROUTER, `address add ${ipv4}/24 dev ${end}`);
    await ip(ROUTER, `address add ${ipv6}/64 dev ${end} nodad`);
  }
  for (const netns of [control, node(1).netns, node(2).netns]) {
    await ip(netns, `route add ${FAR.ipv4}.0/24 via ${near.ipv4}`);
    await ip(netns, `-6 route add ${FAR.ipv6}::/64 via ${near.ipv6}`);
  }
}

after(async () => {
  await run(["sh", "-c", `ip netns del ${ROUTER} 2> /dev/null; true`]);
  await cluster.remove();
});

describe("nodes that come, move and go", { timeout: 1_800_000 }, () => {
  let ns: Awaited<ReturnType<typeof namespace>>;
  let pods: Pod[] = [];
  let cidrs: readonly string[] = [];

  test("a node is added to a cluster that encrypts: its pods and everybody's reach each other, and no policy is late", async () => {
    await cluster.start(2);
    await cluster.install("encryption.enabled=true");
    ns = await namespace("nodes");
    const { p1, p2 } = await createPods(ns.name, SPECS.slice(0, 2)) as Record<"p1" | "p2", Pod>;
    await reaches(p1, p2);
    // Its first packets are the first that the node ever sends or gets for a pod.
    const talker = { name: "talker", node: 3, labels: { app: "talker" }, shell: `while :; do ${join(ROOT, "build/bin/e2e-probe")} ask tcp ${p1.ipv4} 8080 300 from-talker; done` };
    await apply(policy("talker", { endpointSelector: { matchLabels: { app: "talker" } }, egress: [{ toEntities: ["host"] }] }), "-n", ns.name);
    await apply(policy("server", { endpointSelector: { matchLabels: { app: "server" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "p1" } }] }] }), "-n", ns.name);
    await apply({ apiVersion: "v1", kind: "List", items: [...SPECS.slice(2), SERVER, talker].map((spec) => podObject(ns.name, spec)) });
    await cluster.make("cluster");
    const { p3, server } = await readyPods(ns.name, ["p3", "server", "talker"], 180_000) as Record<"p3" | "server", Pod>;
    pods = [p1, p2, p3];
    await allReach(pods);
    await reaches(p1, server);
    await isCut(p2, server);
    assert.deepEqual((await p1.received()).filter(({ text }) => text === "from-talker"), []);
    await waitFor("the new node encrypts with all", async () => ((await get<{ status?: { nodes?: string } }>("ciliumencryption", "default")).status?.nodes === "3/3" ? true : undefined), state, PATIENT);
  });

  test("it gets other addresses, behind a router: traffic, tunnel and WireGuard's peers follow, in both families", async () => {
    cidrs = await podCidrs("node-3");
    await makeSegment();
    await moveNode(node(3));
    await waitFor("the node's new addresses", async () => {
      const { spec } = await get<{ spec: { addresses: { type: string; ip: string }[] } }>("ciliumnode", "node-3");
      const internal = spec.addresses.filter(({ type }) => type === "InternalIP").map((address) => address.ip);
      return internal.join() === `${MOVED.ipv4},${MOVED.ipv6}` ? true : undefined;
    }, state, PATIENT);
    await allReach(pods);
    const agent = await agentPod(1) ?? assert.fail("no agent");
    const peers = await waitFor("WireGuard's peers of node-1", async () => {
      const shown = await kubectl("-n", "kube-system", "exec", agent.metadata.name, "-c", "cilium-agent", "--", "wg", "show", "cilium_wg0", "dump");
      return shown.includes(`${MOVED.ipv4}:`) ? shown : undefined;
    }, state, PATIENT);
    assert.ok(!peers.includes(`${node(3).ipv4}:`), "nothing of it is sent to the address of before");
  });

  test("mode auto: native inside a segment, through the tunnel between the two", async () => {
    await cluster.helm("upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reuse-values", "--set", "encryption.enabled=false", "--set", "routingMode=auto", "--set", "autoDirectNodeRoutes=true");
    await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
    for (const [here, there, device] of [[1, 2, "eth0"], [2, 1, "eth0"], [1, 3, "cilium_host"], [2, 3, "cilium_host"], [3, 1, "cilium_host"], [3, 2, "cilium_host"]] as const) {
      const wanted = await podCidrs(`node-${there}`);
      await waitFor(`routes of node-${here} to node-${there} by ${device}`, async () => {
        const routes = await routesOf(`node-${here}`);
        return wanted.every((cidr) => routes.split("\n").some((line) => line.startsWith(`${cidr} `) && line.includes(` dev ${device} `))) ? true : undefined;
      }, async () => `${await routesOf(`node-${here}`)}\n${await state()}`, PATIENT);
    }
    await allReach(pods);
  });

  test("a node that runs the API server is that for policies, under each of its addresses, and no other node is", async () => {
    const slice = (family: "IPv4" | "IPv6", address: string): object => ({
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name: `of-node-${family.toLowerCase()}`, namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
      addressType: family, endpoints: [{ addresses: [address], conditions: { ready: true } }], ports: [{ name: "https", port: 6443, protocol: "TCP" }],
    });
    await apply(slice("IPv4", node(2).ipv4));
    const [p1] = pods as [Pod];
    await enforce(ns.name, policy("p1", { endpointSelector: { matchLabels: { app: "p1" } }, egress: [{ toEntities: ["kube-apiserver"] }], ingress: [{ fromEntities: ["kube-apiserver"] }] }));
    const servers = await Promise.all([2, 3].map((number) => nodeSite(number).serve(7443)));
    const [ours, others] = servers as [typeof servers[0], typeof servers[0]];
    try {
      for (const address of [node(2).ipv4, node(2).ipv6]) {
        await waitFor(`p1 reaches the API server's node at ${address}`, async () => ((await p1.ask("tcp", address, 7443, { timeoutMs: 2000 })).answered ? true : undefined), state, PATIENT);
      }
      assert.ok(ours?.received().length);
      for (const address of [MOVED.ipv4, MOVED.ipv6]) await p1.isCutFrom("tcp", address, 7443, "of-another-node");
      assert.deepEqual(others?.received(), []);
      for (const address of p1.addresses) await nodeSite(2).reaches("tcp", address, 8080);
      await isCut(nodeSite(3), p1);
    } finally {
      for (const server of servers) server.close();
    }
    await kubectl("-n", ns.name, "delete", "cnp", "p1");
    await kubectl("-n", "default", "delete", "endpointslice", "of-node-ipv4");
  });

  test("an address and a device that a node gets beside its own: the address is the node's for its pods, traffic goes on", async () => {
    const further = `${config.subnet4}.112`;
    await ip(node(2).netns, `address add ${further}/24 dev eth0`);
    await ip(controlNetns(config), `link add port2b type veth peer name eth1 netns ${node(2).netns}`);
    await ip(controlNetns(config), "link set port2b master far up");
    await ip(node(2).netns, "link set eth1 up");
    await ip(node(2).netns, `address add ${FAR.ipv4}.112/24 dev eth1`);
    const [p1, p2, p3] = pods as [Pod, Pod, Pod];
    await enforce(ns.name, policy("p2", { endpointSelector: { matchLabels: { app: "p2" } }, egress: [{ toEntities: ["host"] }] }));
    const servers = await Promise.all([1, 2].map((number) => nodeSite(number).serve(7444)));
    try {
      await waitFor("its pod reaches the further address", async () => ((await p2.ask("tcp", further, 7444, { timeoutMs: 2000 })).answered ? true : undefined), state, PATIENT);
      await p2.isCutFrom("tcp", node(1).ipv4, 7444, "of-another-node");
      assert.deepEqual(servers[0]?.received(), []);
    } finally {
      for (const server of servers) server.close();
    }
    await kubectl("-n", ns.name, "delete", "cnp", "p2");
    await reaches(p1, p2);
    await reaches(p2, p3);
    await reaches(p3, p2);
  });

  test("a node is taken out: its routes and addresses are gone everywhere, the others go on", async () => {
    await kubectl("-n", ns.name, "delete", "pod", "p3", "server", "talker", "--force", "--grace-period=0");
    await run([process.execPath, join(ROOT, "src/cluster/main.ts"), "node-stop", "node-3"], { env: cluster.env, timeoutMs: 120_000 });
    await kubectl("delete", "node", "node-3");
    await waitFor("its objects are gone", async () => ((await kubectl("get", "ciliumnodes,ciliumnodestates", "-o", "name")).includes("node-3") ? undefined : true), state, PATIENT);
    for (const number of [1, 2]) {
      await waitFor(`node-${number} has let go of it`, async () => {
        const routes = await routesOf(`node-${number}`);
        const known = await must(["cilium", "bpf", "ipcache", "list", "--node", `node-${number}`]);
        return [...cidrs, MOVED.ipv4, MOVED.ipv6].some((text) => routes.includes(`${text} dev`) || known.includes(text)) ? undefined : true;
      }, async () => `${await routesOf(`node-${number}`)}\n${await state()}`, PATIENT);
    }
    await allReach(pods.slice(0, 2));
  });
});
