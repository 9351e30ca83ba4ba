/** DEL requests that the plugin kept while the agent was down. They are replayed before the socket serves. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { asError, codeOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { removeDurable } from "../lib/files.ts";
import { parseRequest } from "./protocol.ts";
import type { CniHandler } from "./server.ts";

const NAME = /^[0-9a-f]{32}$/;

/** Runs every kept DEL. One that fails stays for the next time; one that is no DEL is removed. */
export async function replayDeletes(folder: string, handler: CniHandler, logger: Logger): Promise<number> {
  let replayed = 0;
  for (const name of await listed(folder)) {
    const path = join(folder, name);
    try {
      const request = parseRequest(await readFile(path, "utf8"));
      if (request.command === "DEL") await handler.run(request);
      replayed++;
    } catch (thrown) {
      logger.error("a kept DEL failed", { name, error: asError(thrown) });
      if (codeOf(thrown) !== "CNI_4" && codeOf(thrown) !== "CNI_6") continue;
    }
    await removeDurable(path);
  }
  return replayed;
}

async function listed(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => NAME.test(name)).sort();
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}
