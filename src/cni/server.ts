/** The agent's socket for the plugin: one line of JSON in, `<exit code> <length>\n<text>` out, then the end. */
import { chmod, mkdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname } from "node:path";
import { asError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { CniError, CniErrorCode } from "./errors.ts";
import { formatError, formatResult, parseRequest, versionOf } from "./protocol.ts";
import type { CniRequest, CniResult } from "./protocol.ts";

const MAX_REQUEST_BYTES = 8 << 20; // 1 MiB of configuration, each byte escaped to six, and the rest
const REQUEST_TIMEOUT_MS = 10_000;

export interface CniHandler {
  run(request: CniRequest): Promise<CniResult | undefined>;
}

export interface CniServerOptions {
  readonly path: string;
  readonly handler: CniHandler;
  readonly logger: Logger;
}

export class CniServer {
  readonly #options: CniServerOptions;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(options: CniServerOptions) {
    this.#options = options;
  }

  async listen(): Promise<void> {
    const { path, logger } = this.#options;
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server = server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    // The mask covers the moment between bind and chmod.
    const mask = process.umask(0o177);
    server.listen({ path, backlog: 1024 }, resolve);
    process.umask(mask);
    await promise;
    await chmod(path, 0o600);
    server.off("error", reject);
    server.on("error", (error) => logger.error("cni socket", { error }));
  }

  /** New requests are refused at once, so that the plugin queues or reports them; open ones are cut. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    for (const socket of this.#sockets) socket.destroy();
    await promise;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    const chunks: Buffer[] = [];
    let length = 0;
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_REQUEST_BYTES) socket.destroy();
      if (chunk.at(-1) !== 0x0a) return;
      socket.off("data", onData);
      socket.setTimeout(0);
      void this.#answer(Buffer.concat(chunks, length).toString("utf8"), socket);
    };
    socket.on("data", onData);
  }

  async #answer(line: string, socket: Socket): Promise<void> {
    const { exitCode, text } = await this.#respond(line);
    const body = Buffer.from(text);
    socket.end(Buffer.concat([Buffer.from(`${exitCode} ${body.length}\n`), body]));
  }

  async #respond(line: string): Promise<{ readonly exitCode: number; readonly text: string }> {
    const { handler, logger } = this.#options;
    try {
      const request = parseRequest(line);
      logger.debug("cni request", { command: request.command, containerId: request.containerId, pod: request.pod });
      const result = await handler.run(request);
      return { exitCode: 0, text: result === undefined ? "" : formatResult(result, request.cniVersion) };
    } catch (thrown) {
      const error = thrown instanceof CniError ? thrown : new CniError(CniErrorCode.internal, asError(thrown).message, "", thrown);
      logger.warn("cni request failed", { code: error.cniCode, error });
      return { exitCode: 1, text: formatError(error, versionOf(line)) };
    }
  }
}
