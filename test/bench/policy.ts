/**
 * `make bench-policy`: C5 and M10, what the operator computes of large worlds, and of one change in them: from the objects as
 * the API server's watch brings them to the states of the nodes that have another one now. No cluster and no I/O. Each world is
 * measured in a process of its own (`policy.ts NAME`), so that memory is its own. Into POLICY.md.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { Validator } from "../../src/api/index.ts";
import { decodeNamespace, decodePod } from "../../src/operator/rows.ts";
import { PolicyQuota } from "../../src/operator/policy-quota.ts";
import { Replica } from "../support/replica.ts";
import { ROOT } from "./config.ts";
import { type Measured, type Series, policyReport } from "./policy-report.ts";
import { WORLDS, podOf, policyOf } from "./policy-worlds.ts";

const CHANGES = 200;
const WARM_UP = 50;

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
/** Of this thread alone: what else the machine does meanwhile is not in it. */
const workedMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

async function measure(name: string): Promise<Measured> {
  const make = WORLDS[name];
  if (make === undefined) throw new Error(`there is no world ${name}`);
  // As the watch's lines have them: each object is parsed by itself.
  const world = JSON.parse(JSON.stringify(make())) as ReturnType<typeof make>;
  const replica = new Replica({ validator: new Validator(), numbers: true, quota: new PolicyQuota() });
  collect();
  const before = process.memoryUsage();
  const [startMs, startWorkedMs] = [nowMs(), workedMs()];
  for (const namespace of world.namespaces) replica.apply({ table: "namespaces", key: namespace.metadata.name, value: decodeNamespace(namespace) });
  for (const policy of world.policies) replica.apply({ table: "policies", kind: "NetworkPolicy", key: `${policy.metadata.namespace}/${policy.metadata.name}`, value: policy });
  for (const pod of world.pods) replica.apply({ table: "pods", key: `${pod.metadata.namespace}/${pod.metadata.name}`, value: decodePod(pod) });
  const readMs = nowMs() - startMs;
  const states = replica.compile().length;
  const [fullMs, fullWorkedMs] = [nowMs() - startMs, workedMs() - startWorkedMs];
  collect();
  const after = process.memoryUsage();
  const most = process.resourceUsage().maxRSS * 1024;
  return { name, states, readMs, fullMs, fullWorkedMs, heapBytes: after.heapUsed - before.heapUsed, residentBytes: most, changes: await changes(replica, world.name) };
}

function collect(): void {
  global.gc?.();
}

/** Milliseconds of each change, and how many nodes it gave another state. */
async function changes(replica: Replica, world: string): Promise<readonly Series[]> {
  const namespaces = world === "small" ? 25_000 : 1;
  const own = (at: number): Record<string, string> => (world === "apart" ? { app: `scale-${at}` } : { "app-1": "scale-1" });
  const spaceOf = (at: number): string => `ns-${(at * 37) % namespaces}`;
  const pod = (at: number, name: string, labels: Record<string, string> | undefined): void =>
    replica.apply({ table: "pods", key: `${spaceOf(at)}/${name}`, value: labels === undefined ? undefined : decodePod(podOf(spaceOf(at), name, labels)) });
  const policy = (at: number, name: string, from: string | undefined, generation: number): void =>
    replica.apply({ table: "policies", kind: "NetworkPolicy", key: `${spaceOf(at)}/${name}`, value: from === undefined ? undefined : policyOf(spaceOf(at), name, own(at), { app: from }, generation) });
  const nameOf = (at: number): string => (namespaces === 1 ? `np-${at}` : "np-1");
  return [
    await series("a pod of a known identity starts, where one runs already", replica, (at) => pod(at, "pod1", own(at)), (at) => pod(at, world === "small" ? "pod1" : `pod-${at}`, own(at))),
    await series("a pod of a known identity starts, on another node", replica, (at) => pod(at, `new-${at}`, own(at))),
    await series("a pod with labels that none had starts", replica, (at) => pod(at, `one-${at}`, { ...own(at), version: String(at) })),
    await series("a label of a pod changes", replica, (at) => pod(at, `one-${at}`, { ...own(at), version: `other-${at}` })),
    await series("a policy comes", replica, (at) => policy(at, `come-${at}`, `from-${at}`, 1)),
    await series("a policy changes", replica, (at) => policy(at, nameOf(at), `from-${at}`, 2)),
    await series("a policy goes", replica, (at) => policy(at, `come-${at}`, undefined, 1)),
  ];
}

async function series(what: string, replica: Replica, change: (at: number) => void, prepare?: (at: number) => void): Promise<Series> {
  const [values, worked]: [number[], number[]] = [[], []];
  let states = 0;
  for (let at = 0; at < CHANGES + WARM_UP; at++) {
    prepare?.(at);
    replica.compile();
    await setImmediate();
    const [startMs, startWorkedMs] = [nowMs(), workedMs()];
    change(at);
    const changed = replica.compile().length;
    if (at < WARM_UP) continue;
    values.push(nowMs() - startMs);
    worked.push(workedMs() - startWorkedMs);
    states += changed;
  }
  return { what, values, worked, states: states / CHANGES };
}

function main(): void {
  const measured = Object.keys(WORLDS).map((name): Measured => {
    process.stderr.write(`bench-policy: ${name}\n`);
    const command = ["--expose-gc", "--max-old-space-size=4096", import.meta.filename, name];
    return JSON.parse(execFileSync(process.execPath, command, { encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "inherit"] })) as Measured;
  });
  const commit = execFileSync("git", ["-C", ROOT, "describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  const machine = `${new Date().toISOString()}, commit ${commit}; Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, Node ${process.version}, load average ${(loadavg()[0] ?? 0).toFixed(2)} at the end`;
  writeFileSync(join(ROOT, "test/bench/POLICY.md"), policyReport(machine, measured));
}

const [, , name] = process.argv;
if (name === undefined) main();
else process.stdout.write(JSON.stringify(await measure(name)));
