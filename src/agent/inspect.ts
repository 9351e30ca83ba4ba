/**
 * `inspect.sock`: the tables of this node. A reader sends the name of a table as one line, and is sent the rows as one
 * line of JSON each, `{"row":…}`, and at last `{"end":<how many>}`, or `{"error":"…"}`: without it the table is not whole.
 */
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { createInterface } from "node:readline";
import { TABLES } from "../inspect/index.ts";
import type { Source } from "../inspect/index.ts";
import { asError, describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { listenLocally } from "./local-socket.ts";

export interface InspectServerOptions {
  readonly path: string;
  readonly source: () => Promise<Source>;
  readonly logger: Logger;
}

export class InspectServer {
  readonly #options: InspectServerOptions;

  constructor(options: InspectServerOptions) {
    this.#options = options;
  }

  async listen(): Promise<Server> {
    return await listenLocally(this.#options.path, (socket) => {
      socket.on("error", () => socket.destroy());
      this.#serve(socket).catch((thrown: unknown) => {
        this.#options.logger.debug("a reader of a table went away", { error: asError(thrown) });
        socket.destroy();
      });
    });
  }

  async #serve(socket: Socket): Promise<void> {
    for await (const name of createInterface({ input: socket })) {
      try {
        await this.#answer(socket, name);
      } catch (thrown) {
        this.#options.logger.warn("a table could not be read", { table: name.slice(0, 100), error: asError(thrown) });
        socket.write(line({ error: describeError(thrown) }));
      }
      break;
    }
    // Nothing more is read, so that the reader's own end would not be seen: it is not waited for.
    socket.destroySoon();
  }

  /** A reader is never sent more than it takes: the map is read on when it has. */
  async #answer(socket: Socket, name: string): Promise<void> {
    const table = TABLES.get(name);
    if (table === undefined) throw new Error(`this agent has no table ${JSON.stringify(name.slice(0, 100))}`);
    let count = 0;
    for await (const rows of table.rows(await this.#options.source())) {
      if (socket.destroyed) return;
      count += rows.length;
      if (rows.length > 0 && !socket.write(rows.map((row) => line({ row })).join(""))) await taken(socket);
    }
    socket.write(line({ end: count }));
  }
}

/** Resolves when the reader has taken what was written, or is gone. */
async function taken(socket: Socket): Promise<void> {
  const settled = new AbortController();
  const { signal } = settled;
  await Promise.race([once(socket, "drain", { signal }), once(socket, "close", { signal })]).finally(() => settled.abort());
}

const line = (value: object): string => `${JSON.stringify(value)}\n`;
