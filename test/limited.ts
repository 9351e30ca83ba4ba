/** A program in a process group of its own that has a limit: past it, the whole group is ended by its id. */
import { spawn } from "node:child_process";

export interface Limited {
  readonly output: string;
  readonly ok: boolean;
  readonly timedOut: boolean;
}

export interface LimitOptions {
  readonly cwd: string;
  readonly limitMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
  readonly said: (text: string) => void;
}

export async function runLimited([program = "", ...args]: readonly string[], options: LimitOptions): Promise<Limited> {
  const child = spawn(program, args, { cwd: options.cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      options.said(text);
    });
  }
  let timedOut = false;
  let killing: NodeJS.Timeout | undefined;
  const end = (): void => {
    signalGroup(child.pid, "SIGTERM");
    killing ??= setTimeout(() => {
      signalGroup(child.pid, "SIGKILL");
      // Who left the group may hold them for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    }, options.graceMs);
  };
  const limit = setTimeout(() => {
    timedOut = true;
    end();
  }, options.limitMs);
  // A group of its own does not hear the terminal's Ctrl-C.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);
  try {
    const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
    return { output, ok: code === 0 && !timedOut, timedOut };
  } finally {
    clearTimeout(limit);
    clearTimeout(killing);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, end);
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It ended by itself.
  }
}
