/**
 * From the API server's answer to a policy change to the first packet that is judged by it. `verdicts` sends through the
 * whole series; we create and delete a policy that closes the receiving pod, and watch the API server as operator and
 * agent do, so that the time can be split from outside: what they see, we see at the same moment.
 *
 *   answer ─► policy in the watch ─► node state in the watch ─► first packet judged
 *             └───── operator ─────┘ └──────── agent ─────────┘
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createInterface } from "node:readline";

import { clusterPaths } from "../../src/cluster/config.ts";
import { run } from "../../src/cluster/process.ts";
import { CILIUM_NETWORK_POLICIES, CILIUM_NODE_STATES, type KubeObject, Reflector, type ResourceType } from "../../src/kube/index.ts";
import { createLogger } from "../../src/lib/log.ts";
import { type BenchCluster, NAMESPACE } from "./cluster.ts";
import { ROOT } from "./config.ts";
import { CLOSING_POLICY } from "./policies.ts";
import type { Path } from "./traffic.ts";

export type FlowKind = "new" | "lasting";
export type Verdict = "open" | "closed";

/** Milliseconds. */
export interface PolicyChange {
  readonly to: Verdict;
  /** From the API server's answer to the sending of the first packet with the new fate, by kind of flow. */
  readonly judged: Readonly<Record<FlowKind, number>>;
  readonly operator: number;
  readonly agent: number;
  /** Mean of the writes of node states and acknowledgements meanwhile, by the API server's own metric: the floor of `operator`. */
  readonly write: number;
  /** Changes of fate in one series after the first: a packet judged by the old rules after one by the new. */
  readonly relapses: number;
}

interface Transition {
  readonly kind: FlowKind;
  readonly verdict: Verdict;
  readonly atMs: number;
}

const VERDICTS = join(ROOT, "build/bench/verdicts");
const PORT = 5400;
const RATE = 1000;
const JUDGED_MS = 20_000;
const STEADY_MS = 500;
/** Longer than `verdicts` needs to call a datagram lost, and not in step with anyone's timer. */
const SETTLE_MS = { least: 250, spread: 150 };

export async function policyChanges(cluster: BenchCluster, path: Path, count: number): Promise<readonly PolicyChange[]> {
  const abort = new AbortController();
  const policies = watch(cluster, CILIUM_NETWORK_POLICIES, abort.signal, (key) => key === `${NAMESPACE}/${CLOSING_POLICY.metadata.name}`);
  const states = watch(cluster, CILIUM_NODE_STATES, abort.signal, (key) => key === `spec.${path.to.node}`);
  const prober = new Prober(path);
  try {
    await Promise.all([policies.synced, states.synced, prober.known("open")]);
    const changes: PolicyChange[] = [];
    for (let index = 0; index < count; index++) {
      await sleep(SETTLE_MS.least + Math.random() * SETTLE_MS.spread);
      const to = index % 2 === 0 ? "closed" : "open";
      const before = await nodeStateWrites(cluster);
      const from = nowMs();
      const answeredMs = await change(cluster, to);
      const judged = { new: await prober.first("new", to, from), lasting: await prober.first("lasting", to, from) };
      await sleep(SETTLE_MS.least);
      const seen = { policy: policies.firstSince(from), state: states.firstSince(from) };
      const after = await nodeStateWrites(cluster);
      changes.push({
        to,
        judged: { new: judged.new - answeredMs, lasting: judged.lasting - answeredMs },
        operator: seen.state - seen.policy,
        agent: judged.new - seen.state,
        write: ((after.seconds - before.seconds) * 1000) / (after.count - before.count),
        relapses: prober.relapses(from),
      });
    }
    return changes;
  } finally {
    abort.abort();
    await prober.stop();
    await cluster.client.delete(CILIUM_NETWORK_POLICIES, CLOSING_POLICY.metadata);
  }
}

/** Makes the change; the time at which the API server's answer was here. */
async function change({ client }: BenchCluster, to: Verdict): Promise<number> {
  if (to === "closed") await client.create(CILIUM_NETWORK_POLICIES, CLOSING_POLICY as never);
  else await client.delete(CILIUM_NETWORK_POLICIES, CLOSING_POLICY.metadata);
  return nowMs();
}

/** All PUTs of CiliumNodeStates that the API server has answered, as its metrics count them. */
async function nodeStateWrites({ config }: BenchCluster): Promise<{ readonly seconds: number; readonly count: number }> {
  const { bin, kubeconfig } = clusterPaths(config);
  const metrics = await run([join(bin, "kubectl"), "--kubeconfig", kubeconfig, "get", "--raw", "/metrics"]);
  const total = (suffix: string): number =>
    metrics.split("\n").filter((line) => line.startsWith(`apiserver_request_duration_seconds_${suffix}{`) && line.includes(`resource="${CILIUM_NODE_STATES.plural}"`) && line.includes('verb="PUT"'))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  return { seconds: total("sum"), count: total("count") };
}

/** The clock of `verdicts`: CLOCK_MONOTONIC. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Notes when the watch tells of changes to the objects that match. */
function watch<T extends KubeObject>(cluster: BenchCluster, type: ResourceType<T>, signal: AbortSignal, matches: (key: string) => boolean): {
  readonly synced: Promise<void>;
  firstSince(fromMs: number): number;
} {
  const times: number[] = [];
  const source = new Reflector<T, string>({
    type, transport: cluster.client.transport, logger: createLogger({ component: "bench", level: "error" }),
    decode: (object) => object.metadata.resourceVersion ?? "",
  });
  source.subscribe({ changed: (key) => void (matches(key) && times.push(nowMs())) });
  const synced = source.start(signal).then(() => source.whenSynced(signal));
  return { synced, firstSince: (fromMs) => times.find((time) => time >= fromMs) ?? Number.NaN };
}

class Prober {
  readonly #child: ChildProcess;
  readonly #transitions: Transition[] = [];
  readonly #waiting = new Set<() => void>();
  #failure: Error | undefined;

  constructor({ from, to }: Path) {
    const child = spawn(VERDICTS, [from.netns, to.netns, to.ipv4, String(PORT), String(RATE)], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => this.#read(line));
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    child.once("error", (error) => this.#fail(error));
    child.once("close", (code) => this.#fail(new Error(`verdicts ended with exit status ${code}: ${said}`)));
  }

  /** Resolves when the fate of both kinds is `verdict` and has been for a while. */
  async known(verdict: Verdict): Promise<void> {
    await Promise.all((["new", "lasting"] as const).map((kind) => this.first(kind, verdict, 0)));
    for (let steadyMs = 0; steadyMs < STEADY_MS;) {
      await sleep(STEADY_MS);
      const last = (["new", "lasting"] as const).map((kind) => this.#transitions.findLast((each) => each.kind === kind));
      steadyMs = Math.min(...last.map((each) => (each?.verdict === verdict ? nowMs() - each.atMs : 0)));
    }
  }

  /** When the first packet of the kind since `fromMs` was sent whose fate became `verdict`. */
  async first(kind: FlowKind, verdict: Verdict, fromMs: number): Promise<number> {
    const deadlineMs = nowMs() + JUDGED_MS;
    for (;;) {
      const found = this.#transitions.find((each) => each.kind === kind && each.verdict === verdict && each.atMs >= fromMs);
      if (found !== undefined) return found.atMs;
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = deadlineMs - nowMs();
      if (leftMs <= 0) throw new Error(`packets of ${kind} flows are not ${verdict} ${JUDGED_MS / 1000} s after the change at ${fromMs}: ${JSON.stringify(this.#transitions.slice(-8))}`);
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          resolve();
        };
        const timer = setTimeout(done, leftMs);
        this.#waiting.add(done);
      });
    }
  }

  relapses(fromMs: number): number {
    return (["new", "lasting"] as const).reduce((sum, kind) => sum + Math.max(0, this.#transitions.filter((each) => each.kind === kind && each.atMs >= fromMs).length - 1), 0);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin?.end();
    await closed;
  }

  #read(line: string): void {
    const [kind = "", verdict = "", ns = ""] = line.split(" ");
    this.#transitions.push({ kind: kind as FlowKind, verdict: verdict as Verdict, atMs: Number(ns) / 1e6 });
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
