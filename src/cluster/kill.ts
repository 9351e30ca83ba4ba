import { setTimeout as sleep } from "node:timers/promises";

import { ClusterError } from "./errors.ts";
import { processIdentity } from "./process.ts";

const PATIENCE_MS = 20_000;

/**
 * Ends every process that `pids` names, by its id, until it names none that lives: what is killed may have just started
 * another one.
 */
export async function killAll(pids: () => Iterable<number>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const alive = [...pids()].filter((pid) => processIdentity(pid) !== undefined);
    if (alive.length === 0) return;
    if (Date.now() > deadline) throw new ClusterError(`processes ${alive.join(", ")} do not end`, "look at them with ps -o pid,stat,wchan,cmd -p, then run make cluster-down again");
    for (const pid of alive) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await sleep(50);
  }
}
