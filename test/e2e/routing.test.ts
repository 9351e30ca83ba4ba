/**
 * CiliumRoutings for some nodes: running nodes change over to native routing and back one after the other, while pods of all
 * of them talk. Who reaches whom is told by the receiver.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { apply, command, get, inNode, kubectl, namespace, NODES, readyCluster, refused, waitFor } from "./harness/cluster.ts";
import { createPods, type Flow, type FlowKind, type Pod } from "./harness/pods.ts";
import { enforce, policy } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("routing");
const NUMBERS = [1, 2, 3] as const;
const MADE = [...NUMBERS.map((number) => `of-node-${number}`), "elder", "younger", "wrong"];
/** Packets that may be on their way at each of the six changes, of all flows. */
const IN_FLIGHT = 30;
let [one, two, three]: Pod[] = [];

before(async () => {
  const pods = await createPods(ns.name, NUMBERS.map((number) => ({ name: `p${number}`, node: number, labels: { app: `p${number}` } })));
  [one, two, three] = NUMBERS.map((number) => pods[`p${number}`]) as [Pod, Pod, Pod];
}, { timeout: 600_000 });
after(async () => {
  await kubectl("delete", "ciliumrouting", "--ignore-not-found", ...MADE);
  await routes("default", "tunnel", "3/3");
  await ns.remove();
}, { timeout: 600_000 });

interface Condition { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }
interface Routing {
  readonly metadata: { readonly generation: number };
  readonly spec: { readonly mode: string };
  readonly status?: { readonly nodes: string; readonly observedGeneration: number; readonly conditions: readonly Condition[]; readonly failingNodes?: readonly { readonly name: string; readonly message: string }[] };
}

const of = (number: number): object => ({ matchLabels: { "kubernetes.io/hostname": `node-${number}` } });
const routing = (name: string, spec: object): object => ({ apiVersion: "cilium.io/v2alpha1", kind: "CiliumRouting", metadata: { name }, spec });

/** The object is in force, on so many nodes. */
async function routes(name: string, mode: string, nodes: string): Promise<void> {
  await waitFor(`${name}: ${mode} on ${nodes}`, async () => {
    const { metadata, spec, status } = await get<Routing>("ciliumrouting", name);
    const ready = status?.conditions.find(({ type }) => type === "Ready")?.status === "True";
    return spec.mode === mode && status?.nodes === nodes && status.observedGeneration === metadata.generation && ready ? true : undefined;
  }, () => kubectl("describe", "ciliumrouting,ciliumnode"));
}

/** What it says of itself, once it says that. */
async function says(name: string, type: string, pattern: RegExp): Promise<void> {
  await waitFor(`${name}: ${type} ${pattern}`, async () => {
    const { metadata, status } = await get<Routing>("ciliumrouting", name);
    const condition = status?.observedGeneration === metadata.generation ? status.conditions.find((each) => each.type === type) : undefined;
    return condition !== undefined && pattern.test(`${condition.status} ${condition.reason} ${condition.message}`) ? true : undefined;
  }, () => kubectl("describe", "ciliumrouting"));
}

/** Which of its nodes do not route as it says, and why. */
async function fails(name: string, pattern: RegExp): Promise<void> {
  await waitFor(`${name} fails: ${pattern}`, async () => {
    const { status } = await get<Routing>("ciliumrouting", name);
    return pattern.test((status?.failingNodes ?? []).map((node) => `${node.name}: ${node.message}`).join("\n")) ? true : undefined;
  }, () => kubectl("describe", "ciliumrouting"));
}

const podCidrs = async (number: number): Promise<readonly string[]> => (await get<{ spec: { podCIDRs: string[] } }>("node", `node-${number}`)).spec.podCIDRs;
const routesOf = async (number: number): Promise<string> => `${await inNode(`node-${number}`, ["ip", "route"])}${await inNode(`node-${number}`, ["ip", "-6", "route"])}`;

/** By which device a node's routes lead to another's pods, each family once. */
async function ways(from: number, to: number): Promise<readonly string[]> {
  const shown = (await routesOf(from)).split("\n");
  return (await podCidrs(to)).map((cidr) => shown.filter((line) => line.startsWith(`${cidr} `)).map((line) => / dev (\S+) /.exec(`${line} `)?.[1]).join());
}

/** Those of both families, as `ip` takes them, the family in front. */
async function defaultRoutes(number: number): Promise<readonly (readonly string[])[]> {
  const shown = async (family: string): Promise<string[][]> => (await inNode(`node-${number}`, ["ip", family, "route", "show", "default"])).split("\n").filter((line) => line !== "").map((line) => {
    const [, via = "", device = ""] = /via (\S+) dev (\S+)/.exec(line) ?? assert.fail(line);
    return [family, "default", "via", via, "dev", device];
  });
  return [...(await shown("-4")), ...(await shown("-6"))];
}

async function isWay(from: number, to: number, device: string): Promise<void> {
  await waitFor(`node-${from} → node-${to} by ${device}`, async () => ((await ways(from, to)).every((each) => each === device) ? true : undefined), () => routesOf(from));
}

function flows(): readonly (readonly [string, Flow])[] {
  const pods = [one, two, three] as [Pod, Pod, Pod];
  const pairs = [[0, 1], [1, 2], [2, 0], [1, 0]] as const;
  return pairs.flatMap(([from, to], index) => (["tcp", "udp", "tcp-new"] as const satisfies readonly FlowKind[]).map((kind) => {
    const address = pods[to].addresses[index % 2] ?? "";
    return [`p${from + 1} to ${address}, ${kind}`, pods[from].flow(kind, address, 8080, 50, 600)] as const;
  }));
}

interface NodeRow { readonly name: string; readonly routing: string; readonly reaches?: { readonly reached: number; readonly known: number; readonly latencySeconds?: { readonly median: number } }; readonly unreachedBy: readonly string[] }
interface Overview { readonly objects: readonly { readonly name: string; readonly nodes: string }[]; readonly nodes: readonly { readonly node: string; readonly mode: string; readonly reached: number }[] }

/** What the command prints, however it ends. */
const cilium = async (...args: string[]): Promise<string> => (await command(["cilium", ...args])).stdout;
const listed = async (): Promise<readonly NodeRow[]> => JSON.parse(await cilium("node", "list", "--output", "json")) as readonly NodeRow[];

/** Who does not reach node-3, by what the command says. */
async function unreachedBy(nodes: readonly string[]): Promise<void> {
  await waitFor(`node-3 is not reached by ${nodes.join() || "nobody"}`, async () => {
    const rows = await listed();
    const [third] = rows.filter(({ name }) => name === "node-3");
    return third?.unreachedBy.join() === nodes.join() && (nodes.length > 0 || rows.every(({ reaches }) => reaches?.reached === 2)) ? true : undefined;
  }, () => cilium("routing", "peers"), { timeoutMs: 120_000, everyMs: 2_000 });
}

test("cilium routing status and cilium node list: objects, modes, who answers and how fast; a node that answers no more is named by the others, until it does", { timeout: 600_000 }, async () => {
  await unreachedBy([]);
  for (const { name, routing: mode, reaches } of await listed()) {
    assert.deepEqual([mode, reaches?.known], ["Tunnel", 2], name);
    assert.ok((reaches?.latencySeconds?.median ?? 0) > 0, name);
  }
  const { objects, nodes } = JSON.parse(await cilium("routing", "status", "--output", "json")) as Overview;
  assert.deepEqual(objects.map(({ name, nodes: so }) => `${name} ${so}`), ["default 3/3"]);
  assert.deepEqual(nodes.map(({ node, mode, reached }) => `${node} ${mode} ${reached}`), NODES.map(({ name }) => `${name} tunnel 2`));
  const deaf = "add table inet e2e_deaf; add chain inet e2e_deaf in { type filter hook input priority 0; }; add rule inet e2e_deaf in icmp type echo-request drop; add rule inet e2e_deaf in icmpv6 type echo-request drop";
  await inNode("node-3", ["nft", deaf]);
  try {
    await unreachedBy(["node-1", "node-2"]);
  } finally {
    await inNode("node-3", ["nft", "delete", "table", "inet", "e2e_deaf"]);
  }
  await unreachedBy([]);
});

describe("objects of users", () => {
  test("running nodes change over to native and back, one by one: connections go on, under policy, and at most what was on its way is lost", { timeout: 600_000 }, async (t) => {
    await enforce(ns.name, policy("p2", { endpointSelector: { matchLabels: { app: "p2" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "p1" } }] }] }));
    const running = flows();
    for (const number of NUMBERS) {
      await apply(routing(`of-node-${number}`, { mode: "native", native: { directNodeRoutes: true }, nodeSelector: of(number) }));
      await routes(`of-node-${number}`, "native", "1/1");
    }
    for (const [from, to] of [[1, 2], [2, 1], [2, 3], [3, 1]] as const) await isWay(from, to, "eth0");
    await says("default", "Ready", /True Routed all 0 nodes/);
    for (const address of two?.addresses ?? []) {
      await one?.reaches("tcp", address, 8080);
      await three?.isCutFrom("tcp", address, 8080);
    }
    for (const number of NUMBERS) {
      await kubectl("delete", "ciliumrouting", `of-node-${number}`);
      for (const other of NUMBERS.filter((each) => each !== number)) await isWay(number, other, "cilium_host");
    }
    await routes("default", "tunnel", "3/3");
    const results = await Promise.all(running.map(async ([name, flow]) => [name, await flow.stop()] as const));
    const lost = results.map(([name, { sent, answered }]) => [name, sent - answered] as const).filter(([, count]) => count > 0);
    t.diagnostic(`${results.reduce((sum, [, { sent }]) => sum + sent, 0)} sent; lost: ${JSON.stringify(lost)}`);
    for (const [name, { sent, answered, error }] of results) {
      assert.ok(sent > 50, `${name}: it was sent; ${error}`);
      if (name.endsWith("tcp")) assert.equal(answered, sent, `${name}: a connection loses nothing; ${error}`);
    }
    assert.ok(lost.reduce((sum, [, count]) => sum + count, 0) <= IN_FLIGHT, JSON.stringify(lost));
  });

  test("native with the network's routes: where it has none the tunnel leads on, which is said; with them it is native", { timeout: 600_000 }, async () => {
    const defaults = await defaultRoutes(1);
    const { addresses } = (await get<{ status: { addresses: readonly { type: string; address: string }[] } }>("node", "node-2")).status;
    const added = (await podCidrs(2)).map((cidr) => [cidr, "via", addresses.find(({ type, address }) => type === "InternalIP" && address.includes(":") === cidr.includes(":"))?.address ?? assert.fail(cidr), "metric", "4000"]);
    const onFirst = (route: readonly string[], does: string, ...family: readonly string[]): Promise<string> => inNode("node-1", ["ip", ...family, "route", does, ...route]);
    for (const [family = "", ...route] of defaults) await onFirst(route, "delete", family);
    try {
      await apply(routing("of-node-1", { mode: "native", native: { directNodeRoutes: false }, nodeSelector: of(1) }));
      await apply(routing("of-node-2", { mode: "native", native: { directNodeRoutes: true }, nodeSelector: of(2) }));
      await fails("of-node-1", /no route of the network leads to \S+ of node-2; it is reached through the tunnel/);
      await isWay(1, 2, "cilium_host");
      for (const address of two?.addresses ?? []) await one?.reaches("tcp", address, 8080);
      for (const route of added) await onFirst(route, "add");
      await routes("of-node-1", "native", "1/1");
      await isWay(1, 2, "eth0");
      for (const address of two?.addresses ?? []) await one?.reaches("tcp", address, 8080);
    } finally {
      for (const [family = "", ...route] of defaults) await onFirst(route, "replace", family);
      await kubectl("delete", "ciliumrouting", "--ignore-not-found", "of-node-1", "of-node-2");
      await routes("default", "tunnel", "3/3");
      for (const [cidr = ""] of added) await inNode("node-1", ["ip", cidr.includes(":") ? "-6" : "-4", "route", "flush", cidr, "metric", "4000"]);
    }
    await isWay(1, 2, "cilium_host");
  });

  test("mode auto is native where nodes share a segment; a route that somebody deletes is back, and others' stay", { timeout: 300_000 }, async () => {
    await inNode("node-1", ["ip", "route", "add", "203.0.113.0/24", "dev", "eth0"]);
    await apply(routing("elder", { mode: "auto", nodeSelector: {} }));
    await routes("elder", "auto", "3/3");
    await isWay(1, 2, "eth0");
    const [cidr = ""] = await podCidrs(2);
    await inNode("node-1", ["ip", "route", "delete", cidr]);
    await isWay(1, 2, "eth0");
    assert.match(await routesOf(1), /^203\.0\.113\.0\/24 dev eth0/m);
    await inNode("node-1", ["ip", "route", "delete", "203.0.113.0/24"]);
    for (const address of two?.addresses ?? []) await one?.reaches("tcp", address, 8080);
  });

  test("of two objects the greater priority speaks for a node, then the elder; the loser says so; what is wrong is refused or told, and changes nothing", { timeout: 300_000 }, async () => {
    await apply(routing("younger", { mode: "tunnel", nodeSelector: of(1) }));
    await says("younger", "Conflict", /^True Overridden .*node-1 \(elder\)/);
    await apply(routing("younger", { mode: "tunnel", priority: 5, nodeSelector: of(1) }));
    await routes("younger", "tunnel", "1/1");
    await says("younger", "Conflict", /^False None/);
    await says("elder", "Conflict", /^True Overridden .*node-1 \(younger\)/);
    await isWay(1, 2, "cilium_host");
    await isWay(2, 1, "cilium_host");
    await isWay(2, 3, "eth0");
    for (const address of two?.addresses ?? []) await one?.reaches("tcp", address, 8080);
    await apply(routing("younger", { mode: "native", priority: 5, nodeSelector: of(1), tunnel: { port: 9999 } }));
    await says("younger", "Ready", /^False Invalid spec\.tunnel\.port.*stays in force/);
    await isWay(1, 2, "cilium_host");
    assert.match(await refused(JSON.stringify(routing("wrong", { mode: "native" }))), /spec\.nodeSelector/);
    await kubectl("delete", "ciliumrouting", "younger", "elder");
    await routes("default", "tunnel", "3/3");
    for (const { name } of NODES) assert.doesNotMatch(await routesOf(Number(name.slice(-1))), / via \S+ dev eth0 proto 193/);
  });
});
