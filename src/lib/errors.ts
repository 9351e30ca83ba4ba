/**
 * Errors with a stable `code`: callers branch on the code, people read the message.
 * A message says what failed and what to do; it never carries a credential.
 */

export interface ErrorOptionsWithFields {
  readonly cause?: unknown;
  /** Structured facts for the log line, such as the node's or the map's name. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export class CodedError extends Error {
  readonly code: string;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: ErrorOptionsWithFields = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CodedError";
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

/** Retrying cannot help: the work queue logs it, counts it and forgets the key until it changes. */
export class TerminalError extends CodedError {
  constructor(message: string, options: ErrorOptionsWithFields = {}) {
    super("TERMINAL", message, options);
    this.name = "TerminalError";
  }
}

/** A setting is absent or wrong. `setting` is the name that the user wrote or should write. */
export class ConfigError extends CodedError {
  readonly setting: string;

  constructor(setting: string, message: string) {
    super("CONFIG", `${setting}: ${message}`);
    this.name = "ConfigError";
    this.setting = setting;
  }
}

/** The operation was given up because its AbortSignal fired. Never a failure to report. */
export class AbortedError extends CodedError {
  constructor(message = "aborted") {
    super("ABORTED", message);
    this.name = "AbortedError";
  }
}

/** What is not built is refused with its name, never accepted and ignored. */
export class NotSupportedError extends CodedError {
  constructor(message: string, options: ErrorOptionsWithFields = {}) {
    super("NOT_SUPPORTED", message, options);
    this.name = "NotSupportedError";
  }
}

/** Everything that can be thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The stable code of anything thrown: ours, Node's system code, or "UNKNOWN". */
export function codeOf(thrown: unknown): string {
  if (typeof thrown === "object" && thrown !== null && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return "UNKNOWN";
}

/** One line with the causes, outermost first: `list pods: connect ECONNREFUSED 10.0.0.1:6443`. */
export function describeError(thrown: unknown): string {
  const parts: string[] = [];
  let current: unknown = thrown;
  for (let depth = 0; current !== undefined && depth < 5; depth++) {
    const error = asError(current);
    const text = error.message === "" ? codeOf(error) : error.message;
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    current = error.cause;
  }
  return parts.join(": ");
}
