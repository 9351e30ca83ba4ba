/** One node for a real agent: a network namespace, namespaces of pods, a real API server, and the real plugin. */
import { strict as assert } from "node:assert";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/agent/config.ts";
import type { MapSizes } from "../../src/agent/config.ts";
import { hostInterfaceName } from "../../src/cni/operations.ts";
import type { NodeState } from "../../src/compile/state.ts";
import { NodeStateWriter } from "../../src/feed/index.ts";
import { KubeAccess } from "../../src/kube/access.ts";
import { CILIUM_IDENTITIES, CILIUM_NODE_STATES, CILIUM_NODES, HttpTransport, KubeClient, NODES, PODS } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import type { Logger } from "../../src/lib/log.ts";
import { identityLabels, labelsObject } from "../../src/model/index.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import type { RunnerOptions } from "./agent-runner.ts";
import { traces } from "./cni-traces.ts";
import type { Traces } from "./cni-traces.ts";
import type { KillPoint, Step } from "./kill-points.ts";

const ROOT = join(import.meta.dirname, "../..");
const PLUGIN = join(ROOT, "build/bin/cilium-cni");
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

export interface LabOptions {
  /** Of the network namespaces; unique on the machine. */
  readonly prefix: string;
  readonly pods: number;
  /** The node's address is .1 of this /24, without its last octet. */
  readonly subnet: string;
  readonly podCidrs: readonly [string, string];
  readonly mapSizes?: Partial<MapSizes>;
  /** Whom the API server takes the agent for; undefined: one who may do everything. It has what the test grants. */
  readonly user?: string;
}

export interface PluginAnswer {
  readonly code: number | null;
  readonly answer: { readonly code?: number; readonly msg?: string; readonly details?: string; readonly ips?: readonly { readonly address: string }[] } | undefined;
}

/** What a call of the plugin has beside the defaults; environment variables are replaced by name. */
export interface PluginCall {
  readonly env?: Readonly<Record<string, string>>;
  readonly config?: object;
  /** Instead of a configuration. */
  readonly stdin?: string;
}

export class AgentLab {
  readonly node = "agent-test";
  readonly nodeNs: string;
  readonly podNs: readonly string[];
  readonly nodeIp: string;
  readonly uids = new Map<string, string>();
  readonly #options: LabOptions;
  #folder = "";
  #api: ApiServer | undefined;
  #client: KubeClient | undefined;
  #writer: NodeStateWriter | undefined;
  #relay: Server | undefined;
  #agent: ChildProcess | undefined;

  constructor(options: LabOptions) {
    this.#options = options;
    this.nodeNs = `${options.prefix}-node`;
    this.podNs = Array.from({ length: options.pods }, (_, index) => `${options.prefix}-p${index + 1}`);
    this.nodeIp = `${options.subnet}.1`;
  }

  get api(): ApiServer {
    return this.#api ?? assert.fail("the lab is not set up");
  }
  get client(): KubeClient {
    return this.#client ?? assert.fail("the lab is not set up");
  }

  path = (...parts: string[]): string => join(this.#folder, ...parts);
  ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
  inNode = (...command: string[]): string => this.ip("netns", "exec", this.nodeNs, ...command);
  ping = (from: string, to: string): string => this.ip("netns", "exec", from, "busybox", to.includes(":") ? "ping6" : "ping", "-c", "1", "-W", "5", to);
  log = (): string => readFileSync(this.path("agent.log"), "utf8");

  until = async <T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false, ms = 30_000): Promise<T> => {
    const end = performance.now() + ms;
    for (;;) {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}\n${this.log().slice(-3000)}`);
      await sleep(50);
    }
  };

  /** One rule set that says nothing, for each identity. Returns the revision. */
  async writeState(identities: readonly number[]): Promise<number> {
    const ruleSet = { ingressDefault: undefined, egressDefault: undefined, rules: [] };
    return this.write({ subjects: new Map(identities.map((identity) => [identity, "aaaaaaaaaaaaaaaa"])), ruleSets: new Map([["aaaaaaaaaaaaaaaa", ruleSet]]) });
  }

  /** Returns the revision. */
  async write(told: Pick<NodeState, "subjects" | "ruleSets"> & Partial<NodeState>): Promise<number> {
    const state: NodeState = { selectors: new Map(), ruleNames: new Map(), policies: new Map(), routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] }, ...told };
    const written = await this.#writer?.write({ node: this.node, nodeUid: this.uids.get(this.node) ?? "", acknowledged: 0, transitions: 1, signal: new AbortController().signal }, state);
    return written?.revision ?? assert.fail("the lab is not set up");
  }

  async isAcknowledged(revision: number): Promise<boolean> {
    return (await this.client.get(CILIUM_NODE_STATES, { name: `status.${this.node}` }))?.status?.appliedRevision === revision;
  }

  async createPod(name: string, app = name): Promise<void> {
    const pod = await this.client.create(PODS, { metadata: { name, namespace: "default", labels: { app } }, spec: { nodeName: this.node, containers: [{ name: "c", image: "none" }] } } as never);
    this.uids.set(name, pod.metadata.uid ?? "");
  }

  async createIdentity(number: number, app: string): Promise<void> {
    const labels = identityLabels({ metadata: { name: app, labels: { app } } }, { metadata: { name: "default", labels: { "kubernetes.io/metadata.name": "default" } } });
    await this.client.create(CILIUM_IDENTITIES, { metadata: { name: String(number) }, "security-labels": labelsObject(labels) });
  }

  /** As the runtime calls it, for `container-<pod>` in the namespace of that index. */
  plugin(command: string, pod: string, index: number, call: PluginCall = {}): Promise<PluginAnswer> {
    const config = { cniVersion: "1.0.0", name: "cilium", agentSocket: this.path("run/cni.sock"), deleteQueue: this.path("state/cni-del"), ...call.config };
    const args = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${this.uids.get(pod)}`;
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: `container-${pod}`, CNI_NETNS: `/run/netns/${this.podNs[index]}`, CNI_IFNAME: "eth0", CNI_ARGS: args, CNI_PATH: "/", ...call.env };
    return new Promise((resolve) => {
      const child = spawn(PLUGIN, [], { env, stdio: ["pipe", "pipe", "inherit"] });
      let text = "";
      child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
      child.stdin.on("error", () => undefined);
      child.on("close", (code) => resolve({ code, answer: text === "" ? undefined : (JSON.parse(text) as never) }));
      child.stdin.end(call.stdin ?? JSON.stringify(config));
    });
  }

  /** @param kill where this agent kills itself, with SIGKILL. */
  spawnAgent(kill?: KillPoint): void {
    const out = openSync(this.path("agent.log"), "a");
    rmSync(this.path("run/cni.sock"), { force: true });
    const env = { ...process.env, PATH: `${this.path("shims")}:${process.env["PATH"]}` };
    const more = kill === undefined ? [] : ["kill", JSON.stringify(kill)];
    this.#agent = spawn("ip", ["netns", "exec", this.nodeNs, process.execPath, join(import.meta.dirname, "agent-runner.ts"), this.path("runner.json"), ...more], { stdio: ["ignore", out, out], env });
  }

  async awaitServing(): Promise<void> {
    await this.until("the agent serves", () => existsSync(this.path("run/cni.sock")) && this.log().includes('"serving"'));
  }

  async startAgent(kill?: KillPoint): Promise<void> {
    this.spawnAgent(kill);
    await this.awaitServing();
  }

  /** An agent whose state is in force; `at` is where it kills itself when it works for that pod. */
  async restart(at?: Step, pod = ""): Promise<void> {
    const container = `container-${pod}`;
    await this.startAgent(at === undefined ? undefined : { ...at, of: [container, hostInterfaceName(container), this.uids.get(pod) ?? ""] });
    await this.until("the node's state is in force", async () => (await this.plugin("STATUS", pod, 0)).code === 0);
  }

  /**
   * Pods of one identity whose rule set is in force, and an agent that runs. Returns what a node without pods has, once a
   * pod has come and gone.
   */
  async ready(app: string, pods: readonly string[]): Promise<Traces> {
    const identity = 300;
    await this.createIdentity(identity, app);
    for (const pod of pods) await this.createPod(pod, app);
    await this.startAgent();
    const revision = await this.writeState([identity]);
    await this.until("acknowledged", () => this.isAcknowledged(revision));
    for (const command of ["ADD", "DEL"]) {
      const { code, answer } = await this.plugin(command, pods[0] ?? "", 0);
      assert.equal(code, 0, JSON.stringify(answer));
    }
    return traces(this);
  }

  hasEnded(): boolean {
    const child = this.#agent;
    return child === undefined || child.exitCode !== null || child.signalCode !== null;
  }

  async killAgent(): Promise<void> {
    const child = this.#agent;
    if (child !== undefined && !this.hasEnded()) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    writeFileSync(this.path("agent.log"), "");
  }

  async setUp(): Promise<void> {
    assert.equal(spawnSync("make", ["-s", "bpf", "cni"], { cwd: ROOT }).status, 0);
    this.#folder = mkdtempSync(join(tmpdir(), "cilium-agent-"));
    for (const name of ["bpf", "net.d", "bin", "run", "state", "config", "shims"]) mkdirSync(this.path(name));
    writeFileSync(this.path("agent.log"), "");
    execFileSync("mount", ["-t", "bpf", "bpf", this.path("bpf")]);
    for (const name of [this.nodeNs, ...this.podNs]) this.ip("netns", "add", name);
    this.ip("-n", this.nodeNs, "link", "set", "lo", "up");
    this.ip("-n", this.nodeNs, "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
    this.ip("-n", this.nodeNs, "address", "add", `${this.nodeIp}/24`, "dev", "eth0");
    for (const device of ["eth0", "wire"]) this.ip("-n", this.nodeNs, "link", "set", device, "up");
    await this.#setUpApi();
  }

  async #setUpApi(): Promise<void> {
    const { user } = this.#options;
    const api = await startApiServer(user === undefined ? {} : { users: [user] });
    this.#api = api;
    execFileSync(api.kubectl, ["--kubeconfig", api.kubeconfig, "apply", "--server-side", "-f", join(ROOT, "crds")]);
    const client = new KubeClient(new HttpTransport(new KubeAccess({ kubeconfig: api.kubeconfig }), silent));
    this.#client = client;
    this.#writer = new NodeStateWriter(client, silent);
    const port = Number(new URL(api.url).port);
    this.#relay = createServer((socket) => {
      const server = connect(port, "127.0.0.1");
      socket.pipe(server).pipe(socket);
      socket.on("error", () => server.destroy());
      server.on("error", () => socket.destroy());
    }).listen(this.path("api.sock"));
    const taints = [{ key: "node.cilium.io/agent-not-ready", effect: "NoExecute" }, { key: "mine", effect: "NoSchedule" }];
    const podCIDRs = this.#options.podCidrs;
    const node = await client.create(NODES, { metadata: { name: this.node }, spec: { podCIDR: podCIDRs[0], podCIDRs, taints } } as never);
    this.uids.set(this.node, node.metadata.uid ?? "");
    await client.patchStatus(NODES, { name: this.node }, { addresses: [{ type: "InternalIP", address: this.nodeIp }] });
    this.#writeRunner(api, port);
    await this.until("the CRDs are served", async () => (await client.list(CILIUM_NODES).catch(() => undefined)) !== undefined);
  }

  #writeRunner(api: ApiServer, port: number): void {
    const base = loadConfig({ directory: this.path("config"), environment: { NODE_NAME: this.node } });
    const config = {
      ...base, prometheusPort: 0, mapSizes: { ...base.mapSizes, ...this.#options.mapSizes }, cniConfPath: this.path("net.d"), cniBinPath: this.path("bin"),
      paths: { run: this.path("run"), state: this.path("state"), pins: this.path("bpf/cilium"), bpfObjects: join(ROOT, "build/bpf"), plugin: PLUGIN, hostProc: "/proc" },
    };
    const { user } = this.#options;
    const options: RunnerOptions = { config, kubeconfig: user === undefined ? api.kubeconfig : api.kubeconfigOf(user), port, socket: this.path("api.sock") };
    writeFileSync(this.path("runner.json"), JSON.stringify(options));
  }

  async tearDown(): Promise<void> {
    await this.killAgent();
    this.#relay?.close();
    await this.#api?.stop();
    for (const name of [this.nodeNs, ...this.podNs]) spawnSync("ip", ["netns", "delete", name]);
    spawnSync("umount", [this.path("bpf")]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
