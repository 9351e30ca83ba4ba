import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, readSync, fstatSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ClusterError, CommandError } from "./errors.ts";

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** After which the command is killed with all it started, as long as that stays in its process group. */
  readonly timeoutMs?: number;
}

export interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; its exit status is the caller's to judge. Rejects only when it cannot be started. */
export function capture(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
  const [command = "", ...args] = argv;
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      // setpgid(2): a group of its own, which can be killed as a whole; a child that lived on would hold our pipes open.
      detached: options.timeoutMs !== undefined,
    });
    const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => killGroup(child.pid), options.timeoutMs);
    const chunks: { out: Buffer[]; err: Buffer[] } = { out: [], err: [] };
    child.stdout?.on("data", (chunk: Buffer) => chunks.out.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => chunks.err.push(chunk));
    child.on("error", (error) => {
      clearTimeout(timer);
      fail(error);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code, stdout: Buffer.concat(chunks.out).toString(), stderr: Buffer.concat(chunks.err).toString() });
    });
    // A command that ends before it has read its input is judged by its exit status, not by the broken pipe.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input);
  });
}

function killGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

/** Runs a command and returns what it printed; any other exit status than 0 is a CommandError. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const output = await capture(argv, options);
  if (output.code !== 0) throw new CommandError(argv, output.code, lastLines(output.stderr === "" ? output.stdout : output.stderr, 15));
  return output.stdout;
}

/** A process is its id and its start time: ids are used again, the pair is not. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** The identity of a live process, undefined when there is none (a zombie counts as none). */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  const stat = processStat(pid);
  return stat === undefined || stat.state === "Z" ? undefined : { pid, startTime: stat.startTime };
}

function processStat(pid: number): { readonly state: string; readonly startTime: string } | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // proc(5): the command name, field 2, is in parentheses and may hold anything; state is field 3, starttime field 22.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", startTime: fields[19] ?? "" };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return processIdentity(identity.pid)?.startTime === identity.startTime;
}

export function readPidFile(file: string): ProcessIdentity | undefined {
  try {
    const [pid = "", startTime = ""] = readFileSync(file, "utf8").trim().split(" ");
    const identity = { pid: Number(pid), startTime };
    return isAlive(identity) ? identity : undefined;
  } catch {
    return undefined;
  }
}

export interface DaemonSpec {
  readonly argv: readonly string[];
  readonly logFile: string;
  readonly pidFile: string;
  /** Directories of cgroups that the process joins before its first own instruction. */
  readonly cgroups: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * The command that joins cgroups and then becomes `argv`. Writing 0 to cgroup.procs moves the writer (cgroups(7)), so
 * that no moment exists in which the command runs outside.
 */
export function joining(cgroups: readonly string[], argv: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'for dir in $0; do echo 0 > "$dir/cgroup.procs" || exit 125; done; exec "$@"', cgroups.join(" "), ...argv];
}

/** Starts a process that outlives us, unless its pid file names a live one. */
export function ensureDaemon(spec: DaemonSpec): ProcessIdentity {
  const running = readPidFile(spec.pidFile);
  if (running !== undefined) return running;
  mkdirSync(dirname(spec.logFile), { recursive: true });
  mkdirSync(dirname(spec.pidFile), { recursive: true });
  const log = openSync(spec.logFile, "a", 0o600);
  try {
    const [command = "", ...args] = joining(spec.cgroups, spec.argv);
    const child = spawn(command, args, {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...spec.env },
    });
    child.unref();
    const pid = child.pid;
    // Our child is not collected before we return to the event loop, so it is there even when it has ended by now.
    const stat = pid === undefined ? undefined : processStat(pid);
    if (pid === undefined || stat === undefined) throw new ClusterError(`${spec.argv[0] ?? ""} did not start`, `read ${spec.logFile}`);
    const identity = { pid, startTime: stat.startTime };
    writeFileSync(spec.pidFile, `${identity.pid} ${identity.startTime}\n`);
    return identity;
  } finally {
    closeSync(log);
  }
}

/**
 * Asks `ready` until it says yes. A daemon that ends meanwhile or a passed deadline is an error that names the log and
 * shows its end.
 */
export async function waitReady(what: string, logFile: string, timeoutMs: number, ready: () => Promise<boolean>, daemon?: ProcessIdentity): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await ready())) {
    const ended = daemon !== undefined && !isAlive(daemon);
    if (ended || Date.now() > deadline) {
      const verdict = ended ? "ended" : `is not ready after ${Math.round(timeoutMs / 1000)} s`;
      throw new ClusterError(`${what} ${verdict}`, `read ${logFile}, which ends with\n${logEnd(logFile, 15)}`);
    }
    await sleep(150);
  }
}

const LOG_TAIL_BYTES = 64 * 1024;
const LINE_LENGTH = 400;

/** The last lines of a file that may be large; empty when it does not exist. */
export function logEnd(file: string, lines: number): string {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch {
    return "  (no such file)";
  }
  try {
    const size = fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
    readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    const end = lastLines(buffer.toString(), lines).split("\n");
    return end.map((line) => (line.length > LINE_LENGTH ? `  ${line.slice(0, LINE_LENGTH)} …` : `  ${line}`)).join("\n");
  } finally {
    closeSync(fd);
  }
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
