/**
 * One logger for all processes: JSON lines on standard error through winston, secrets redacted.
 * A line has `time`, `level`, `component`, `message` and the caller's fields.
 */
import winston from "winston";
import { CodedError, asError, describeError } from "./errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same logger with more fields on every line. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly component: string;
  readonly level: LogLevel;
  /** Where the lines go; standard error by default. Tests pass their own stream. */
  readonly stream?: NodeJS.WritableStream;
}

const REDACTED = "[redacted]";
const SECRET_KEY = /^(authorization|cookie|token|.*[_-]?(password|passwd|secret|private[_-]?key|access[_-]?token|bearer[_-]?token|client[_-]?key([_-]?data)?))$/i;
const BEARER = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/g;
/** Three base64url fields that start as `{"`: a JSON Web Token (RFC 7519), such as a service account's. */
const JSON_WEB_TOKEN = /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*/g;
const PEM_PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const MAX_DEPTH = 6;

export function redactText(text: string): string {
  return text
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(JSON_WEB_TOKEN, REDACTED)
    .replace(PEM_PRIVATE_KEY, REDACTED);
}

/** A copy that is safe to print: secrets by key and by shape are gone, errors are one line and a code. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[deep]";
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Map) return redact([...value.entries()], depth);
  if (value instanceof Set) return redact([...value], depth);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  const safe: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value)) {
    safe[key] = SECRET_KEY.test(key) ? REDACTED : redact(item, depth + 1);
  }
  return safe;
}

function redactError(error: Error, depth: number): unknown {
  const fields = error instanceof CodedError ? redact(error.fields, depth + 1) : undefined;
  return {
    message: redactText(describeError(error)),
    ...("code" in error ? { code: error.code } : {}),
    ...(fields !== undefined && Object.keys(fields as object).length > 0 ? { fields } : {}),
    // An error with a code of ours is expected somewhere: its message says all. Others need their place.
    ...(error instanceof CodedError || error.stack === undefined ? {} : { stack: redactText(error.stack) }),
  };
}

class WinstonLogger implements Logger {
  readonly #winston: winston.Logger;
  readonly #fields: LogFields;

  constructor(logger: winston.Logger, fields: LogFields) {
    this.#winston = logger;
    this.#fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    this.#write("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write("warn", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write("error", message, fields);
  }

  child(fields: LogFields): Logger {
    return new WinstonLogger(this.#winston, { ...this.#fields, ...fields });
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (!this.#winston.isLevelEnabled(level)) return;
    const safe = redact({ ...this.#fields, ...fields }) as Record<string, unknown>;
    this.#winston.log({ level, message: redactText(message), fields: safe });
  }
}

const line = winston.format.printf(({ level, message, fields }) =>
  JSON.stringify({ time: new Date().toISOString(), level, message, ...(fields as Record<string, unknown>) }),
);

export function createLogger(options: LoggerOptions): Logger {
  const transport =
    options.stream === undefined
      ? new winston.transports.Console({ stderrLevels: ["debug", "info", "warn", "error"] })
      : new winston.transports.Stream({ stream: options.stream });
  const logger = winston.createLogger({
    level: options.level,
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: line,
    transports: [transport],
  });
  return new WinstonLogger(logger, { component: options.component });
}

/** Logs `thrown` unless it is an abort: the one way to end a promise that nobody awaits. */
export function logFailure(logger: Logger, message: string): (thrown: unknown) => void {
  return (thrown) => {
    const error = asError(thrown);
    if (error.name === "AbortError" || error.name === "AbortedError") return;
    logger.error(message, { error });
  };
}

export function isLogLevel(text: string): text is LogLevel {
  return text === "debug" || text === "info" || text === "warn" || text === "error";
}
