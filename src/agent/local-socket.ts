/** A socket for this node's root alone. */
import { chmod, mkdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname } from "node:path";

/** Listens at `path`, where a former process may have left its own. */
export async function listenLocally(path: string, accept: (socket: Socket) => void): Promise<Server> {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  const server = createServer(accept);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  // The mask covers the moment between bind and chmod.
  const mask = process.umask(0o177);
  server.listen(path, resolve);
  process.umask(mask);
  await promise;
  await chmod(path, 0o600);
  server.off("error", reject);
  return server;
}
