/** Two machines, which are network namespaces: the kernel of the one answers the other's questions, until the wire is cut. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { HealthReport } from "../../src/agent/node-health.ts";
import { sleep } from "../../src/lib/backoff.ts";

const [HERE, THERE] = [`croh-a-${process.pid}`, `croh-b-${process.pid}`];
const SOURCE = join(import.meta.dirname, "../../src");
const PATIENCE_MS = 120_000;
const run = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
const ADDRESSES = [["endpoint", "198.18.5.2"], ["endpoint", "fd00:5::2"], ["node", "198.18.5.3"]] as const;

let agent: ChildProcess | undefined;
let report: HealthReport | undefined;

/** Each report as a line, and what was answered is in the metrics' callback. */
const SCRIPT = `
import { NodeHealth } from ${JSON.stringify(join(SOURCE, "agent/node-health.ts"))};
import { EchoSockets } from ${JSON.stringify(join(SOURCE, "kernel/index.ts"))};
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const peers = [{ name: "there", addresses: ${JSON.stringify(ADDRESSES.map(([type, address]) => ({ type, address })))} }];
const health = new NodeHealth({ echo: new EchoSockets(), logger: silent, nowMs: () => performance.now(), current: () => peers, onAnswer: () => undefined });
health.run(new AbortController().signal);
setInterval(() => console.log(JSON.stringify(health.report())), 200);
`;

async function until(what: string, check: (states: readonly string[]) => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  const states = (): readonly string[] => (report?.peers ?? []).flatMap(({ probes }) => probes.map(({ state }) => state));
  while (!check(states())) {
    if (performance.now() > end) assert.fail(`${what}: ${JSON.stringify(report)}`);
    await sleep(100);
  }
}

const isAll = (wanted: string) => (states: readonly string[]): boolean => states.length === ADDRESSES.length && states.every((state) => state === wanted);

before(() => {
  for (const netns of [HERE, THERE]) run("netns", "add", netns);
  run("link", "add", "wire", "netns", HERE, "type", "veth", "peer", "name", "wire", "netns", THERE);
  for (const [netns, ...addresses] of [[HERE, "198.18.5.1/24", "fd00:5::1/64"], [THERE, "198.18.5.2/24", "198.18.5.3/24", "fd00:5::2/64"]] as const) {
    for (const address of addresses) run("-n", netns, "address", "add", address, "dev", "wire", ...(address.includes(":") ? ["nodad"] : []));
    run("-n", netns, "link", "set", "wire", "up");
  }
  agent = spawn("ip", ["netns", "exec", HERE, process.execPath, "--input-type=module", "--eval", SCRIPT], { stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: agent.stdout ?? assert.fail("no output") }).on("line", (line) => {
    report = JSON.parse(line) as HealthReport;
  });
});

after(async () => {
  const ended = new Promise((resolve) => agent?.once("exit", resolve));
  agent?.kill("SIGKILL");
  await ended;
  for (const netns of [HERE, THERE]) run("netns", "delete", netns);
});

test("both families and both kinds of address answer, with a latency, and no sooner than they can", async () => {
  await until("reached", isAll("reachable"));
  assert.equal(report?.failure, undefined);
  for (const { latencySeconds = -1 } of report?.peers[0]?.probes ?? []) assert.ok(latencySeconds > 0 && latencySeconds < 60, `${latencySeconds} s`);
});

test("a machine that answers no more is told, and told again when it does", async () => {
  run("-n", THERE, "link", "set", "wire", "down");
  await until("not reached", isAll("unreachable"));
  run("-n", THERE, "link", "set", "wire", "up");
  run("-n", THERE, "address", "replace", "fd00:5::2/64", "dev", "wire", "nodad");
  await until("reached again", isAll("reachable"));
});
