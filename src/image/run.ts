/** Runs build tools: arguments as a list (never a shell), a failure that shows the tool's own last words. */
import { spawn } from "node:child_process";
import { CodedError } from "../lib/errors.ts";

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

const LAST_LINES = 15;

/** Standard output of the tool. Rejects when it cannot start or exits with anything but 0. */
export async function run(tool: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const child = spawn(tool, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: "pipe" });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.end(options.input ?? "");
  const status = await new Promise<number | string>((resolve, reject) => {
    child.on("error", (cause) => reject(new CodedError("TOOL_MISSING", `cannot run ${tool}`, { cause })));
    child.on("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
  });
  const text = Buffer.concat(stdout).toString("utf8");
  if (status === 0) return text;
  const words = Buffer.concat([...stderr, ...stdout]).toString("utf8").trim().split("\n").slice(-LAST_LINES).join("\n");
  throw new CodedError("TOOL_FAILED", `${tool} ${args.slice(0, 3).join(" ")} … ended with ${status}:\n${words}`);
}
