/**
 * The small HTTP server of a process: health probes and metrics, nothing that changes state. Processes that use the node's
 * network would serve every pod, so a server is on loopback unless addresses are named that may ask.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { asError } from "./errors.ts";
import { cidrContains, familyOf, parseAddress, parseCidr } from "./ip.ts";
import type { Cidr } from "./ip.ts";
import { OK } from "./lifecycle.ts";
import type { Component, Health } from "./lifecycle.ts";
import type { Logger } from "./log.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface HttpServerOptions {
  readonly name: string;
  /**
   * Who may connect beside the machine itself: it then listens on all addresses of the machine's families, and a connection
   * from elsewhere is closed before a byte of it is read. Empty: it listens on loopback alone.
   */
  readonly allowFrom: readonly Cidr[];
  readonly port: number;
  readonly logger: Logger;
  /** Path without query -> handler of GET. */
  readonly routes: ReadonlyMap<string, () => Promise<HttpAnswer> | HttpAnswer>;
}

const LOOPBACK = ["127.0.0.0/8", "::1/128"].map((text) => parseCidr(text));

export class HttpServer implements Component {
  readonly name: string;
  readonly #options: HttpServerOptions;
  #server: Server | undefined;

  constructor(options: HttpServerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** The port it listens on, which differs from the wish when that was 0. */
  get port(): number {
    return (this.#server?.address() as AddressInfo | null)?.port ?? 0;
  }

  async start(): Promise<void> {
    const { allowFrom } = this.#options;
    const server = createServer((request, response) => void this.#answer(request, response));
    server.on("connection", (socket) => {
      if (!mayConnect(socket.remoteAddress, allowFrom)) socket.destroy();
    });
    this.#server = server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ port: this.#options.port, host: allowFrom.length === 0 ? "127.0.0.1" : undefined }, resolve);
    await promise;
    server.off("error", reject);
    server.on("error", (error) => this.#options.logger.error("http server", { error }));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined || !server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeAllConnections();
    await promise;
  }

  health(): Health {
    return OK;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#handle(request);
    response.writeHead(answer.status, { "content-type": answer.contentType });
    response.end(request.method === "HEAD" ? undefined : answer.body);
  }

  async #handle(request: IncomingMessage): Promise<HttpAnswer> {
    if (request.method !== "GET" && request.method !== "HEAD") return textAnswer(405, "only GET\n");
    const handler = this.#options.routes.get((request.url ?? "").split("?", 1)[0] ?? "");
    if (handler === undefined) return textAnswer(404, "not found\n");
    try {
      return await handler();
    } catch (thrown) {
      this.#options.logger.error("http handler failed", { url: request.url, error: asError(thrown) });
      return textAnswer(500, "internal error\n");
    }
  }
}

/** Exported for tests. `remote` is undefined for a connection that has ended already. */
export function mayConnect(remote: string | undefined, allowFrom: readonly Cidr[]): boolean {
  if (remote === undefined) return false;
  const address = parseAddress(remote.split("%", 1)[0] ?? "");
  if (LOOPBACK.some((cidr) => cidrContains(cidr, address))) return true;
  // Of one family: ::/0 is no word about IPv4, whose addresses are within it when written in 16 bytes.
  return allowFrom.some((cidr) => familyOf(cidr.address) === familyOf(address) && cidrContains(cidr, address));
}

export function textAnswer(status: number, body: string): HttpAnswer {
  return { status, contentType: "text/plain; charset=utf-8", body };
}
