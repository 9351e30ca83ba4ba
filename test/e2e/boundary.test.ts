/** Where policy meets everything that is no plain pod-to-pod packet: services, nodes, the outside, forgers. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { apply, get, kubectl, must, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { createPods, type Pod, type PodObject, type Site } from "./harness/pods.ts";
import { enforce, monitor, policy } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("boundary");
const elsewhere = await namespace("elsewhere");
const outside = await plugInOutside(202);
after(async () => {
  await Promise.all([ns.remove(), elsewhere.remove(), outside.remove()]);
});
const PROBED = { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 1 } };
const pods = await createPods(ns.name, [
  { name: "closed", node: 1, labels: { app: "closed" }, container: PROBED },
  { name: "target", node: 1, labels: { app: "target" } },
  { name: "near", node: 1, labels: { app: "peer" } },
  { name: "far", node: 2, labels: { app: "peer" } },
  { name: "other", node: 1, labels: { app: "other" } },
  { name: "other-far", node: 2, labels: { app: "other" } },
  { name: "sender", node: 1, labels: { app: "sender" } },
  { name: "spaces", node: 2, labels: { app: "spaces" } },
  { name: "pieces", node: 2, labels: { app: "pieces" } },
  { name: "pinged", node: 1, labels: { app: "pinged" } },
]);
const { peer: namesake } = await createPods(elsewhere.name, [{ name: "peer", node: 1, labels: { app: "peer" } }]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [closed, target, near, far, other, sender] = ["closed", "target", "near", "far", "other", "sender"].map(pod) as [Pod, Pod, Pod, Pod, Pod, Pod];
const selects = (app: string): object => ({ matchLabels: { app } });
const word = (...parts: readonly string[]): string => [...parts, Math.random().toString(36).slice(2, 8)].join("-");

interface Service {
  readonly spec: { readonly clusterIPs: readonly string[]; readonly ports: readonly { readonly nodePort: number }[] };
}

/** A service of both families; ready when `from` gets through to it. */
async function service(name: string, app: string, from: Site): Promise<Service> {
  const ports = [{ name: "tcp", port: 80, targetPort: 8080, protocol: "TCP" }];
  await apply({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: ns.name }, spec: { type: "NodePort", selector: { app }, ipFamilyPolicy: "RequireDualStack", ports } });
  const found = await get<Service>("service", name, "-n", ns.name);
  for (const address of found.spec.clusterIPs) {
    await waitFor(`service ${name}`, async () => ((await from.ask("tcp", address, 80, { timeoutMs: 500 })).answered ? true : undefined), () => kubectl("get", "endpointslices", "-n", ns.name), { timeoutMs: 20_000 });
  }
  return found;
}

async function neverHears(subject: Pod, tries: readonly (readonly [Site, string, number])[]): Promise<void> {
  const text = word("forbidden");
  await Promise.all(tries.map(([from, address, port]) => from.isCutFrom("tcp", address, port, text)));
  assert.deepEqual(await subject.heard(text), []);
}

describe("policy at its boundaries", { concurrency: 4 }, () => {
  test("a closed pod: its own node and the kubelet's probes pass, other nodes and the outside do not", async () => {
    const { spec } = await service("closed", "closed", near);
    const [port = 0] = spec.ports.map(({ nodePort }) => nodePort);
    await enforce(ns.name, policy("closed", { endpointSelector: selects("closed"), ingress: [] }));
    for (const address of closed.addresses) await nodeSite(1).reaches("tcp", address, 8080);
    const tries: (readonly [Site, string, number])[] = [...closed.addresses.map((address) => [nodeSite(2), address, 8080] as const)];
    for (const number of [1, 2]) for (const address of [node(number).ipv4, node(number).ipv6]) tries.push([outside.site, address, port]);
    for (const address of spec.clusterIPs) tries.push([near, address, 80], [far, address, 80], [nodeSite(2), address, 80]);
    await neverHears(closed, tries);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const object = await get<PodObject>("pod", "closed", "-n", ns.name);
    assert.equal(object.status.containerStatuses?.[0]?.ready, true, "the kubelet's probe passes");
  });

  test("services under policy: the pods behind them decide, on the node and across nodes", async () => {
    const [toPeer, toOther] = await Promise.all([service("peer", "peer", target), service("other", "other", target)]);
    await enforce(ns.name, policy("sender", { endpointSelector: selects("sender"), egress: [{ toEndpoints: [selects("peer")], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }] }));
    for (const address of toPeer.spec.clusterIPs) {
      const heardBy = new Set<string>();
      // kube-proxy chooses at random: both backends, the near and the far, must come up.
      for (let round = 0; round < 24 && heardBy.size < 2; round++) {
        const text = word("service");
        await sender.reaches("tcp", address, 80, text);
        for (const backend of [near, far]) if ((await backend.heard(text)).length === 1) heardBy.add(backend.name);
      }
      assert.deepEqual([...heardBy].toSorted(), ["far", "near"]);
    }
    const text = word("denied");
    await Promise.all(toOther.spec.clusterIPs.flatMap((address) => [1, 2, 3, 4].map(() => sender.isCutFrom("tcp", address, 80, text))));
    for (const name of ["other", "other-far"]) assert.deepEqual(await pod(name).heard(text), []);
    // Neither the outside nor a node is a pod that the policy lists.
    const servers = await Promise.all([outside.site.serve(18083), nodeSite(1).serve(18083), nodeSite(2).serve(18083)]);
    try {
      for (const address of [outside.ipv4, outside.ipv6, node(2).ipv4, node(2).ipv6]) await sender.isCutFrom("tcp", address, 18083, text);
      assert.deepEqual([servers[0], servers[2]].flatMap((server) => server?.received().filter((line) => line.text === text)), []);
    } finally {
      for (const server of servers) server.close();
    }
  });

  test("labels of another namespace do not count, unless the rule names it", async () => {
    const spaces = pod("spaces");
    const stranger = namesake ?? assert.fail("no pod peer");
    const rule = (labels: object): object => policy("spaces", { endpointSelector: selects("spaces"), ingress: [{ fromEndpoints: [{ matchLabels: labels }] }] });
    await enforce(ns.name, rule({ app: "peer" }));
    for (const address of spaces.addresses) {
      await near.reaches("tcp", address, 8080);
      await stranger.isCutFrom("tcp", address, 8080, "from-elsewhere");
    }
    assert.deepEqual(await spaces.heard("from-elsewhere"), []);
    await enforce(ns.name, rule({ app: "peer", "k8s:io.kubernetes.pod.namespace": elsewhere.name }));
    for (const address of spaces.addresses) {
      await stranger.reaches("tcp", address, 8080);
      await near.isCutFrom("tcp", address, 8080);
    }
  });

  test("forged sources: a pod as another pod, the outside as a pod, by the underlay and by the tunnel", async () => {
    await enforce(ns.name, policy("target", { endpointSelector: selects("target"), ingress: [{ fromEndpoints: [selects("peer")] }] }));
    for (const address of target.addresses) await near.reaches("tcp", address, 8080);
    const text = word("forged");
    const say = (from: Site, source: string, port = 8080): Promise<unknown> =>
      must([...from.enter, "sh", "-c", `echo ${text} | timeout 3 socat -u - UDP4-SENDTO:${target.ipv4}:${port},bind=${source} || true`]);
    const watching = monitor(ns.name, "--type", "drop", "--pod", target.name);
    await waitFor("a drop in cilium monitor", async () => {
      await other.ask("tcp", target.ipv4, 8080, { timeoutMs: 200 });
      return watching.events()[0];
    }, async () => "none");
    await must([...near.enter, "sh", "-c", `echo ${text}-true | socat -u - UDP4-SENDTO:${target.ipv4}:8080,bind=${near.ipv4}`]);
    assert.equal((await target.heard(`${text}-true`)).length, 1, "this way of sending reaches the target");
    // A pod that gives itself a peer's address; on the target's node and on another.
    for (const [forger, victim] of [[other, near], [pod("other-far"), far], [pod("other-far"), near]] as const) {
      await must([...forger.enter, "ip", "address", "add", `${victim.ipv4}/32`, "dev", "lo"]);
      await say(forger, victim.ipv4);
      await must([...forger.enter, "ip", "address", "del", `${victim.ipv4}/32`, "dev", "lo"]);
    }
    // The outside, with a pod's address, to the pod by way of its node.
    await must([...outside.site.enter, "sh", "-c", `ip address add ${near.ipv4}/32 dev lo; ip address add ${far.ipv4}/32 dev lo; ip route replace ${target.ipv4}/32 via ${node(1).ipv4}`]);
    for (const victim of [near, far]) await say(outside.site, victim.ipv4);
    await say(outside.site, outside.ipv4);
    // The outside as a node of the tunnel, with the identity of a peer.
    const { items } = await get<{ items: { status?: { identity?: { id: number } }; metadata: { name: string } }[] }>("cep", "-n", ns.name);
    const identity = items.find(({ metadata }) => metadata.name === "far")?.status?.identity?.id ?? assert.fail("no identity of far");
    await must([...outside.site.enter, "sh", "-c", `ip link add vx type vxlan id ${identity} remote ${node(1).ipv4} dstport 8472 dev eth0 && ip link set vx up && ip route replace ${target.ipv4}/32 dev vx && ip neigh replace ${target.ipv4} lladdr 02:00:00:00:00:01 dev vx`]);
    await say(outside.site, far.ipv4);
    assert.deepEqual(await target.heard(text), []);
    // A pod as a tunnel: its packets to a node's tunnel port end at once.
    await must([...other.enter, "sh", "-c", `ip link add vx type vxlan id ${identity} remote ${node(1).ipv4} dstport 8472 dev eth0 && ip link set vx up && ip route replace ${target.ipv4}/32 dev vx && ip neigh replace ${target.ipv4} lladdr 02:00:00:00:00:01 dev vx`]);
    await say(other, other.ipv4);
    await must([...other.enter, "sh", "-c", `ip route del ${target.ipv4}/32 dev vx; ip link del vx`]);
    assert.deepEqual(await target.heard(text), []);
    for (const address of target.addresses) await near.reaches("tcp", address, 8080);
    watching.close();
    const reasons = new Set(watching.events().map(({ reason }) => reason));
    for (const reason of ["invalid-source-ip", "spoofed-underlay", "spoofed-overlay", "policy-denied"]) assert.ok(reasons.has(reason), `no drop for ${reason}: ${[...reasons].join(", ")}`);
  });

  test("ping passes by rules without ports only", async () => {
    const subject = pod("pinged");
    const ping = async (from: Pod, expected: boolean): Promise<void> => {
      await Promise.all(subject.addresses.map(async (address) => {
        const said = await from.exec(`ping -c 2 -W 1 ${address} || true`);
        assert.equal(/ 2 packets received/.test(said), expected, `${from.name} → ${address}: ${said}`);
      }));
    };
    await ping(near, true);
    await enforce(ns.name, policy("pinged", { endpointSelector: selects("pinged"), ingress: [{ fromEndpoints: [selects("peer")], toPorts: [{ ports: [{ port: "8080" }] }] }] }));
    await Promise.all([near, far].map((from) => ping(from, false)));
    await enforce(ns.name, policy("pinged", { endpointSelector: selects("pinged"), ingress: [{ fromEndpoints: [selects("peer")] }] }));
    await Promise.all([near, far].map((from) => ping(from, true)));
    await ping(other, false);
  });

  test("fragments of a datagram are judged as it is", async () => {
    for (const [from, to] of [[near, far], [other, near]] as const) {
      for (const address of to.addresses) {
        for (const size of [3000, 8000]) {
          const answer = await from.ask("udp", address, 8080, { size, fragment: true, text: word("whole") });
          assert.ok(answer.answered, `${size} bytes ${from.name} → ${address}: ${answer.detail}`);
        }
      }
    }
    await enforce(ns.name, policy("pieces", { endpointSelector: selects("pieces"), ingress: [{ fromEndpoints: [selects("peer")], toPorts: [{ ports: [{ port: "8080", protocol: "UDP" }] }] }] }));
    const pieces = pod("pieces");
    const text = word("pieces");
    for (const address of pieces.addresses) {
      assert.ok((await near.ask("udp", address, 8080, { size: 3000, fragment: true })).answered, `an allowed datagram in pieces to ${address}`);
      for (const from of [other, pod("other-far")]) assert.ok(!(await from.ask("udp", address, 8080, { size: 3000, fragment: true, text, timeoutMs: 800 })).answered);
    }
    assert.deepEqual(await pieces.heard(text), []);
  });
});
