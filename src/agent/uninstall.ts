/** Leaving a node, in two depths. Each step may be repeated. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { removeConflist, removePlugin, restoreOthers } from "../cni/index.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";
import { tearDownNode } from "./node-network.ts";

/** No new pod comes here, another CNI's files are back; pods that run keep their network and their policies. */
export async function release(config: AgentConfig, logger: Logger): Promise<void> {
  await removeConflist(config.cniConfPath);
  const restored = await restoreOthers(config.cniConfPath);
  logger.info("network configuration removed", { restored });
}

/** Takes the product off the node; the programs go last. Pods that run lose their network. */
export async function uninstall(config: AgentConfig, logger: Logger): Promise<void> {
  await release(config, logger);
  await tearDownNode(config);
  await removePlugin(config.cniBinPath);
  for (const file of ["cni.sock", "monitor.sock"]) await rm(join(config.paths.run, file), { force: true });
  await rm(config.paths.state, { recursive: true, force: true }).catch(() => emptyFolder(config.paths.state));
  logger.info("uninstalled");
}

/** A mount point cannot be removed itself. */
async function emptyFolder(path: string): Promise<void> {
  for (const name of ["endpoints", "cni-del", "tables", "node-state.json", "ipam.json", "apiserver"]) await rm(join(path, name), { recursive: true, force: true });
}
