/** What went wrong and what to do about it, as the one line that the user reads. */
export class ClusterError extends Error {
  constructor(cause: string, remedy: string) {
    super(`${cause}: ${remedy}`);
    this.name = "ClusterError";
  }
}

/** A child process that ended with an error; `output` is the end of what it wrote. */
export class CommandError extends Error {
  readonly code: number | null;
  readonly output: string;

  constructor(argv: readonly string[], code: number | null, output: string) {
    super(`${argv.slice(0, 6).join(" ")}: exit status ${code ?? "none (killed)"}\n${output.trimEnd()}`);
    this.name = "CommandError";
    this.code = code;
    this.output = output;
  }
}
