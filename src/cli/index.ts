/**
 * The `cilium` command: what a person asks a cluster, from outside with a kubeconfig or inside an agent's pod.
 *
 * It reads; it changes nothing in the cluster. Each command is a file that gathers facts and a pure function
 * that prints them. Only `config.ts` reads the environment, only `main.ts` and
 * `inspect-commands.ts` know the arguments.
 */
export { statusOf } from "./status.ts";
