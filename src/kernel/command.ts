/** Child processes for what has no better interface: iproute2, nft, iptables. No shell unless a caller names one. */
import { spawn } from "node:child_process";
import { CodedError } from "../lib/errors.ts";

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with `input` on its standard input. Rejects only when it cannot be started. */
export type Run = (command: readonly [string, ...string[]], input?: string | Uint8Array) => Promise<CommandResult>;

export class CommandError extends CodedError {
  readonly status: number;

  constructor(command: readonly string[], { status, stderr, stdout }: CommandResult) {
    const said = (stderr.trim() === "" ? stdout : stderr).trim();
    super("COMMAND", `${command.join(" ")}: exit status ${status}${said === "" ? "" : `: ${said}`}`);
    this.name = "CommandError";
    this.status = status;
  }
}

export const runCommand: Run = ([program, ...args], input = "") => {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => undefined); // it ended without reading all: its status tells why
  child.on("error", (cause) => reject(new CodedError("COMMAND", `cannot start ${program}: ${cause.message}`, { cause })));
  child.on("close", (code) => resolve({ status: code ?? -1, stdout, stderr }));
  child.stdin.end(input);
  return promise;
};

/** Standard output; throws CommandError when the exit status is not 0. */
export async function check(run: Run, command: readonly [string, ...string[]], input?: string | Uint8Array): Promise<string> {
  const result = await run(command, input);
  if (result.status !== 0) throw new CommandError(command, result);
  return result.stdout;
}
