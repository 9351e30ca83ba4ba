import { CodedError } from "../lib/errors.ts";

/** The command cannot do what was asked; the message says why and what to do. Exit status 1. */
export class CliError extends CodedError {
  constructor(message: string, cause?: unknown) {
    super("CLI", message, { cause });
    this.name = "CliError";
  }
}
