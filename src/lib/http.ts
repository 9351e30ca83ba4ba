/** The small HTTP server of a process: health probes and metrics, nothing that changes state. */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { asError } from "./errors.ts";
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
  /** Absent: all addresses of both families, or IPv4 alone where the machine has no IPv6. */
  readonly host?: string;
  readonly port: number;
  readonly logger: Logger;
  /** Path without query -> handler of GET. */
  readonly routes: ReadonlyMap<string, () => Promise<HttpAnswer> | HttpAnswer>;
}

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
    const server = createServer((request, response) => void this.#answer(request, response));
    this.#server = server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ port: this.#options.port, host: this.#options.host }, resolve);
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

export function textAnswer(status: number, body: string): HttpAnswer {
  return { status, contentType: "text/plain; charset=utf-8", body };
}
