/** What the command line's surroundings say; the only file of this folder that reads the environment. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface CliEnvironment {
  readonly version: string;
  /** The agent's event socket when this runs in an agent's pod. */
  readonly monitorSocket: string | undefined;
  /** Likewise that of its tables. */
  readonly inspectSocket: string | undefined;
  /** The settings of the installation when this runs in an agent's pod. */
  readonly settings: string | undefined;
  /** Folder of the BPF objects. */
  readonly bpfObjects: string;
}

const SETTINGS = "/etc/cilium/config";
const INSPECT_SOCKET = "/var/run/cilium/inspect.sock";
const MONITOR_SOCKET = "/var/run/cilium/monitor.sock";

export function cliEnvironment(env: NodeJS.ProcessEnv = process.env): CliEnvironment {
  const root = join(import.meta.dirname, "..", "..");
  const packageJson = join(root, "package.json");
  // In a checkout they are what `make bpf` has built, in the image they are beside the command.
  const built = join(root, "build", "bpf");
  const { version } = JSON.parse(readFileSync(packageJson, "utf8")) as { version: string };
  // A node's shell may see the socket too; only in a pod it is this pod's own.
  const inPod = env["KUBERNETES_SERVICE_HOST"] !== undefined;
  const here = (path: string): string | undefined => (inPod && existsSync(path) ? path : undefined);
  return { version, monitorSocket: here(MONITOR_SOCKET), inspectSocket: here(INSPECT_SOCKET), settings: here(SETTINGS), bpfObjects: existsSync(built) ? built : join(root, "bpf") };
}
