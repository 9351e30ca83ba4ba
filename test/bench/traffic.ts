/** Streams, round trips and new connections between two pods. The client runs on processor 0, the server on 1. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./config.ts";
import { inPod, type Pod, runInPod } from "./cluster.ts";

export interface Path {
  readonly from: Pod;
  readonly to: Pod;
  /** Processes that carry the packets between the two; their CPU time counts. */
  readonly carriers?: readonly number[];
}

export interface Sample {
  /** Gbit/s, round trips a second, connections a second. */
  readonly rate: number;
  /** CPU time of client, server, carriers and the kernel's softirq threads: seconds per gigabyte, or per million transactions. */
  readonly cpu: number;
  /** Latency of one transaction; absent for streams. */
  readonly p50us?: number;
  readonly p99us?: number;
  readonly failures?: number;
}

export const STREAM_PORT = 5201;
export const PINGPONG_PORT = 5300;
const PINGPONG = join(ROOT, "build/bench/pingpong");
const CLIENT_CPU = 0;
const SERVER_CPU = 1;

interface StreamReport {
  readonly end: {
    readonly sum_received: { readonly bits_per_second: number; readonly bytes: number };
    readonly sum_sent: { readonly seconds: number };
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
  };
}

interface PingPongReport {
  readonly count: number;
  readonly failures: number;
  readonly seconds: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly cpuSeconds: number;
}

/** One TCP stream. */
export async function stream({ from, to, carriers = [] }: Path, seconds: number): Promise<Sample> {
  const server = await Server.start(to, ["iperf3", "--server", "--one-off", "--forceflush", "--port", String(STREAM_PORT)], "listening on");
  try {
    const before = othersSeconds(carriers);
    const text = await runInPod(from, CLIENT_CPU, ["iperf3", "--client", to.ipv4, "--port", String(STREAM_PORT), "--time", String(seconds), "--json"], (seconds + 20) * 1000);
    const others = othersSeconds(carriers) - before;
    const { sum_received: received, sum_sent: sent, cpu_utilization_percent: cpu } = (JSON.parse(text) as StreamReport).end;
    const processes = ((cpu.host_total + cpu.remote_total) / 100) * sent.seconds;
    return { rate: received.bits_per_second / 1e9, cpu: (processes + others) / (received.bytes / 1e9) };
  } finally {
    await server.stop();
  }
}

/** `rr`: round trips on one connection; `crr`: each on a connection of its own. */
export async function pingPong({ from, to, carriers = [] }: Path, kind: "rr" | "crr", seconds: number): Promise<Sample> {
  const server = await Server.start(to, [PINGPONG, "serve", String(PINGPONG_PORT)], "ready");
  try {
    const before = othersSeconds(carriers) + server.cpuSeconds();
    const text = await runInPod(from, CLIENT_CPU, [PINGPONG, kind, to.ipv4, String(PINGPONG_PORT), String(seconds)], (seconds + 10) * 1000);
    const others = othersSeconds(carriers) + server.cpuSeconds() - before;
    const report = JSON.parse(text) as PingPongReport;
    return {
      rate: report.count / report.seconds,
      cpu: (report.cpuSeconds + others) / (report.count / 1e6),
      p50us: report.p50us, p99us: report.p99us, failures: report.failures,
    };
  } finally {
    await server.stop();
  }
}

/** A server in a pod, for the length of one measurement. */
class Server {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = new Promise((resolve) => child.once("close", () => resolve()));
  }

  /** Resolves when it has printed `word`. */
  static async start(pod: Pod, argv: readonly string[], word: string): Promise<Server> {
    const [command = "", ...args] = inPod(pod, SERVER_CPU, argv);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const server = new Server(child);
    let said = "";
    await new Promise<void>((resolve, reject) => {
      for (const output of [child.stdout, child.stderr]) output.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes(word)) resolve();
      });
      child.once("error", reject);
      child.once("close", (code) => reject(new Error(`${argv.join(" ")}: exit status ${code}\n${said}`)));
    });
    return server;
  }

  /** nsenter, nice and taskset become the server, so the child's id is its. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid ?? 0);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }
}

/** The kernel works in the sender's and receiver's time, and where that is too long in ksoftirqd's. */
function othersSeconds(carriers: readonly number[]): number {
  const softirq = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && nameOf(entry).startsWith("ksoftirqd/"));
  return [...softirq.map(Number), ...carriers].reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8");
  } catch {
    return "";
  }
}

/** First field of schedstat: a thread's time on a processor, in nanoseconds (kernel: Documentation/scheduler/sched-stats.rst). */
export function cpuSecondsOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]), 0) / 1e9;
}
