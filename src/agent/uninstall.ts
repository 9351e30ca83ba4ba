/** Leaving a node: everything of the product goes, and the network configuration that was there before is in force again. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { removeConflist, removePlugin, restoreOthers } from "../cni/index.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";
import { tearDownNode } from "./node-network.ts";

/**
 * Idempotent, and to be run again when it was ended half way. The CNI configuration goes first, so that the runtime gives
 * us no new pod; the programs go last, so that nothing is open meanwhile. Pods that run lose their network until the next
 * plugin has made them anew. What is needed to put the node's settings back is kept until they are.
 */
export async function uninstall(config: AgentConfig, logger: Logger): Promise<void> {
  await removeConflist(config.cniConfPath);
  const restored = await restoreOthers(config.cniConfPath);
  logger.info("network configuration removed", { restored });
  await tearDownNode(config);
  await removePlugin(config.cniBinPath);
  for (const folder of [config.paths.run, config.paths.state]) await removeFolder(folder);
  logger.info("uninstalled");
}

/** Its contents alone where it is a mount point, which cannot be removed from inside. */
async function removeFolder(path: string): Promise<void> {
  const names = await readdir(path).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === "ENOENT") return [];
    throw thrown;
  });
  for (const name of names) await rm(join(path, name), { recursive: true, force: true });
  await rm(path, { recursive: true, force: true }).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code !== "EBUSY") throw thrown;
  });
}
