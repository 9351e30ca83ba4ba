/** Agents, operators and nodes that stop: what is in force stays in force, and nothing opens. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { apply, command, get, inNode, kubectl, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { agentDies, agentPod, kernelKnows, killApiServer, killContainerd, kubeProxy, onDisk, power, repairCluster, scaleOperator, withoutAgent } from "./harness/faults.ts";
import { containerPid, createPods, type Pod, type PodObject, podObject, type PodSpec, readyPods } from "./harness/pods.ts";
import { conditionOf, enforce, getPolicy, policy } from "./harness/policy.ts";
import { type Traffic, traffic } from "./harness/traffic.ts";

await readyCluster();
const ns = await namespace("lifecycle");
after(() => ns.remove());
const SPECS: readonly PodSpec[] = [
  { name: "api", node: 1, labels: { app: "api" } },
  { name: "api-far", node: 2, labels: { app: "api" } },
  { name: "frontend", node: 2, labels: { app: "frontend" } },
  { name: "frontend-near", node: 1, labels: { app: "frontend" } },
  { name: "other", node: 2, labels: { app: "other" } },
  { name: "other-near", node: 1, labels: { app: "other" } },
];
await createPods(ns.name, SPECS);
const selects = (app: string): object => ({ matchLabels: { app } });
const RULE = { endpointSelector: selects("api"), ingress: [{ fromEndpoints: [selects("frontend")], toPorts: [{ ports: [{ port: "8080" }] }] }] };
await enforce(ns.name, policy("api", RULE));

/** The pods as they are now: a node that started again gave them other containers. */
async function current(): Promise<(name: string) => Pod> {
  const pods = await readyPods(ns.name, SPECS.map(({ name }) => name), 120_000);
  return (name) => pods[name] ?? assert.fail(`no pod ${name}`);
}

async function startTraffic(seconds: number): Promise<Traffic> {
  const pod = await current();
  return traffic({ servers: [pod("api"), pod("api-far")], allowed: [pod("frontend"), pod("frontend-near")], forbidden: [pod("other"), pod("other-near")] }, seconds);
}

async function rightPodsTalk(): Promise<void> {
  const pod = await current();
  for (const name of ["api", "api-far"]) {
    for (const address of pod(name).addresses) {
      for (const from of ["frontend", "frontend-near"]) await pod(from).reaches("tcp", address, 8080);
      await Promise.all(["other", "other-near"].map((from) => pod(from).isCutFrom("tcp", address, 8080)));
    }
  }
}

/** The DaemonSet's own count is of before the boot for a while. */
async function agentsReady(...numbers: readonly number[]): Promise<void> {
  for (const { name, netns } of numbers.map(node)) {
    const ask = ["nsenter", `--net=/run/netns/${netns}`, "--", "timeout", "2", "busybox", "wget", "-qO-", "http://127.0.0.1:9879/readyz"];
    await waitFor(`the agent of ${name} is ready`, async () => ((await command(ask)).code === 0 ? true : undefined),
      () => kubectl("get", "pods", "-n", "kube-system", "-o", "wide"), { timeoutMs: 120_000, everyMs: 1000 });
  }
}

describe("restarts under traffic", () => {
  test("an agent's pod is deleted, and five agents are killed: nothing allowed is lost, nothing forbidden passes", { timeout: 900_000 }, async () => {
    const running = await startTraffic(400);
    const old = await agentPod(1);
    await kubectl("-n", "kube-system", "delete", "pod", old?.metadata.name ?? assert.fail("no agent"));
    await waitFor("a new agent", async () => ((await agentPod(1))?.metadata.uid !== old?.metadata.uid ? true : undefined), () => kubectl("get", "pods", "-n", "kube-system"));
    await agentsReady(1);
    for (const number of [2, 1, 2, 1, 2]) await agentDies(number);
    await readyCluster();
    await sleep(2000);
    await running.judge();
    await rightPodsTalk();
  });
});

describe("without a container runtime", () => {
  test("containerd is killed and starts again on two nodes: nothing allowed is lost, nothing forbidden passes, and a pod that waited for it comes under policy", { timeout: 300_000 }, async () => {
    const running = await startTraffic(280);
    const waits = podObject(ns.name, { name: "waits", node: 1, labels: { app: "frontend" } });
    for (const node of [1, 2]) await killContainerd(node);
    try {
      await apply(waits);
      await rightPodsTalk();
      assert.equal((await get<PodObject>("pod", "waits", "-n", ns.name)).status.phase, "Pending");
    } finally {
      await repairCluster();
    }
    const { waits: come } = await readyPods(ns.name, ["waits"], 120_000);
    const pod = await current();
    await come?.reaches("tcp", pod("api").ipv4, 8080);
    await readyCluster();
    await running.judge();
    await rightPodsTalk();
    await kubectl("delete", "pod", "waits", "-n", ns.name, "--timeout=60s");
  });
});

describe("without an API server", () => {
  test("agents that restart meanwhile go on from disk; nothing allowed is lost, nothing forbidden passes", { timeout: 540_000 }, async () => {
    const running = await startTraffic(150);
    const agents = await Promise.all([1, 2].map(agentPod));
    await killApiServer();
    try {
      for (const agent of agents) process.kill(containerPid(agent ?? assert.fail("no agent")), "SIGKILL");
      await sleep(2000);
      await agentsReady(1, 2);
      await sleep(8000);
    } finally {
      await repairCluster();
    }
    await readyCluster();
    await running.judge();
    await rightPodsTalk();
  });
});

describe("without an operator", () => {
  test("pods of a known identity start, others wait without a network, policy stays; later the waiting pod runs", { timeout: 720_000 }, async () => {
    await scaleOperator(0);
    try {
      const started = await createPods(ns.name, [{ name: "known", node: 1, labels: { app: "frontend" } }]);
      const pod = await current();
      await started["known"]?.reaches("tcp", pod("api").ipv4, 8080);
      await apply(podObject(ns.name, { name: "unknown", node: 1, labels: { app: "never-seen" } }));
      await sleep(8000);
      const waiting = await get<PodObject>("pod", "unknown", "-n", ns.name);
      assert.equal(waiting.status.phase, "Pending", "a pod without an applied policy must not run");
      assert.deepEqual(waiting.status.podIPs ?? [], []);
      await rightPodsTalk();
    } finally {
      await scaleOperator(2);
    }
    await readyPods(ns.name, ["unknown"], 120_000);
    await readyCluster();
    await kubectl("delete", "pod", "known", "unknown", "-n", ns.name, "--wait=false");
  });
});

describe("CNI DEL without an agent", () => {
  test("it succeeds, is replayed when the agent is back, and no address leaks", { timeout: 720_000 }, async () => {
    const names = ["gone-0", "gone-1", "gone-2"];
    const gone = await createPods(ns.name, names.map((name) => ({ name, node: 1, labels: { app: "gone" } })));
    const before = (await onDisk(1, "endpoints")).length;
    const agentless = await withoutAgent(1);
    try {
      await kubectl("delete", "pod", ...names, "-n", ns.name, "--timeout=180s");
      await waitFor("the deletions wait on disk", async () => ((await onDisk(1, "cni-del")).length >= names.length ? true : undefined), async () => (await onDisk(1, "cni-del")).join(" "), { timeoutMs: 30_000 });
      await rightPodsTalk();
    } finally {
      await agentless.back();
    }
    await readyCluster();
    await waitFor("the replay", async () => ((await onDisk(1, "cni-del")).length === 0 && (await onDisk(1, "endpoints")).length <= before - names.length ? true : undefined),
      async () => JSON.stringify({ queued: await onDisk(1, "cni-del"), endpoints: await onDisk(1, "endpoints") }), { timeoutMs: 30_000 });
    const links = await inNode("node-1", ["sh", "-c", "ip -o link show type veth | grep -c lxc"]);
    assert.equal(Number(links), (await onDisk(1, "endpoints")).length, "as many links as endpoints");
    const { items } = await get<{ items: { metadata: { name: string } }[] }>("cep", "-n", ns.name);
    assert.deepEqual(items.filter(({ metadata }) => metadata.name.startsWith("gone")), []);
    assert.equal(Object.keys(gone).length, names.length);
  });

  test("a sandbox that dies is made again, under policy and with what it was", { timeout: 360_000 }, async () => {
    const { frail } = await createPods(ns.name, [{ name: "frail", node: 1, labels: { app: "api" } }]);
    const before = frail ?? assert.fail("no pod frail");
    const [pause = ""] = (await inNode("node-1", ["sh", "-c", `for p in /proc/[0-9]*; do [ "$(readlink $p/ns/net)" = "$(readlink /proc/${before.pid}/ns/net)" ] && tr '\\0' ' ' < $p/cmdline | grep -q ^/pause && basename $p; done; true`])).trim().split("\n");
    assert.match(pause, /^\d+$/);
    process.kill(Number(pause), "SIGKILL");
    const after = await waitFor("another sandbox", async () => {
      const { frail: now } = await readyPods(ns.name, ["frail"]).catch(() => ({ frail: undefined }));
      return now !== undefined && now.pid !== before.pid ? now : undefined;
    }, () => kubectl("describe", "pod", "frail", "-n", ns.name), { timeoutMs: 60_000 });
    assert.equal(after.uid, before.uid);
    const pod = await current();
    for (const address of after.addresses) {
      await pod("frontend").reaches("tcp", address, 8080);
      await pod("other").isCutFrom("tcp", address, 8080);
    }
    await kubectl("delete", "pod", "frail", "-n", ns.name, "--wait=false");
  });

  test("no address is given twice while pods come and go", { timeout: 360_000 }, async () => {
    const names = Array.from({ length: 8 }, (_, index) => `churn-${index}`);
    const seen = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const churn = Object.values(await createPods(ns.name, names.map((name, index) => ({ name, node: 1 + (index % 2), labels: { app: "churn" } }))));
      const { items } = await get<{ items: PodObject[] }>("pods", "-A");
      const addresses = items.filter((item) => item.status.phase === "Running").flatMap((item) => (item.status.podIPs ?? []).map(({ ip }) => ip)).filter((ip) => ip.startsWith("10.244.") || ip.startsWith("fd00:10:244:"));
      assert.equal(new Set(addresses).size, addresses.length, "an address is used twice");
      for (const { ipv4 } of churn) {
        assert.ok(!seen.has(ipv4), `${ipv4} was given again at once`);
        seen.add(ipv4);
      }
      await kubectl("delete", "pod", ...names, "-n", ns.name, "--timeout=180s");
    }
  });
});

describe("nodes", () => {
  test("a node dies under traffic: its pod's address means nobody before the node can give it again, Enforced is Unknown and names it; it comes back under policy, and the others notice nothing", { timeout: 900_000 }, async () => {
    const moving: PodSpec = { name: "moving", node: 3, labels: { app: "frontend" } };
    const { moving: dying } = await createPods(ns.name, [{ name: "on-3", node: 3, labels: { app: "lonely" } }, { name: "on-1", node: 1, labels: { app: "lonely" } }, moving]);
    assert.ok(dying);
    const lonely = { endpointSelector: selects("lonely"), ingress: [{ fromEndpoints: [selects("frontend")] }] };
    await enforce(ns.name, policy("lonely", lonely));
    assert.ok(await kernelKnows("node-1", dying.ipv4) && await kernelKnows("node-2", dying.ipv4), "the pod's address is known before");
    const running = await startTraffic(600);
    await power(3, false);
    try {
      await apply(policy("lonely", { ...lonely, ingress: [{ fromEndpoints: [selects("other")] }] }), "-n", ns.name);
      // As a controller replaces what was lost with a node.
      await kubectl("delete", "pod", "moving", "-n", ns.name, "--force", "--grace-period=0");
      for (const each of ["node-1", "node-2"]) await waitFor(`${dying.ipv4} is nobody's on ${each}`, async () => ((await kernelKnows(each, dying.ipv4)) ? undefined : true), () => kubectl("get", "cep", "-n", ns.name), { timeoutMs: 120_000 });
      const { moving: moved } = await createPods(ns.name, [{ ...moving, node: 1 }]);
      await moved?.reaches("tcp", (await current())("api-far").ipv4, 8080);
      const object = await waitFor("Enforced is Unknown and names node-3", async () => {
        const found = await getPolicy(ns.name, "lonely");
        return conditionOf(found, "Enforced")?.status === "Unknown" ? found : undefined;
      }, () => kubectl("describe", "cnp", "lonely", "-n", ns.name), { timeoutMs: 120_000, everyMs: 1000 });
      assert.deepEqual(object.status?.failingNodes?.map(({ node }) => node), ["node-3"]);
      assert.equal(object.status?.enforced, "1/2");
    } finally {
      await power(3, true);
    }
    await readyCluster();
    await waitFor("2/2", async () => ((await getPolicy(ns.name, "lonely")).status?.enforced === "2/2" ? true : undefined), () => kubectl("describe", "cnp", "lonely", "-n", ns.name), { timeoutMs: 90_000 });
    const pod = await current();
    const { "on-3": back } = await readyPods(ns.name, ["on-3"]);
    await pod("other").reaches("tcp", back?.ipv4 ?? "", 8080);
    await pod("frontend").isCutFrom("tcp", back?.ipv4 ?? "", 8080);
    for (const each of ["node-1", "node-2"]) assert.ok(!(await kernelKnows(each, dying.ipv4)), `the node that is back does not speak for ${dying.ipv4} on ${each}`);
    await running.judge();
    await kubectl("delete", "pod", "on-3", "on-1", "moving", "-n", ns.name, "--wait=false");
  });

  test("a cold boot of all nodes: no DNS, no kube-proxy, and the operator last", { timeout: 1_260_000 }, async () => {
    const failures: unknown[] = [];
    await kubeProxy(false);
    await scaleOperator(0);
    try {
      for (const on of [false, true]) for (const each of [1, 2, 3]) await power(each, on);
      // Without kube-proxy the service address of the API server leads nowhere: the agents know another.
      await agentsReady(1, 2, 3);
      await rightPodsTalk();
    } catch (error) {
      failures.push(error);
      for (const each of [1, 2, 3]) await power(each, true);
    }
    await kubeProxy(true);
    await scaleOperator(2);
    assert.deepEqual(failures, []);
    await readyCluster();
    const pod = await current();
    await waitFor("DNS", async () => (/10\.96\.0\.1/.test(await pod("frontend").exec("nslookup kubernetes.default.svc.cluster.local || true")) ? true : undefined), async () => "no answer", { timeoutMs: 30_000 });
    await rightPodsTalk();
  });
});
