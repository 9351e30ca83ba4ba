/**
 * Maps that are too small, through the whole agent: what does not fit is refused whole and told with the numbers, what is
 * in force stays, and it is written as soon as there is room. Another agent finds every map as it was made.
 */
import { strict as assert } from "node:assert";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { CiliumEndpoint } from "../../src/api/gen/ciliumendpoints.ts";
import type { CiliumNode } from "../../src/api/gen/ciliumnodes.ts";
import type { CiliumNodeState } from "../../src/api/gen/ciliumnodestates.ts";
import type { NodeState, RuleSet } from "../../src/compile/state.ts";
import { CILIUM_ENDPOINTS, CILIUM_NODE_STATES, CILIUM_NODES } from "../../src/kube/index.ts";
import { AgentLab } from "./agent-lab.ts";

const SIZE = 256;
/** Connections that go on, more than 85 % of the table. */
const ESTABLISHED = 222;
const PATIENCE_MS = 120_000;
const [WEB, ASKER] = [300, 301];
const OTHER_NODE = "another";

const lab = new AgentLab({ prefix: `cilmap${process.pid}`, pods: 2, subnet: "198.51.101", podCidrs: ["10.81.0.0/24", "fd81::/64"], mapSizes: { policy: SIZE, ipcache: SIZE, conntrack: SIZE } });
const { path, until } = lab;

type Fields = Readonly<Record<string, unknown>>;

interface DumpedEntry {
  readonly formatted: { readonly key: Fields | number; readonly value: Fields };
}

function dump(map: string): readonly DumpedEntry[] {
  const pin = readdirSync(path("bpf/cilium")).find((name) => new RegExp(`^${map}_[0-9a-f]+$`).test(name)) ?? assert.fail(`no map ${map}`);
  return JSON.parse(execFileSync("bpftool", ["-j", "map", "dump", "pinned", path("bpf/cilium", pin)], { encoding: "utf8", maxBuffer: 1 << 26 })) as DumpedEntry[];
}

/** In no order of the kernel's. */
const content = (map: string): readonly string[] => dump(map).map(({ formatted }) => JSON.stringify(formatted)).sort();

/**
 * All maps that say what is enforced, without what a history leaves in them: numbers of rule sets and slots stand for whom
 * they belong to, and generations only grow.
 */
function picture(): Readonly<Record<string, readonly string[]>> {
  const slots = dump("subjects").flatMap(({ formatted: { key, value } }) => (value["rule_set"] === 0 ? [] : [{ slot: key as number, ...value } as Fields]));
  const ownerOf = (slot: unknown): unknown => slots.find((one) => one["slot"] === slot)?.["owner"] ?? `nobody (slot ${String(slot)})`;
  const ownersOf = (ruleSet: unknown): unknown => slots.filter((one) => one["rule_set"] === ruleSet).map((one) => one["owner"]).sort();
  const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  const byRuleSet = (map: string): string[] => sorted(dump(map).map(({ formatted: { key, value } }) => ({ ...(key as Fields), rule_set: ownersOf((key as Fields)["rule_set"]), value })));
  const byOwner = (map: string): string[] => sorted(dump(map).map(({ formatted: { key, value } }) => ({ key, ...value, subject: ownerOf(value["subject"]) })));
  return {
    subjects: sorted(slots.map(({ slot: _slot, rule_set: _ruleSet, generation: _generation, ...rest }) => rest)),
    policy: byRuleSet("policy"), blocks: byRuleSet("blocks"), interfaces: byOwner("interfaces"), endpoints: byOwner("endpoints"),
    ipcache: content("ipcache"), cidrs: content("cidrs"), nodes: content("nodes"), underlays: content("underlays"),
  };
}

/** Ingress is closed but for so many TCP ports from 1000 on. */
function portsOpen(count: number, first = 1000): RuleSet {
  const rules = Array.from({ length: count }, (_, index) => ({ id: 10, direction: "ingress" as const, peer: undefined, ports: [{ protocol: 6, port: first + index, prefix: 16 }], verdict: "allow" as const, precedence: 1000 }));
  return { ingressDefault: 9, egressDefault: undefined, rules };
}

const OPEN: RuleSet = { ingressDefault: undefined, egressDefault: undefined, rules: [] };

/** Rule sets have the hash of their content as their name: another one for each content. */
const stateWith = (name: string, web: RuleSet, asker: RuleSet = OPEN, askerName = "aaaaaaaaaaaaaaaa"): Pick<NodeState, "subjects" | "ruleSets"> =>
  ({ subjects: new Map([[WEB, name], [ASKER, askerName]]), ruleSets: new Map([[name, web], [askerName, asker]]) });

type Status = NonNullable<CiliumNodeState["status"]>;

/** What the agent says of that revision, once it does and `isSo`. */
async function acknowledged(revision: number, isSo: (status: Status) => boolean): Promise<Status> {
  return until(`what is said of revision ${revision}`, async () => {
    const status = (await lab.client.get(CILIUM_NODE_STATES, { name: `status.${lab.node}` }))?.status;
    return status?.appliedRevision === revision && isSo(status) ? status : undefined;
  }, PATIENCE_MS);
}

const isClean = ({ failures }: Status): boolean => failures === undefined;
const says = (text: RegExp) => ({ failures = [] }: Status): boolean => failures.some(({ message }) => text.test(message));

const servers: ChildProcess[] = [];

/** Answers each line. */
function serve(pod: number, port: number): void {
  servers.push(spawn("ip", ["netns", "exec", lab.podNs[pod] ?? "", "busybox", "nc", "-ll", "-p", String(port), "-e", "busybox", "cat"], { stdio: "ignore" }));
}

function answers(from: number, address: string, port: number, seconds = 5): boolean {
  try {
    return execFileSync("ip", ["netns", "exec", lab.podNs[from] ?? "", "busybox", "nc", "-w", String(seconds), address, String(port)], { input: "hello\n", encoding: "utf8", timeout: seconds * 1000, stdio: ["pipe", "pipe", "ignore"] }).includes("hello");
  } catch {
    return false;
  }
}

/** A process in a pod's namespace that opens connections, keeps them, and says how many echo when it is asked. */
class Connections {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  constructor(pod: number, address: string, port: number, count: number) {
    const program = `
      const sockets = Array.from({ length: ${count} }, () => require("node:net").connect(${port}, "${address}"));
      for (const socket of sockets) socket.on("error", () => undefined);
      process.stdin.on("data", () => {
        const echoed = sockets.map((socket) => new Promise((resolve) => {
          socket.once("data", () => resolve(1));
          setTimeout(() => resolve(0), 10_000).unref();
          socket.write("x\\n");
        }));
        Promise.all(echoed).then((all) => console.log(all.reduce((sum, one) => sum + one, 0)));
      });`;
    this.#child = spawn("ip", ["netns", "exec", lab.podNs[pod] ?? "", process.execPath, "-e", program], { stdio: ["pipe", "pipe", "ignore"] });
    this.#child.stdout?.on("data", (chunk: Buffer) => this.#lines.push(...chunk.toString().trim().split("\n")));
  }

  /** How many answered just now. */
  async echo(): Promise<number> {
    const said = this.#lines.length;
    this.#child.stdin?.write("\n");
    return Number(await until("the connections have answered or not", () => this.#lines[said], PATIENCE_MS));
  }

  end(): void {
    this.#child.kill();
  }
}

/** One datagram from each of so many sockets, to a port where nobody listens. */
function scatter(pod: number, address: string, count: number): void {
  const program = `for (let i = 0; i < ${count}; i++) { const socket = require("node:dgram").createSocket("udp4"); socket.on("error", () => undefined); socket.send("x", 9, "${address}", () => socket.close()); }`;
  execFileSync("ip", ["netns", "exec", lab.podNs[pod] ?? "", process.execPath, "-e", program]);
}

describe("maps without room", { timeout: 600_000 }, () => {
  let web = "";
  before(async () => {
    await lab.setUp();
    for (const [pod, identity] of [["web", WEB], ["asker", ASKER]] as const) {
      await lab.createPod(pod);
      await lab.createIdentity(identity, pod);
    }
    await lab.startAgent();
    await acknowledged(await lab.write(stateWith("b000000000000100", portsOpen(100))), isClean);
    for (const [index, pod] of ["web", "asker"].entries()) {
      const { code, answer } = await lab.plugin("ADD", pod, index);
      assert.equal(code, 0, JSON.stringify(answer));
      if (pod === "web") web = answer?.ips?.[0]?.address.split("/")[0] ?? "";
    }
    for (const port of [1001, 1250, 2000]) serve(0, port);
    await until("web serves", () => answers(1, web, 1001), PATIENCE_MS);
  });
  after(async () => {
    for (const server of servers) server.kill();
    await lab.tearDown();
  });

  it("policy: a rule set that does not fit is refused whole, with the numbers; others go on; the next that fits is in force", async () => {
    const inForce = content("policy");
    assert.equal(inForce.length, 100);
    const tooMuch = await acknowledged(await lab.write(stateWith("b000000000000300", portsOpen(300), portsOpen(1, 4000), "c000000000000001")), says(/map policy needs/));
    assert.match(tooMuch.failures?.map(({ part, message }) => `${part} ${message}`).join() ?? "", new RegExp(`^policy identity ${WEB}: map policy needs more than ${SIZE} entries, and has room for so many$`));
    const now = content("policy");
    assert.equal(now.length, 101, "the other identity's rule");
    assert.deepEqual(inForce.filter((entry) => !now.includes(entry)), [], "the old rules, all of them");
    assert.ok(answers(1, web, 1001), "as before");
    assert.ok(!answers(1, web, 1250, 2), "not one of the new rules");
    const share = await acknowledged(await lab.write(stateWith("b000000000000150", portsOpen(150))), says(/namespace default/));
    assert.match(share.failures?.map(({ message }) => message).join() ?? "", new RegExp(`identity ${WEB}: map policy, by the rules of namespace default alone, needs 150 entries and has room for ${SIZE / 2}$`));
    await acknowledged(await lab.write(stateWith("b000000000000050", portsOpen(50, 2000))), isClean);
    assert.ok(answers(1, web, 2000));
    assert.ok(!answers(1, web, 1001, 2));
    await until("what is not needed is gone", () => content("policy").length === 50, PATIENCE_MS);
  });

  it("ipcache: addresses beyond its room are told with the numbers and stay closed; those that leave make room for them", async () => {
    const without = content("ipcache").length;
    const spec = { addresses: [{ type: "InternalIP", ip: "198.51.101.2" }], ipam: { podCIDRs: ["10.82.0.0/16"] } };
    await lab.client.create(CILIUM_NODES, { metadata: { name: OTHER_NODE }, spec } as CiliumNode);
    const names = Array.from({ length: SIZE + 40 }, (_, index) => `far-${index}`);
    const far = (index: number): CiliumEndpoint => ({ metadata: { namespace: "default", name: `far-${index}` }, status: { id: index + 1, identity: { id: ASKER }, state: "ready", networking: { addressing: [{ ipv4: `10.82.${Math.floor(index / 250)}.${1 + (index % 250)}` }], node: "198.51.101.2", nodeName: OTHER_NODE } } });
    await until("the node's own address", () => content("ipcache").length === without + 1, PATIENCE_MS);
    const before = content("ipcache");
    for (const index of names.keys()) await lab.client.create(CILIUM_ENDPOINTS, far(index));
    const revision = await lab.write(stateWith("b000000000000050", portsOpen(50, 2000)));
    const status = await acknowledged(revision, says(new RegExp(`map ipcache needs ${names.length + before.length} entries and has room for ${SIZE}$`)));
    assert.ok(status.warnings?.some(({ part, message }) => part === "map ipcache" && message.includes("bpf.ipcacheMax")), JSON.stringify(status.warnings));
    assert.equal(content("ipcache").length, SIZE);
    assert.deepEqual(before.filter((entry) => !content("ipcache").includes(entry)), [], "what was there stays");
    assert.ok(answers(1, web, 2000), "and works");
    for (const name of names.slice(0, 100)) await lab.client.delete(CILIUM_ENDPOINTS, { namespace: "default", name });
    await until("all that are left are there", () => content("ipcache").length === names.length - 100 + before.length, PATIENCE_MS);
    await acknowledged(revision, isClean);
    for (const name of names.slice(100)) await lab.client.delete(CILIUM_ENDPOINTS, { namespace: "default", name });
    await acknowledged(revision, ({ warnings = [] }) => !warnings.some(({ part }) => part === "map ipcache"));
  });

  it("conntrack: nearly full is told; what nobody answers goes early and connections stay, old and new; with room it is told no more", async () => {
    const count = (): number => content("flows").length;
    const revision = await lab.write(stateWith("d000000000000000", OPEN));
    await acknowledged(revision, isClean);
    const echo = `require("node:net").createServer((socket) => socket.pipe(socket)).listen({ port: 3000, backlog: ${SIZE} })`;
    servers.push(spawn("ip", ["netns", "exec", lab.podNs[0] ?? "", process.execPath, "-e", echo], { stdio: "ignore" }));
    await until("the echo serves", () => answers(1, web, 3000), PATIENCE_MS);
    const connections = new Connections(1, web, 3000, ESTABLISHED);
    const isTold = ({ warnings = [] }: Status): boolean => warnings.some(({ part, message }) => part === "map flows" && message.includes(`its ${SIZE} entries`) && message.includes("bpf.ctMax"));
    try {
      assert.equal(await connections.echo(), ESTABLISHED);
      await acknowledged(revision, isTold);
      scatter(1, web, SIZE);
      assert.ok(count() >= ESTABLISHED + (SIZE - ESTABLISHED) / 2, `${count()} flows`);
      await until("a new connection beside what nobody answers", () => answers(1, web, 3000), PATIENCE_MS);
      assert.equal(await connections.echo(), ESTABLISHED, "while it is nearly full");
    } finally {
      connections.end();
    }
    await acknowledged(revision, (status) => !isTold(status));
    assert.ok(count() < SIZE / 2, `${count()} flows after`);
  });

  it("an agent that starts again changes no map; one that finds none makes them as they were", async () => {
    const revision = await lab.write({
      ...stateWith("d000000000000001", { ...portsOpen(3, 2000), egressDefault: 8, rules: [...portsOpen(3, 2000).rules, { id: 11, direction: "egress", peer: "e000000000000001", ports: [{ protocol: 0, port: 0, prefix: 0 }], verdict: "deny", precedence: 2000 }] }),
      selectors: new Map([["e000000000000001", { kind: "cidrs", blocks: [{ cidr: "203.0.113.0/24", except: ["203.0.113.64/26"] }], scopes: ["world"] }]]),
    });
    await acknowledged(revision, isClean);
    await until("what is not needed is gone", () => content("policy").length > 0 && content("policy").length < 50, PATIENCE_MS);
    const created = picture();
    assert.ok(["subjects", "policy", "blocks", "interfaces", "endpoints", "ipcache", "cidrs", "nodes"].every((map) => (created[map]?.length ?? 0) > 0), JSON.stringify(created));
    await lab.killAgent();
    await lab.restart();
    assert.deepEqual(picture(), created, "restored from the maps");
    await lab.killAgent();
    rmSync(path("bpf/cilium"), { recursive: true });
    await lab.restart();
    await until("as it was", () => JSON.stringify(picture()) === JSON.stringify(created), PATIENCE_MS).catch(() => undefined);
    assert.deepEqual(picture(), created, "made anew");
    assert.ok(answers(1, web, 2000));
    assert.ok(!answers(1, web, 1001, 2));
  });
});
