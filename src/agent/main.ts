/**
 * Entry point: `main.js` runs the agent, `main.js mount` mounts the bpf file system, `main.js uninstall` takes everything
 * of the product off the node (`helm uninstall`'s hook and `cilium uninstall` run it).
 */
import { dirname } from "node:path";
import { asError, describeError } from "../lib/errors.ts";
import { createLogger } from "../lib/log.ts";
import { mountBpfFs } from "../kernel/index.ts";
import { Agent } from "./agent.ts";
import { loadConfig } from "./config.ts";
import { uninstall } from "./uninstall.ts";

async function main(command: string | undefined): Promise<void> {
  const config = loadConfig();
  const logger = createLogger({ component: "cilium-agent", level: config.logLevel });
  if (command === "uninstall") return await uninstall(config, logger);
  if (command === "mount") return await mountBpfFs(dirname(config.paths.pins));
  if (command !== undefined) throw new Error(`unknown argument ${JSON.stringify(command)}: none, mount or uninstall`);
  const abort = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      // What is in the kernel stays. Requests of the plugin that come now are kept on disk or tried again by the runtime.
      logger.info("stopping; the node's network stays as it is", { signal });
      abort.abort();
      setTimeout(() => process.exit(0), 200).unref();
      process.exitCode = 0;
    });
  }
  process.on("uncaughtException", (error) => {
    logger.error("unexpected failure, restarting", { error });
    process.exit(1);
  });
  try {
    await new Agent(config, logger, abort.signal).start();
  } catch (thrown) {
    if (abort.signal.aborted) return;
    logger.error("the agent cannot start", { error: asError(thrown) });
    process.exit(1);
  }
}

main(process.argv[2]).catch((thrown: unknown) => {
  process.stderr.write(`cilium-agent: ${describeError(thrown)}\n`);
  process.exit(1);
});
