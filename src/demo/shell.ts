/** Commands as a user types them: shown, run, and their output shown below them. */
import { spawn, type ChildProcess } from "node:child_process";
import { CodedError } from "../lib/errors.ts";

export interface ShellOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  write(text: string): void;
}

export interface Result {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

const LAST_LINES = 20;

export class Shell {
  readonly #options: ShellOptions;

  constructor(options: ShellOptions) {
    this.#options = options;
  }

  /** Shows the command and its output; a failure is an error. Returns standard output. */
  async show(command: readonly string[]): Promise<string> {
    this.say(`\n$ ${command.join(" ")}`);
    const result = await this.#run(command, (text) => this.#options.write(text));
    if (!result.ok) throw new CodedError("DEMO", `${command.join(" ")} failed`);
    return result.stdout;
  }

  /** Runs without a word; a failure is an error that carries the command's last ones. */
  async quiet(command: readonly string[]): Promise<string> {
    const result = await this.attempt(command);
    if (result.ok) return result.stdout;
    const words = `${result.stdout}${result.stderr}`.trim().split("\n").slice(-LAST_LINES).join("\n");
    throw new CodedError("DEMO", `${command.join(" ")} failed:\n${words}`);
  }

  /** Runs without a word; a failure is a result. */
  async attempt(command: readonly string[]): Promise<Result> {
    return this.#run(command, () => undefined);
  }

  /** Starts a command that runs beside the story; `onText` gets its standard output. */
  start(command: readonly string[], onText: (text: string) => void): ChildProcess {
    const child = this.#spawn(command);
    child.stdout?.setEncoding("utf8").on("data", onText);
    child.stderr?.resume();
    return child;
  }

  say(line: string): void {
    this.#options.write(`${line}\n`);
  }

  async #run(command: readonly string[], echo: (text: string) => void): Promise<Result> {
    const child = this.#spawn(command);
    const words = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream]?.setEncoding("utf8").on("data", (text: string) => {
        words[stream] += text;
        echo(text);
      });
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", (cause) => reject(new CodedError("DEMO", `cannot run ${command[0]}`, { cause })));
      child.on("close", resolve);
    });
    return { ok: code === 0, ...words };
  }

  #spawn([tool = "", ...args]: readonly string[]): ChildProcess {
    return spawn(tool, args, { cwd: this.#options.cwd, env: this.#options.env, stdio: ["ignore", "pipe", "pipe"] });
  }
}
