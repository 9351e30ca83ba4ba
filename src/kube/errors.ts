/** What the API server answers when it does not do what was asked. */
import { CodedError } from "../lib/errors.ts";

/** The fields we use of a metav1.Status. */
export interface StatusBody {
  readonly reason?: string;
  readonly message?: string;
  readonly code?: number;
}

/** The API server refused. `code` is `KUBE_` and the Status reason, such as KUBE_NotFound or KUBE_Conflict. */
export class ApiError extends CodedError {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(`KUBE_${reason}`, message, { fields: { status, reason } });
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
  }
}

/** No server of the list could be reached: nothing was sent, or no answer came. */
export class UnreachableError extends CodedError {
  constructor(message: string, cause: unknown) {
    super("KUBE_Unreachable", message, { cause });
    this.name = "UnreachableError";
  }
}

const REASONS: ReadonlyMap<number, string> = new Map([
  [400, "BadRequest"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "NotFound"],
  [409, "Conflict"],
  [410, "Expired"],
  [422, "Invalid"],
  [429, "TooManyRequests"],
  [504, "Timeout"],
]);

/** Reads a Status out of an answer; `what` says what was asked, such as `GET /api/v1/pods`. */
export function apiError(what: string, status: number, text: string): ApiError {
  const body = statusOf(text);
  const reason = body?.reason ?? REASONS.get(status) ?? `Http${status}`;
  const message = body?.message ?? text.slice(0, 300).trim();
  return new ApiError(status, reason, `${what}: ${message === "" ? reason : message}`);
}

function statusOf(text: string): StatusBody | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

export function isNotFound(thrown: unknown): boolean {
  return thrown instanceof ApiError && thrown.status === 404;
}

/** Without the right, or without the kind: it stays so until somebody changes that. */
export function isRefused(thrown: unknown): boolean {
  return thrown instanceof ApiError && [401, 403, 404].includes(thrown.status);
}

/** Someone else wrote first, or the object exists already. */
export function isConflict(thrown: unknown): boolean {
  return thrown instanceof ApiError && thrown.status === 409;
}

/** The version asked for is compacted away: only a new list helps. */
export function isGone(thrown: unknown): boolean {
  return thrown instanceof ApiError && (thrown.status === 410 || thrown.reason === "Expired" || thrown.reason === "Gone");
}
