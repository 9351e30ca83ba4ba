/** Pods that ask and answer. What they saw comes from the server's own log and from their network namespace, not from us. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BUSYBOX_IMAGE } from "../../../src/cluster/config.ts";
import { capture } from "../../../src/cluster/process.ts";
import { apply, get, kubectl, PROBE, waitFor } from "./cluster.ts";

export interface PodSpec {
  readonly name: string;
  readonly node: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Ports that it serves on, TCP and UDP; default 8080. None: it only waits. */
  readonly ports?: readonly number[];
  /** Instead of serving: a busybox shell line. */
  readonly shell?: string;
  readonly hostNetwork?: boolean;
  /** Merged into the container. */
  readonly container?: object;
}

/** One line of the server's log: a line or datagram that reached it. */
export interface Received {
  readonly atMs: number;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly peer: string;
  readonly text: string;
}

export interface FlowResult {
  readonly startedMs: number;
  readonly own: string;
  readonly sent: number;
  readonly answered: number;
  readonly longestGapMs: number;
  readonly error: string;
  /** Sent and answered, by the tenth of a second of the sending. */
  readonly tenths: readonly (readonly [number, number])[];
}

export type Protocol = "tcp" | "udp";
export type FlowKind = Protocol | "tcp-new" | "udp-new";

export interface Flow {
  /** Ends the sending and returns what came of it. */
  stop(): Promise<FlowResult>;
  /** Waits for the end that was agreed at the start. */
  readonly done: Promise<FlowResult>;
}

export function podObject(namespace: string, spec: PodSpec): object {
  const { name, labels = {}, ports = [8080], hostNetwork = false } = spec;
  const serving = spec.shell === undefined ? [PROBE, "serve", ...(ports.length === 0 ? ["1"] : ports.map(String))] : ["sh", "-c", spec.shell];
  return {
    apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": `node-${spec.node}` },
      terminationGracePeriodSeconds: 0,
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      ...(hostNetwork && { hostNetwork, dnsPolicy: "ClusterFirstWithHostNet" }),
      containers: [{
        name: "main", image: BUSYBOX_IMAGE, imagePullPolicy: "Never", command: serving,
        volumeMounts: [{ name: "probe", mountPath: dirname(PROBE), readOnly: true }],
        ...spec.container,
      }],
      // A node sees the machine's files.
      volumes: [{ name: "probe", hostPath: { path: dirname(PROBE), type: "Directory" } }],
    },
  };
}

/** Anything with a network namespace of its own that can ask: a pod, a node, the outside. */
export class Site {
  readonly name: string;
  /** The command that enters the network namespace. */
  readonly enter: readonly string[];

  constructor(name: string, enter: readonly string[]) {
    this.name = name;
    this.enter = enter;
  }

  /** One try from here; undefined when it was not answered. */
  async ask(protocol: Protocol, address: string, port: number, options: { readonly text?: string; readonly timeoutMs?: number; readonly size?: number; readonly fragment?: boolean } = {}): Promise<Answer> {
    const { text = `from-${this.name}`, timeoutMs = 3000, size, fragment = false } = options;
    const argv = [...this.enter, PROBE, "ask", protocol, address, String(port), String(timeoutMs), text, ...(size === undefined ? [] : [String(size)]), ...(fragment ? ["fragment"] : [])];
    const { stdout, stderr } = await capture(argv);
    const [verdict = "", ...rest] = stdout.trim().split(" ");
    assert.ok(verdict === "answered" || verdict === "failed", `${argv.join(" ")}: ${stdout}${stderr}`);
    return { answered: verdict === "answered", detail: rest.join(" ") };
  }

  async reaches(protocol: Protocol, address: string, port: number, text?: string): Promise<void> {
    // Patient: a machine that stands still for some seconds has cut nobody off.
    const answer = await this.ask(protocol, address, port, { timeoutMs: 10_000, ...(text !== undefined && { text }) });
    assert.ok(answer.answered, `${this.name} does not reach ${protocol} ${address} ${port}: ${answer.detail}`);
  }

  /** Not answered; that nothing arrived is for the other side to say. */
  async isCutFrom(protocol: Protocol, address: string, port: number, text?: string): Promise<void> {
    const answer = await this.ask(protocol, address, port, { timeoutMs: 1200, ...(text !== undefined && { text }) });
    assert.ok(!answer.answered, `${this.name} reaches ${protocol} ${address} ${port}`);
  }

  flow(kind: FlowKind, address: string, port: number, rate: number, seconds: number, text = `flow-${this.name}`): Flow {
    const argv = [...this.enter, PROBE, "flow", kind, address, String(port), String(rate), String(seconds), text];
    const [file = "", ...args] = argv;
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    const done = new Promise<FlowResult>((resolve, reject) => {
      let out = "";
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.on("error", reject);
      child.on("close", () => {
        try {
          resolve(JSON.parse(out) as FlowResult);
        } catch {
          reject(new Error(`${argv.join(" ")}: ${out}`));
        }
      });
    });
    return { done, stop: () => { child.kill("SIGTERM"); return done; } };
  }

  /** Serves here until `close`; what was received is in `received`, by the time at which who sent it has the answer or soon after. */
  async serve(...ports: number[]): Promise<Server> {
    const [file = "", ...args] = [...this.enter, PROBE, "serve", ...ports.map(String)];
    // A file, not a pipe: what is in it is there to be read, whenever this process comes to read events.
    const folder = mkdtempSync(join(tmpdir(), "served-"));
    const told = join(folder, "told");
    const output = openSync(told, "w");
    const child = spawn(file, args, { stdio: ["ignore", output, "inherit"] });
    closeSync(output);
    const received = (): Received[] => parseReceived(readFileSync(told, "utf8"));
    let hasEnded = false;
    child.on("close", () => (hasEnded = true));
    while (readFileSync(told, "utf8") === "") {
      if (hasEnded) throw new Error(`the server in ${this.name} ended`);
      await sleep(20);
    }
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    return { received, close: () => { child.kill("SIGTERM"); } };
  }
}

export interface Answer {
  readonly answered: boolean;
  /** The asker's own address, or the reason of the failure. */
  readonly detail: string;
}

export interface Server {
  received(): Received[];
  close(): void;
}

export class Pod extends Site {
  readonly namespace: string;
  readonly node: number;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly uid: string;

  /** A process of its container. */
  readonly pid: number;

  constructor(object: PodObject) {
    const pid = containerPid(object);
    super(object.metadata.name, ["nsenter", `--net=/proc/${pid}/ns/net`, "--"]);
    this.pid = pid;
    this.namespace = object.metadata.namespace;
    this.uid = object.metadata.uid;
    this.node = Number(object.spec.nodeName.replace("node-", ""));
    const addresses = (object.status.podIPs ?? []).map(({ ip }) => ip);
    this.ipv4 = addresses.find((ip) => !ip.includes(":")) ?? "";
    this.ipv6 = addresses.find((ip) => ip.includes(":")) ?? "";
  }

  get addresses(): readonly string[] {
    return [this.ipv4, this.ipv6];
  }

  /** All that ever reached the pod's own server. */
  async received(): Promise<Received[]> {
    return parseReceived(await kubectl("-n", this.namespace, "logs", this.name));
  }

  /** Datagrams that reached the pod and found the queue of its server full, as a machine with too much to do is late to run it. */
  async overflowed(): Promise<number> {
    return parseOverflow(await kubectl("-n", this.namespace, "logs", this.name));
  }

  /** What reached it with this text; a text is used once. */
  async heard(text: string): Promise<Received[]> {
    return (await this.received()).filter((line) => line.text === text);
  }

  exec(line: string): Promise<string> {
    return kubectl("-n", this.namespace, "exec", this.name, "--", "sh", "-c", line);
  }

  /** Every packet that arrives at the pod's link and matches, whether or not a server takes it. */
  async sniff(filter: string): Promise<{ packets(): string[]; close(): void }> {
    const [file = "", ...args] = [...this.enter, "tcpdump", "--immediate-mode", "-l", "-nn", "-q", "-Q", "in", "-i", "eth0", filter];
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk: Buffer) => { if (chunk.toString().includes("listening on")) resolve(); });
      child.on("close", (code) => reject(new Error(`tcpdump in ${this.name}: exit status ${code}`)));
    });
    return { packets: () => out.split("\n").filter((line) => line !== ""), close: () => { child.kill("SIGTERM"); } };
  }
}

export interface PodObject {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly labels?: Readonly<Record<string, string>>; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName: string };
  readonly status: {
    readonly phase: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly containerID?: string; readonly ready: boolean }[];
  };
}

/** Creates pods and waits until all are ready. */
export async function createPods(namespace: string, specs: readonly PodSpec[]): Promise<Record<string, Pod>> {
  await apply({ apiVersion: "v1", kind: "List", items: specs.map((spec) => podObject(namespace, spec)) });
  return readyPods(namespace, specs.map(({ name }) => name));
}

export async function readyPods(namespace: string, names: readonly string[], timeoutMs = 90_000): Promise<Record<string, Pod>> {
  const objects = await waitFor(`pods ${names.join(", ")} ready`, async () => {
    const { items } = await get<{ items: PodObject[] }>("pods", "-n", namespace);
    const ready = items.filter((item) => names.includes(item.metadata.name) && isReady(item));
    return ready.length === names.length ? ready : undefined;
  }, async () => `${await kubectl("get", "pods", "-n", namespace, "-o", "wide")}\n${await kubectl("get", "events", "-n", namespace)}`, { timeoutMs, everyMs: 400 });
  return Object.fromEntries(objects.map((object) => [object.metadata.name, new Pod(object)]));
}

export function isReady(pod: PodObject): boolean {
  return pod.metadata.deletionTimestamp === undefined && (pod.status.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True");
}

/** A process of the pod's container: nodes share the machine's process ids, and a cgroup's path names the container. */
export function containerPid(object: PodObject): number {
  const id = object.status.containerStatuses?.[0]?.containerID?.replace(/^.*:\/\//, "");
  assert.ok(id !== undefined && id !== "", `pod ${object.metadata.name} has no container`);
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/cgroup`, "utf8").includes(id)) return Number(entry);
    } catch {
      // It ended while we looked.
    }
  }
  return assert.fail(`no process runs in container ${id} of pod ${object.metadata.name}`);
}

/** The last count of each port. */
export function parseOverflow(log: string): number {
  const counts = new Map([...log.matchAll(/^\d+ overflow (\d+) :: (\d+)$/gm)].map(([, port, count]) => [port, Number(count)]));
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

export function parseReceived(log: string): Received[] {
  return log.split("\n").flatMap((line) => {
    const [atMs, protocol, port, peer, ...text] = line.split(" ");
    return protocol === "tcp" || protocol === "udp" ? [{ atMs: Number(atMs), protocol, port: Number(port), peer: peer ?? "", text: text.join(" ") }] : [];
  });
}
