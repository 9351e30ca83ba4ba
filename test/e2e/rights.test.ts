/** What our own processes may do on the cluster, who reaches them, and what users are given. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";

import { capture } from "../../src/cluster/process.ts";
import { command, get, kubectl, must, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { agentPod } from "./harness/faults.ts";
import { nodeSite } from "./harness/outside.ts";
import { containerPid, createPods, type PodObject, type Site } from "./harness/pods.ts";

const SYSTEM = "kube-system";
const NET_ADMIN = 12n;
const NET_RAW = 13n;
const SYS_ADMIN = 21n;

await readyCluster();
const ns = await namespace("rights");
after(() => ns.remove());
const pods = await createPods(ns.name, [{ name: "near", node: 1 }, { name: "next", node: 1 }, { name: "far", node: 2 }]);
const site = (name: string): Site => pods[name] ?? assert.fail(name);

/** What one wget from there got: the body, or undefined. */
async function fetched(from: Site, address: string, port: number, path: string): Promise<string | undefined> {
  const { code, stdout } = await capture([...from.enter, "timeout", "5", "busybox", "wget", "-q", "-O", "-", `http://${address.includes(":") ? `[${address}]` : address}:${port}${path}`]);
  return code === 0 ? stdout : undefined;
}

const processOf = (pod: PodObject): ReadonlyMap<string, string> =>
  new Map(readFileSync(`/proc/${containerPid(pod)}/status`, "utf8").split("\n").map((line) => [line.split(":")[0] ?? "", (line.split(":")[1] ?? "").trim()]));

async function agentOf(number: number): Promise<PodObject> {
  return (await agentPod(number)) ?? assert.fail(`no agent on node-${number}`);
}

async function operators(): Promise<readonly PodObject[]> {
  return (await get<{ items: PodObject[] }>("pods", "-n", SYSTEM, "-l", "name=cilium-operator")).items;
}

describe("our processes", () => {
  test("the agent has three capabilities under the runtime's seccomp profile; its sockets are its own", async () => {
    const agent = await agentOf(1);
    const status = processOf(agent);
    for (const set of ["CapEff", "CapBnd"]) assert.equal(BigInt(`0x${status.get(set) ?? ""}`), (1n << NET_ADMIN) | (1n << NET_RAW) | (1n << SYS_ADMIN), set);
    assert.equal(status.get("Seccomp"), "2", "a filter");
    const modes = await kubectl("-n", SYSTEM, "exec", agent.metadata.name, "-c", "cilium-agent", "--", "stat", "-c", "%a %u %F", "/var/run/cilium/cni.sock", "/var/run/cilium/monitor.sock");
    assert.deepEqual(modes.trim().split("\n"), ["600 0 socket", "600 0 socket"]);
  });

  test("the operator is nobody: no root, no capability, a read-only root file system", async () => {
    for (const operator of await operators()) {
      const status = processOf(operator);
      assert.match(status.get("Uid") ?? "", /^65532\s/);
      for (const set of ["CapEff", "CapBnd", "CapPrm"]) assert.equal(BigInt(`0x${status.get(set) ?? ""}`), 0n, set);
      assert.deepEqual([status.get("NoNewPrivs"), status.get("Seccomp")], ["1", "2"]);
      const write = await command(["kubectl", "-n", SYSTEM, "exec", operator.metadata.name, "--", "touch", "/x"]);
      assert.match(write.stderr, /Read-only file system/);
    }
  });

  test("no token is in a log, in the settings or in what the command prints", async () => {
    const agent = await agentOf(1);
    const token = await kubectl("-n", SYSTEM, "exec", agent.metadata.name, "-c", "cilium-agent", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token");
    const [, , signature = ""] = token.trim().split(".");
    assert.ok(signature.length > 40);
    const shown = await Promise.all([
      kubectl("-n", SYSTEM, "logs", "-l", "app.kubernetes.io/part-of=cilium", "--all-containers", "--tail=-1"),
      kubectl("-n", SYSTEM, "get", "configmap", "cilium-config", "-o", "yaml"),
      must(["cilium", "status", "-o", "json"]),
      must(["helm", "get", "all", "cilium", "-n", SYSTEM]),
    ]);
    for (const text of shown) assert.ok(text.length > 100 && !text.includes(signature) && !/eyJ[\w-]{20,}\.eyJ[\w-]{20,}\./.test(text));
  });
});

describe("health and metrics", () => {
  const PORTS = [[9879, "/healthz"], [9962, "/metrics"], [9891, "/healthz"], [9963, "/metrics"]] as const;

  test("pods get neither from any node, the node itself gets them", async () => {
    assert.match((await fetched(nodeSite(1), "127.0.0.1", 9962, "/metrics")) ?? "", /cilium_endpoints/);
    assert.equal(await fetched(nodeSite(1), "127.0.0.1", 9879, "/healthz"), "ok\n");
    const asked = ["near", "far"].flatMap((from) => [1, 2, 3].flatMap((number) => PORTS.map(async ([port, path]) => {
      for (const address of [node(number).ipv4, node(number).ipv6]) assert.equal(await fetched(site(from), address, port, path), undefined, `${from} → node-${number} ${address} ${port}`);
    })));
    await Promise.all(asked);
  });

  test("prometheus.allowFrom lets in whom it names, and nobody else", async () => {
    const { ipv4 } = pods["near"] ?? assert.fail();
    try {
      await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", SYSTEM, "--reset-values", "--set", `prometheus.allowFrom={${ipv4}}`]);
      await kubectl("-n", SYSTEM, "rollout", "status", "daemonset/cilium", "--timeout=360s");
      await readyCluster();
      const { ipv4: address } = node(1);
      assert.match((await fetched(site("near"), address, 9962, "/metrics")) ?? "", /cilium_endpoints/);
      for (const name of ["next", "far"]) assert.equal(await fetched(site(name), address, 9962, "/metrics"), undefined, name);
      assert.equal(await fetched(site("near"), address, 9879, "/healthz"), undefined, "health stays on loopback");
    } finally {
      await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", SYSTEM, "--reset-values"]);
      await kubectl("-n", SYSTEM, "rollout", "status", "daemonset/cilium", "--timeout=360s");
      await readyCluster();
    }
  });
});

describe("users", () => {
  const RESOURCES = ["ciliumnetworkpolicies", "ciliumendpoints", "ciliumidentities", "ciliumnodes", "ciliumnodestates"];

  test("view reads, edit and admin write namespaced policies, generated kinds are read-only for all three", async () => {
    const may = async (role: string, verb: string, resource: string, ...more: string[]): Promise<boolean> => {
      const { stdout } = await command(["kubectl", "auth", "can-i", verb, `${resource}.cilium.io`, ...more, "-n", ns.name, "--as", `system:serviceaccount:${ns.name}:${role}`]);
      return stdout.trim() === "yes";
    };
    for (const role of ["view", "edit", "admin"]) {
      await kubectl("-n", ns.name, "create", "serviceaccount", role);
      await kubectl("create", "clusterrolebinding", `${ns.name}-${role}`, `--clusterrole=${role}`, `--serviceaccount=${ns.name}:${role}`);
    }
    after(() => command(["kubectl", "delete", "clusterrolebinding", ...["view", "edit", "admin"].map((role) => `${ns.name}-${role}`)]));
    await waitFor("the roles to be aggregated", async () => (await may("admin", "create", RESOURCES[0] ?? "")) || undefined, () => kubectl("get", "clusterrole", "admin", "-o", "yaml"));
    for (const role of ["view", "edit", "admin"]) {
      for (const [index, resource] of RESOURCES.entries()) {
        assert.ok(await may(role, "list", resource), `${role} lists ${resource}`);
        for (const verb of ["create", "delete"]) assert.equal(await may(role, verb, resource), index === 0 && role !== "view", `${role} ${verb} ${resource}`);
      }
      assert.equal(await may(role, "patch", "ciliumnetworkpolicies", "--subresource=status"), false, `${role} patch status`);
    }
  });
});

describe("a stolen token", () => {
  test("of node-2's agent moves no traffic of other nodes' pods and gives nobody another's identity", async () => {
    const thief = (await agentOf(2)).metadata.name;
    const token = (await kubectl("-n", SYSTEM, "create", "token", "cilium", "--bound-object-kind=Pod", `--bound-object-name=${thief}`)).trim();
    const { ipv4, ipv6 } = pods["near"] ?? assert.fail();
    const object = (name: string, nodeName: string): object => ({
      apiVersion: "cilium.io/v2", kind: "CiliumEndpoint",
      metadata: { name, namespace: ns.name, ownerReferences: [{ apiVersion: "v1", kind: "Pod", name, uid: pods["far"]?.uid }] },
      status: { id: 9, state: "ready", identity: { id: 1 }, networking: { addressing: [{ ipv4, ipv6 }], node: node(2).ipv4, nodeName } },
    });
    const write = async (what: object): Promise<{ code: number | null; stderr: string }> =>
      command(["kubectl", "--token", token, "--kubeconfig", "/dev/null", "--server", await must(["kubectl", "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]), "--insecure-skip-tls-verify", "apply", "--server-side", "--force-conflicts", "-f", "-"], { input: JSON.stringify(what) });
    assert.match((await write(object("near", "node-2"))).stderr, /not of a pod on node-2/);
    assert.match((await write(object("stolen", "node-1"))).stderr, /its own pods only/);
    assert.match((await write({ apiVersion: "cilium.io/v2", kind: "CiliumNode", metadata: { name: "node-1" }, spec: { addresses: [], ipam: { podCIDRs: [] } } })).stderr, /its own CiliumNode only/);
    // What it may write, with another node's addresses in it: no agent believes it.
    const written = await write(object("stolen", "node-2"));
    assert.equal(written.code, 0, written.stderr);
    const until = Date.now() + 3000;
    while (Date.now() < until) {
      await site("far").reaches("tcp", ipv4, 8080);
      await site("next").reaches("tcp", ipv6, 8080);
    }
  });
});
