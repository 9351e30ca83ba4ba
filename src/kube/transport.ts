/**
 * HTTP to the API server: one connection pool per server, the next server of the list when one cannot be
 * reached, credentials read again when they are refused. The only file that opens connections to it.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { AbortedError, asError, codeOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Credentials } from "./credentials.ts";
import { ApiError, UnreachableError, apiError } from "./errors.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface ApiRequest {
  readonly method: Method;
  /** Path from the server's root, such as /api/v1/pods. */
  readonly path: string;
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Limit for the whole answer, or for the silence between two pieces of a stream. */
  readonly timeoutMs?: number | undefined;
}

export interface Transport {
  /** Sends and parses the answer; throws ApiError, UnreachableError or AbortedError. */
  json(request: ApiRequest): Promise<unknown>;
  /** Sends and hands out the body as it comes. */
  stream(request: ApiRequest): Promise<AsyncIterable<Uint8Array>>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 15_000;

/** The request never reached a server: sending it elsewhere cannot do it twice. */
class NotSentError extends Error {}

export class HttpTransport implements Transport {
  readonly #access: Credentials;
  readonly #logger: Logger;
  readonly #onServer: (server: string) => void;
  readonly #agents = new Map<string, HttpAgent>();
  #current = 0;
  #reported: string | undefined;

  /** `onServer` hears which server answered when that changes: agents keep it on disk for the next start. */
  constructor(access: Credentials, logger: Logger, onServer: (server: string) => void = () => undefined) {
    this.#access = access;
    this.#logger = logger;
    this.#onServer = onServer;
  }

  async json(request: ApiRequest): Promise<unknown> {
    const response = await this.#open(request);
    const text = await readAll(response, request);
    try {
      return JSON.parse(text);
    } catch (thrown) {
      throw new UnreachableError(`${what(request)}: the answer is not JSON`, thrown);
    }
  }

  async stream(request: ApiRequest): Promise<AsyncIterable<Uint8Array>> {
    return this.#open(request);
  }

  /** Drops all idle and busy connections. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  async #open(request: ApiRequest): Promise<IncomingMessage> {
    try {
      return await this.#openAnywhere(request);
    } catch (thrown) {
      if (!(thrown instanceof ApiError) || thrown.status !== 401) throw thrown;
      this.#access.reload();
      this.close();
      return this.#openAnywhere(request);
    }
  }

  async #openAnywhere(request: ApiRequest): Promise<IncomingMessage> {
    const servers = this.#access.servers;
    let failure: unknown;
    for (let attempt = 0; attempt < servers.length; attempt++) {
      const index = (this.#current + attempt) % servers.length;
      const server = servers[index] ?? "";
      try {
        const response = await this.#send(server, request);
        this.#current = index;
        this.#report(server);
        return response;
      } catch (thrown) {
        if (!(thrown instanceof NotSentError)) throw thrown;
        failure = thrown.cause;
        this.#logger.debug("API server not reached", { server, error: asError(failure) });
      }
    }
    // Certificates may have been rotated while we were away: the next try starts from the files.
    this.#access.reload();
    this.close();
    throw new UnreachableError(`${what(request)}: API server ${servers.join(", ")} not reached`, failure);
  }

  async #send(server: string, request: ApiRequest): Promise<IncomingMessage> {
    const headers = await this.#access.headers();
    const agent = await this.#agent(server);
    if (request.signal?.aborted === true) throw new AbortedError();
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    const send = server.startsWith("https:") ? httpsRequest : httpRequest;
    const outgoing = send(server + pathWithQuery(request), {
      method: request.method,
      agent,
      headers: {
        ...headers,
        accept: "application/json",
        "user-agent": "cilium",
        ...(body === undefined ? {} : { "content-type": request.contentType ?? "application/json", "content-length": Buffer.byteLength(body) }),
      },
    });
    outgoing.end(body);
    const response = await this.#answer(outgoing, request, server);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw apiError(what(request), status, await readAll(response, request));
  }

  /** Waits for the headers of the answer. A stale kept-alive connection counts as not sent. */
  #answer(outgoing: ClientRequest, request: ApiRequest, server: string): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    let connected = false;
    const abort = (): void => void outgoing.destroy(new AbortedError());
    const connectTimer = setTimeout(() => outgoing.destroy(new Error(`${server}: no connection in ${CONNECT_TIMEOUT_MS} ms`)), CONNECT_TIMEOUT_MS);
    const settle = (): void => clearTimeout(connectTimer);
    const isConnected = (): void => {
      connected = true;
      settle();
    };
    request.signal?.addEventListener("abort", abort, { once: true });
    outgoing.once("close", () => request.signal?.removeEventListener("abort", abort));
    outgoing.once("socket", (socket) => {
      if (!socket.connecting) isConnected();
      else socket.once(server.startsWith("https:") ? "secureConnect" : "connect", isConnected);
    });
    outgoing.setTimeout(request.timeoutMs ?? ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error(`${what(request)}: no answer in time`)));
    outgoing.on("error", (error) => {
      settle();
      if (error instanceof AbortedError) reject(error);
      else if (!connected || (outgoing.reusedSocket && codeOf(error) === "ECONNRESET")) reject(new NotSentError("not sent", { cause: error }));
      else reject(new UnreachableError(what(request), error));
    });
    outgoing.once("response", (response) => {
      settle();
      resolve(response);
    });
    return promise;
  }

  async #agent(server: string): Promise<HttpAgent> {
    const known = this.#agents.get(server);
    if (known !== undefined) return known;
    const options = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
    const tls = server.startsWith("https:") ? await this.#access.tls() : undefined;
    const raced = this.#agents.get(server);
    if (raced !== undefined) return raced;
    const agent = tls === undefined ? new HttpAgent(options) : new HttpsAgent({ ...options, ...tls });
    this.#agents.set(server, agent);
    return agent;
  }

  #report(server: string): void {
    if (this.#reported === server) return;
    this.#reported = server;
    this.#onServer(server);
  }
}

function what(request: ApiRequest): string {
  return `${request.method} ${request.path}`;
}

function pathWithQuery(request: ApiRequest): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return text === "" ? request.path : `${request.path}?${text}`;
}

async function readAll(response: IncomingMessage, request: ApiRequest): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (thrown) {
    if (request.signal?.aborted === true) throw new AbortedError();
    throw new UnreachableError(`${what(request)}: the answer broke off`, thrown);
  }
  return Buffer.concat(chunks).toString("utf8");
}
