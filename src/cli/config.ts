/** What the command line's surroundings say; the only file of this folder that reads the environment. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface CliEnvironment {
  readonly version: string;
  /** The agent's event socket when this runs in an agent's pod. */
  readonly monitorSocket: string | undefined;
}

const MONITOR_SOCKET = "/var/run/cilium/monitor.sock";

export function cliEnvironment(env: NodeJS.ProcessEnv = process.env): CliEnvironment {
  const packageJson = join(import.meta.dirname, "..", "..", "package.json");
  const { version } = JSON.parse(readFileSync(packageJson, "utf8")) as { version: string };
  // A node's shell may see the socket too; only in a pod it is this pod's own.
  const inPod = env["KUBERNETES_SERVICE_HOST"] !== undefined;
  return { version, monitorSocket: inPod && existsSync(MONITOR_SOCKET) ? MONITOR_SOCKET : undefined };
}
