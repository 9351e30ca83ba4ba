/** The whole agent in a network namespace: a real API server, real programs and maps, the real plugin. */
import { strict as assert } from "node:assert";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadConfig } from "../../src/agent/config.ts";
import type { NodeState } from "../../src/compile/state.ts";
import { NodeStateWriter } from "../../src/feed/index.ts";
import { KubeAccess } from "../../src/kube/access.ts";
import { CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NODES, CILIUM_NODE_STATES, HttpTransport, KubeClient, NODES, PODS } from "../../src/kube/index.ts";
import type { Logger } from "../../src/lib/log.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { identityLabels, labelsObject } from "../../src/model/index.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import type { RunnerOptions } from "./agent-runner.ts";

const ROOT = join(import.meta.dirname, "../..");
const NODE_NS = "cilagt-node";
const PODS_NS = ["cilagt-p1", "cilagt-p2", "cilagt-p3"];
const NODE_IP = "198.51.100.1";
const NODE = "agent-test";
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

describe("agent", { timeout: 180_000 }, () => {
  let folder = "";
  let api: ApiServer;
  let client: KubeClient;
  let writer: NodeStateWriter;
  let relay: Server;
  let agent: ChildProcess | undefined;
  const uids = new Map<string, string>();
  const path = (...parts: string[]): string => join(folder, ...parts);
  const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
  const ping = (from: string, to: string): string => ip("netns", "exec", from, "busybox", to.includes(":") ? "ping6" : "ping", "-c", "1", "-W", "2", to);
  const log = (): string => readFileSync(path("agent.log"), "utf8");

  async function until<T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false, ms = 20_000): Promise<T> {
    const end = performance.now() + ms;
    for (;;) {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}\n${log().slice(-3000)}`);
      await sleep(50);
    }
  }

  function state(identities: readonly number[]): NodeState {
    const ruleSet = { ingressDefault: undefined, egressDefault: undefined, rules: [] };
    return { subjects: new Map(identities.map((identity) => [identity, "aaaaaaaaaaaaaaaa"])), ruleSets: new Map([["aaaaaaaaaaaaaaaa", ruleSet]]), selectors: new Map(), ruleNames: new Map(), policies: new Map(), routing: { mode: "tunnel", tunnelPort: 8472, masquerade: true } };
  }

  async function writeState(identities: readonly number[]): Promise<number> {
    const nodeUid = uids.get(NODE) ?? "";
    return (await writer.write({ node: NODE, nodeUid, acknowledged: 0, transitions: 1, signal: new AbortController().signal }, state(identities))).revision;
  }

  async function createPod(name: string): Promise<void> {
    const pod = await client.create(PODS, { metadata: { name, namespace: "default", labels: { app: name } }, spec: { nodeName: NODE, containers: [{ name: "c", image: "none" }] } } as never);
    uids.set(name, pod.metadata.uid ?? "");
  }

  async function createIdentity(number: number, app: string): Promise<void> {
    const labels = identityLabels({ metadata: { name: app, labels: { app } } }, { metadata: { name: "default", labels: { "kubernetes.io/metadata.name": "default" } } });
    await client.create(CILIUM_IDENTITIES, { metadata: { name: String(number) }, "security-labels": labelsObject(labels) });
  }

  function plugin(command: string, pod: string, index: number): Promise<{ code: number | null; answer: { code?: number; msg?: string; ips?: { address: string }[] } | undefined }> {
    const config = { cniVersion: "1.0.0", name: "cilium", agentSocket: path("run/cni.sock"), deleteQueue: path("state/cni-del") };
    const args = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${uids.get(pod)}`;
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: `container-${pod}`, CNI_NETNS: `/run/netns/${PODS_NS[index]}`, CNI_IFNAME: "eth0", CNI_ARGS: args, CNI_PATH: "/" };
    return new Promise((resolve) => {
      const child = spawn(join(ROOT, "build/bin/cilium-cni"), [], { env, stdio: ["pipe", "pipe", "inherit"] });
      let text = "";
      child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
      child.on("close", (code) => resolve({ code, answer: text === "" ? undefined : (JSON.parse(text) as never) }));
      child.stdin.end(JSON.stringify(config));
    });
  }

  function spawnAgent(): void {
    const out = openSync(path("agent.log"), "a");
    rmSync(path("run/cni.sock"), { force: true });
    const env = { ...process.env, PATH: `${path("shims")}:${process.env.PATH}` };
    agent = spawn("ip", ["netns", "exec", NODE_NS, process.execPath, join(import.meta.dirname, "agent-runner.ts"), path("runner.json")], { stdio: ["ignore", out, out], env });
  }

  async function startAgent(): Promise<void> {
    spawnAgent();
    await until("the agent serves", () => existsSync(path("run/cni.sock")) && log().includes('"serving"'));
  }

  async function killAgent(): Promise<void> {
    const child = agent;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    writeFileSync(path("agent.log"), "");
  }

  function writeRunner(port: number): void {
    const base = loadConfig({ directory: path("config"), environment: { NODE_NAME: NODE } });
    const config = {
      ...base, prometheusPort: 0, cniConfPath: path("net.d"), cniBinPath: path("bin"),
      paths: { run: path("run"), state: path("state"), pins: path("bpf/cilium"), bpfObjects: join(ROOT, "build/bpf"), plugin: join(ROOT, "build/bin/cilium-cni"), hostProc: "/proc" },
    };
    const options: RunnerOptions = { config, kubeconfig: api.kubeconfig, port, socket: path("api.sock") };
    writeFileSync(path("runner.json"), JSON.stringify(options));
  }

  before(async () => {
    assert.equal(spawnSync("make", ["-s", "bpf", "cni"], { cwd: ROOT }).status, 0);
    folder = mkdtempSync(join(tmpdir(), "cilium-agent-"));
    for (const name of ["bpf", "net.d", "bin", "run", "state", "config", "shims"]) mkdirSync(path(name));
    writeFileSync(path("agent.log"), "");
    execFileSync("mount", ["-t", "bpf", "bpf", path("bpf")]);
    for (const name of [NODE_NS, ...PODS_NS]) ip("netns", "add", name);
    ip("-n", NODE_NS, "link", "set", "lo", "up");
    ip("-n", NODE_NS, "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
    ip("-n", NODE_NS, "address", "add", `${NODE_IP}/24`, "dev", "eth0");
    for (const device of ["eth0", "wire"]) ip("-n", NODE_NS, "link", "set", device, "up");
    api = await startApiServer();
    execFileSync(api.kubectl, ["--kubeconfig", api.kubeconfig, "apply", "--server-side", "-f", join(ROOT, "crds")]);
    client = new KubeClient(new HttpTransport(new KubeAccess({ kubeconfig: api.kubeconfig }), silent));
    writer = new NodeStateWriter(client, silent);
    const port = Number(new URL(api.url).port);
    relay = createServer((socket) => {
      const server = connect(port, "127.0.0.1");
      socket.pipe(server).pipe(socket);
      socket.on("error", () => server.destroy());
      server.on("error", () => socket.destroy());
    }).listen(path("api.sock"));
    const taints = [{ key: "node.cilium.io/agent-not-ready", effect: "NoExecute" }, { key: "mine", effect: "NoSchedule" }];
    const node = await client.create(NODES, { metadata: { name: NODE }, spec: { podCIDR: "10.77.0.0/24", podCIDRs: ["10.77.0.0/24", "fd77::/64"], taints } });
    uids.set(NODE, node.metadata.uid ?? "");
    await client.patchStatus(NODES, { name: NODE }, { addresses: [{ type: "InternalIP", address: NODE_IP }] });
    writeRunner(port);
    writeFileSync(path("net.d/10-other.conf"), "{}");
    const nft = execFileSync("sh", ["-c", "command -v nft"], { encoding: "utf8" }).trim();
    writeFileSync(path("shims/nft"), `#!/bin/sh\n[ ! -e ${path("nft-refuses")} ] || { echo nft refuses >&2; exit 1; }\nexec ${nft} "$@"\n`, { mode: 0o755 });
  });

  after(async () => {
    await killAgent();
    relay?.close();
    await api?.stop();
    for (const name of [NODE_NS, ...PODS_NS]) spawnSync("ip", ["netns", "delete", name]);
    spawnSync("umount", [path("bpf")]);
    rmSync(folder, { recursive: true, force: true });
  });

  it("comes up: node object, configuration, readiness only with a state", async () => {
    await until("the CRDs are served", async () => (await client.list(CILIUM_NODES).catch(() => undefined)) !== undefined);
    await createPod("web");
    await createIdentity(300, "web");
    writeFileSync(path("nft-refuses"), "");
    spawnAgent();
    await until("the guard is refused", () => log().includes("nft refuses"));
    await sleep(500);
    assert.equal(existsSync(path("run/cni.sock")) || existsSync(path("net.d/05-cilium.conflist")), false, "no pod without the guard");
    assert.match(spawnSync("ip", ["netns", "exec", NODE_NS, "busybox", "wget", "-qO-", "-S", "http://127.0.0.1:9879/readyz"], { encoding: "utf8" }).stderr, /503/);
    rmSync(path("nft-refuses"));
    await until("the agent serves", () => existsSync(path("run/cni.sock")) && log().includes('"serving"'));
    assert.ok(existsSync(path("net.d/05-cilium.conflist")) && existsSync(path("bin/cilium-cni")));
    const node = await until("CiliumNode", () => client.get(CILIUM_NODES, { name: NODE }));
    assert.deepEqual(node.spec.addresses, [{ type: "InternalIP", ip: NODE_IP }, { type: "CiliumInternalIP", ip: "10.77.0.1" }, { type: "CiliumInternalIP", ip: "fd77::1" }]);
    assert.equal((await plugin("STATUS", "web", 0)).answer?.code, 50);
    const revision = await writeState([300]);
    await until("acknowledged", async () => (await client.get(CILIUM_NODE_STATES, { name: `status.${NODE}` }))?.status?.appliedRevision === revision);
    await until("ready", async () => {
      const now = await client.get(NODES, { name: NODE });
      return now?.spec?.taints?.every((taint) => taint.key !== "node.cilium.io/agent-not-ready") && now.status?.conditions?.some((condition) => condition.type === "NetworkUnavailable" && condition.status === "False");
    });
    assert.ok((await client.get(NODES, { name: NODE }))?.spec?.taints?.some((taint) => taint.key === "mine"), "the taints of others stay");
    assert.equal((await plugin("STATUS", "web", 0)).code, 0);
  });

  it("gives a pod its network, reachable from the node, and writes its CiliumEndpoint", async () => {
    const { code, answer } = await plugin("ADD", "web", 0);
    assert.equal(code, 0, JSON.stringify(answer));
    assert.deepEqual(answer?.ips?.map((item) => item.address), ["10.77.0.2/32", "fd77::2/128"]);
    ping(NODE_NS, "10.77.0.2");
    ping(NODE_NS, "fd77::2");
    assert.equal((await plugin("CHECK", "web", 0)).code, 0);
    const endpoint = await until("CiliumEndpoint", () => client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" }));
    assert.equal(endpoint.status?.identity.id, 300);
    assert.equal(endpoint.metadata.ownerReferences?.[0]?.uid, uids.get("web"));
    await until("state ready", async () => (await client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" }))?.status?.state === "ready");
  });

  it("puts the guard, the masquerade and the way through FORWARD back when others took them", async () => {
    const inNode = (...command: string[]): string => ip("netns", "exec", NODE_NS, ...command);
    inNode("nft", "flush", "ruleset");
    inNode("iptables", "-P", "FORWARD", "DROP");
    await until("the table is back", () => inNode("nft", "list", "tables").includes("table inet cilium"));
    assert.match(inNode("nft", "list", "table", "inet", "cilium"), /chain input[^}]*drop/);
    await until("FORWARD accepts", () => inNode("iptables", "-S", "FORWARD").match(/--comment cilium -j ACCEPT/g)?.length === 4);
    inNode("nft", "delete", "table", "ip", "filter");
  });

  it("lets a pod wait for its identity and policy, with nothing taken meanwhile", async () => {
    await createPod("late");
    const adding = plugin("ADD", "late", 1);
    await sleep(300);
    assert.deepEqual(readdirSync(path("state/endpoints")), ["container-web.json"]);
    await createIdentity(301, "late");
    await sleep(100);
    await writeState([300, 301]);
    const { code, answer } = await adding;
    assert.equal(code, 0, JSON.stringify(answer));
    ping(PODS_NS[1] ?? "", "10.77.0.2");
  });

  it("is killed, and starts without the API server: what ran runs, and a known pod starts", async () => {
    await createPod("cold");
    await createIdentity(302, "cold");
    const revision = await writeState([300, 301, 302]);
    await until("acknowledged", async () => (await client.get(CILIUM_NODE_STATES, { name: `status.${NODE}` }))?.status?.appliedRevision === revision);
    const kept = (table: string, text: string): boolean => existsSync(path(`state/tables/${table}.json`)) && readFileSync(path(`state/tables/${table}.json`), "utf8").includes(text);
    await until("kept on disk", () => kept("pods", "cold") && kept("identities", "302") && kept("nodes", NODE) && kept("endpoints", "late"));
    await killAgent();
    await api.kill();
    ping(PODS_NS[1] ?? "", "10.77.0.2");
    assert.deepEqual(await plugin("DEL", "late", 1), { code: 0, answer: undefined });
    assert.equal(readdirSync(path("state/cni-del")).length, 1);
    await startAgent();
    assert.deepEqual(readdirSync(path("state/cni-del")), []);
    assert.deepEqual(readdirSync(path("state/endpoints")), ["container-web.json"]);
    assert.equal((await plugin("CHECK", "web", 0)).code, 0);
    const { code, answer } = await plugin("ADD", "cold", 2);
    assert.equal(code, 0, JSON.stringify(answer));
    assert.deepEqual(answer?.ips?.map((item) => item.address), ["10.77.0.4/32", "fd77::4/128"], "the freed address rests");
    ping(PODS_NS[2] ?? "", "10.77.0.2");
  });

  it("tells the API server what happened meanwhile, once it is back", async () => {
    await api.restart();
    await until("the new pod's endpoint", () => client.get(CILIUM_ENDPOINTS, { name: "cold", namespace: "default" }).catch(() => undefined), 40_000);
    await until("the deleted pod's is gone", async () => (await client.get(CILIUM_ENDPOINTS, { name: "late", namespace: "default" })) === undefined, 40_000);
    assert.equal((await plugin("DEL", "web", 0)).code, 0);
    assert.ok(!ip("-n", NODE_NS, "-json", "link", "show").includes("container-web"));
    await until("its endpoint is gone", async () => (await client.get(CILIUM_ENDPOINTS, { name: "web", namespace: "default" })) === undefined);
  });

  it("uninstalls: the node is as it was, twice", async () => {
    assert.ok(existsSync(path("net.d/10-other.conf.cilium_bak")));
    await killAgent();
    for (let time = 1; time <= 2; time++) {
      ip("netns", "exec", NODE_NS, process.execPath, join(import.meta.dirname, "agent-runner.ts"), path("runner.json"), "uninstall");
      assert.deepEqual(readdirSync(path("net.d")), ["10-other.conf"]);
      assert.deepEqual([readdirSync(path("bin")), readdirSync(path("run"))], [[], []]);
      assert.equal(existsSync(path("bpf/cilium")), false);
      assert.equal(existsSync(path("state")), false);
      assert.deepEqual(JSON.parse(ip("-n", NODE_NS, "-json", "link", "show")).map((link: { ifname: string }) => link.ifname).sort(), ["eth0", "lo", "wire"]);
      assert.equal(ip("netns", "exec", NODE_NS, "nft", "list", "tables"), "");
      assert.equal(ip("netns", "exec", NODE_NS, "tc", "filter", "show", "dev", "eth0", "ingress"), "");
      assert.equal(ip("-n", NODE_NS, "route", "show", "proto", "193"), "");
    }
  });
});
