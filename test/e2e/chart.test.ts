/** The chart, from a chart repository: what it does not know or cannot do yet is refused by its name; upgrades are quiet. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { CHART_URL, command, get, inNode, kubectl, must, namespace, readyCluster } from "./harness/cluster.ts";
import { createPods, type Pod } from "./harness/pods.ts";
import { enforce, policy } from "./harness/policy.ts";

await readyCluster();
await must(["helm", "repo", "add", "--force-update", "cilium", CHART_URL]);
const ns = await namespace("chart");
after(() => ns.remove());

const revision = async (): Promise<number> => (JSON.parse(await must(["helm", "status", "cilium", "-n", "kube-system", "-o", "json"])) as { version: number }).version;

describe("helm", () => {
  test("the chart is found in the repository", async () => {
    assert.match(await must(["helm", "search", "repo", "cilium/cilium"]), /cilium\/cilium/);
    assert.match(await must(["helm", "show", "values", "cilium/cilium"]), /k8sServiceHost/);
  });

  test("a value that is unknown, misspelt or not built yet fails by its name, and changes nothing", async () => {
    const before = await revision();
    const cases: [string, string][] = [
      ["encryption.type=ipsec", "encryption.type"],
      ["encryption.nodeEncryption=true", "nodeEncryption"],
      ["kubeProxyReplacement=true", "kubeProxyReplacement"],
      ["kubeProxyReplacement=partial", "kubeProxyReplacement"],
      ["hubble.ui.enabled=true", "hubble.ui.enabled"],
      ["hubble.relay.enabled=true", "hubble.relay.enabled"],
      ["autoDirectNodeRoutes=true", "autoDirectNodeRoutes"],
      ["tunnelPort=many", "tunnelPort"],
      ["ipv4.enable=false", "enable"],
      ["kubeproxyReplacement=true", "kubeproxyReplacement"],
      ["operator.replicaCount=1", "replicaCount"],
      ["nonsense=1", "nonsense"],
    ];
    await Promise.all(cases.map(async ([set, name]) => {
      const output = await command(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reuse-values", "--dry-run=server", "--set", set]);
      assert.notEqual(output.code, 0, `--set ${set} was accepted`);
      assert.ok(output.stderr.includes(name), `--set ${set}: ${output.stderr}`);
    }));
    const real = await command(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reuse-values", "--set", "hubble.ui.enabled=true"]);
    assert.notEqual(real.code, 0);
    assert.match(real.stderr, /hubble\.ui\.enabled=true.*not built yet/);
    assert.equal(await revision(), before, "a refused upgrade leaves no revision");
  });

  test("nodes: the taint is gone, the network is there, the CNI file is there", async () => {
    const { items } = await get<{ items: { metadata: { name: string }; spec: { taints?: { key: string }[] }; status: { conditions: { type: string; status: string }[] } }[] }>("nodes");
    for (const { metadata, spec, status } of items) {
      assert.deepEqual((spec.taints ?? []).map(({ key }) => key), [], metadata.name);
      assert.equal(status.conditions.find(({ type }) => type === "NetworkUnavailable")?.status, "False", metadata.name);
      assert.equal(status.conditions.find(({ type }) => type === "Ready")?.status, "True", metadata.name);
      await inNode(metadata.name, ["test", "-s", "/etc/cni/net.d/05-cilium.conflist"]);
    }
  });

  test("helm upgrade loses no packet and admits none", { timeout: 720_000 }, async () => {
    const pods = await createPods(ns.name, [
      { name: "server", node: 1, labels: { app: "server" } },
      { name: "client", node: 2, labels: { app: "client" } },
      { name: "stranger", node: 2, labels: { app: "stranger" } },
    ]);
    const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
    const [server, client, stranger] = [pod("server"), pod("client"), pod("stranger")];
    await enforce(ns.name, policy("server", { endpointSelector: { matchLabels: { app: "server" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }] }] }));
    const flows = [client.flow("tcp", server.ipv4, 8080, 100, 200), client.flow("tcp-new", server.ipv6, 8080, 50, 200), client.flow("udp-new", server.ipv4, 8080, 50, 200)];
    const denied = stranger.flow("tcp-new", server.ipv4, 8080, 50, 200, "stranger");
    await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reset-values", "--set", "debug.enabled=true"]);
    await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
    await readyCluster();
    await sleep(1000);
    for (const flow of flows) {
      const result = await flow.stop();
      assert.equal(result.answered, result.sent, JSON.stringify({ ...result, tenths: [] }));
    }
    assert.equal((await denied.stop()).answered, 0);
    assert.deepEqual((await server.received()).filter(({ text }) => text.startsWith("stranger")), []);
    await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reset-values"]);
    await readyCluster();
  });
});
