/** The whole agent in a network namespace: a real API server, real programs and maps, the real plugin. */
import { strict as assert } from "node:assert";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { statusName } from "../../src/feed/index.ts";
import { CILIUM_ENDPOINTS, CILIUM_NODE_STATES, CILIUM_NODES, NODES } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { AgentLab } from "./agent-lab.ts";

const lab = new AgentLab({ prefix: `cilagt${process.pid}`, pods: 3, subnet: "198.51.100", podCidrs: ["10.77.0.0/24", "fd77::/64"] });
const { path, ip, ping, log, until, inNode } = lab;

/** Settings of the node before the agent, other than the agent wants them. */
const FOUND_SETTINGS = ["net.ipv4.ip_forward=0", "net.ipv4.conf.all.rp_filter=2", "net.ipv4.conf.default.rp_filter=1", "net.ipv6.conf.all.forwarding=0"] as const;

describe("agent", { timeout: 180_000 }, () => {
  before(async () => {
    await lab.setUp();
    for (const setting of FOUND_SETTINGS) inNode("sysctl", "-qw", setting);
    inNode("ip", "rule", "add", "pref", "77", "to", "203.0.113.0/24", "lookup", "77");
    writeFileSync(path("net.d/10-other.conf"), "{}");
    const nft = execFileSync("sh", ["-c", "command -v nft"], { encoding: "utf8" }).trim();
    writeFileSync(path("shims/nft"), `#!/bin/sh\n[ ! -e ${path("nft-refuses")} ] || { echo nft refuses >&2; exit 1; }\nexec ${nft} "$@"\n`, { mode: 0o755 });
  });
  after(() => lab.tearDown());

  it("comes up: node object, configuration, readiness only with a state", async () => {
    await lab.createPod("web");
    await lab.createIdentity(300, "web");
    writeFileSync(path("nft-refuses"), "");
    lab.spawnAgent();
    await until("the guard is refused", () => log().includes("nft refuses"));
    await sleep(500);
    assert.equal(existsSync(path("run/cni.sock")) || existsSync(path("net.d/05-cilium.conflist")), false, "no pod without the guard");
    assert.match(spawnSync("ip", ["netns", "exec", lab.nodeNs, "busybox", "wget", "-qO-", "-S", "http://127.0.0.1:9879/readyz"], { encoding: "utf8" }).stderr, /503/);
    rmSync(path("nft-refuses"));
    await lab.awaitServing();
    assert.ok(existsSync(path("net.d/05-cilium.conflist")) && existsSync(path("bin/cilium-cni")));
    const node = await until("CiliumNode", () => lab.client.get(CILIUM_NODES, { name: lab.node }));
    assert.deepEqual(node.spec.addresses, [{ type: "InternalIP", ip: lab.nodeIp }, { type: "CiliumInternalIP", ip: "10.77.0.1" }, { type: "CiliumInternalIP", ip: "fd77::1" }]);
    assert.equal((await lab.plugin("STATUS", "web", 0)).answer?.code, 50);
    const revision = await lab.writeState([300]);
    await until("acknowledged", () => lab.isAcknowledged(revision));
    await until("ready", async () => {
      const now = await lab.client.get(NODES, { name: lab.node });
      return now?.spec?.taints?.every((taint) => taint.key !== "node.cilium.io/agent-not-ready") && now.status?.conditions?.some((condition) => condition.type === "NetworkUnavailable" && condition.status === "False");
    });
    assert.ok((await lab.client.get(NODES, { name: lab.node }))?.spec?.taints?.some((taint) => taint.key === "mine"), "the taints of others stay");
    assert.equal((await lab.plugin("STATUS", "web", 0)).code, 0);
  });

  it("tells what preflight found: in the log, as a warning that ends with its cause, in the Node's condition", async () => {
    assert.match(log(), /preflight: .*10-other\.conf is no network configuration/);
    assert.match(log(), /preflight: rules of others: IPv4 77: /);
    const acknowledged = async (): Promise<readonly { readonly part: string }[]> => (await lab.client.get(CILIUM_NODE_STATES, { name: statusName(lab.node) }))?.status?.warnings ?? [];
    await until("the other configuration is set aside, the rule is there", async () => (await acknowledged()).map(({ part }) => part).join() === "preflight ip rules", 60_000);
    await until("the condition", async () => {
      const conditions = (await lab.client.get(NODES, { name: lab.node }))?.status?.conditions ?? [];
      return conditions.some(({ type, message = "" }) => type === "NetworkUnavailable" && message.endsWith("preflight found 1 problem, which `cilium preflight` tells"));
    }, 60_000);
  });

  it("gives a pod its network, reachable from the node, and writes its CiliumEndpoint", async () => {
    const { code, answer } = await lab.plugin("ADD", "web", 0);
    assert.equal(code, 0, JSON.stringify(answer));
    assert.deepEqual(answer?.ips?.map((item) => item.address), ["10.77.0.2/32", "fd77::2/128"]);
    ping(lab.nodeNs, "10.77.0.2");
    ping(lab.nodeNs, "fd77::2");
    assert.equal((await lab.plugin("CHECK", "web", 0)).code, 0);
    const endpoint = await until("CiliumEndpoint", () => lab.client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" }));
    assert.equal(endpoint.status?.identity.id, 300);
    assert.equal(endpoint.metadata.ownerReferences?.[0]?.uid, lab.uids.get("web"));
    await until("state ready", async () => (await lab.client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" }))?.status?.state === "ready");
  });

  it("puts the guard, the masquerade and the way through FORWARD back when others took them", async () => {
    inNode("nft", "flush", "ruleset");
    inNode("iptables", "-P", "FORWARD", "DROP");
    await until("the table is back", () => inNode("nft", "list", "tables").includes("table inet cilium"));
    assert.match(inNode("nft", "list", "table", "inet", "cilium"), /chain input[^}]*drop/);
    await until("FORWARD accepts", () => inNode("iptables", "-S", "FORWARD").match(/--comment cilium -j ACCEPT/g)?.length === 4);
    inNode("nft", "delete", "table", "ip", "filter");
  });

  it("lets a pod wait for its identity and policy, with nothing taken meanwhile", async () => {
    await lab.createPod("late");
    const adding = lab.plugin("ADD", "late", 1);
    await sleep(300);
    assert.deepEqual(readdirSync(path("state/endpoints")), ["container-web.json"]);
    await lab.createIdentity(301, "late");
    await sleep(100);
    await lab.writeState([300, 301]);
    const { code, answer } = await adding;
    assert.equal(code, 0, JSON.stringify(answer));
    ping(lab.podNs[1] ?? "", "10.77.0.2");
  });

  it("is killed, and starts without the API server: what ran runs, and a known pod starts", async () => {
    await lab.createPod("cold");
    await lab.createIdentity(302, "cold");
    const revision = await lab.writeState([300, 301, 302]);
    await until("acknowledged", () => lab.isAcknowledged(revision));
    const kept = (table: string, text: string): boolean => existsSync(path(`state/tables/${table}.json`)) && readFileSync(path(`state/tables/${table}.json`), "utf8").includes(text);
    await until("kept on disk", () => kept("pods", "cold") && kept("identities", "302") && kept("nodes", lab.node) && kept("endpoints", "late"));
    await lab.killAgent();
    await lab.api.kill();
    ping(lab.podNs[1] ?? "", "10.77.0.2");
    assert.deepEqual(await lab.plugin("DEL", "late", 1), { code: 0, answer: undefined });
    assert.equal(readdirSync(path("state/cni-del")).length, 1);
    await lab.startAgent();
    assert.deepEqual(readdirSync(path("state/cni-del")), []);
    assert.deepEqual(readdirSync(path("state/endpoints")), ["container-web.json"]);
    assert.equal((await lab.plugin("CHECK", "web", 0)).code, 0);
    const { code, answer } = await lab.plugin("ADD", "cold", 2);
    assert.equal(code, 0, JSON.stringify(answer));
    assert.deepEqual(answer?.ips?.map((item) => item.address), ["10.77.0.4/32", "fd77::4/128"], "the freed address rests");
    ping(lab.podNs[2] ?? "", "10.77.0.2");
  });

  it("tells the API server what happened meanwhile, once it is back", async () => {
    await lab.api.restart();
    await until("the new pod's endpoint", () => lab.client.get(CILIUM_ENDPOINTS, { name: "cold", namespace: "default" }).catch(() => undefined), 40_000);
    await until("the deleted pod's is gone", async () => (await lab.client.get(CILIUM_ENDPOINTS, { name: "late", namespace: "default" })) === undefined, 40_000);
    assert.equal((await lab.plugin("DEL", "web", 0)).code, 0);
    assert.ok(!ip("-n", lab.nodeNs, "-json", "link", "show").includes("container-web"));
    await until("its endpoint is gone", async () => (await lab.client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" })) === undefined);
  });

  it("uninstalls: the node is as it was, twice", async () => {
    assert.ok(existsSync(path("net.d/10-other.conf.cilium_bak")));
    await lab.killAgent();
    for (let time = 1; time <= 2; time++) {
      ip("netns", "exec", lab.nodeNs, process.execPath, join(import.meta.dirname, "agent-runner.ts"), path("runner.json"), "uninstall");
      assert.deepEqual(readdirSync(path("net.d")), ["10-other.conf"]);
      assert.deepEqual([readdirSync(path("bin")), existsSync(path("run"))], [[], false]);
      assert.equal(existsSync(path("bpf/cilium")), false);
      assert.equal(existsSync(path("state")), false);
      assert.deepEqual(JSON.parse(ip("-n", lab.nodeNs, "-json", "link", "show")).map((link: { ifname: string }) => link.ifname).sort(), ["eth0", "lo", "wire"]);
      assert.equal(ip("netns", "exec", lab.nodeNs, "nft", "list", "tables"), "");
      assert.equal(ip("netns", "exec", lab.nodeNs, "tc", "filter", "show", "dev", "eth0", "ingress"), "");
      assert.equal(ip("-n", lab.nodeNs, "route", "show", "proto", "193"), "");
      assert.doesNotMatch(inNode("tc", "qdisc", "show", "dev", "eth0"), /clsact/);
      for (const setting of FOUND_SETTINGS) assert.equal(inNode("sysctl", setting.split("=")[0] ?? "").replaceAll(" ", "").trim(), setting, "put back");
    }
  });
});
