import { Command } from "commander";

import { enterCommandGroup, machineCgroups } from "./cgroup.ts";
import { clusterConfig } from "./config.ts";
import { down } from "./down.ts";
import { ClusterError, CommandError } from "./errors.ts";
import { nodeShell } from "./exec.ts";
import { requireRoot } from "./preflight.ts";
import { findPrograms } from "./programs.ts";
import { Progress } from "./progress.ts";
import { runningConfig } from "./settings.ts";
import { haltNode, load, startNode, up } from "./up.ts";

async function main(argv: readonly string[]): Promise<void> {
  const wanted = clusterConfig();
  const config = runningConfig(wanted);
  const progress = new Progress((text) => process.stdout.write(text));
  const program = new Command("cluster").description("A local Kubernetes cluster of real nodes, in network namespaces of this machine");
  const traceable = async (work: () => Promise<void>): Promise<void> => {
    const leave = enterCommandGroup(machineCgroups(), config.name);
    try {
      await work();
    } finally {
      leave();
    }
  };
  program.command("up").description("make the cluster, or repair it").action(() => traceable(() => up(wanted, progress)));
  program.command("programs").description("find, download or build the programs of a cluster").action(async () => void (await progress.step("programs", () => findPrograms(wanted, progress))));
  program.command("down").description("remove everything that up made").action(() => down(config, progress));
  program.command("load <archive>").description("import an OCI archive into every node").action((archive: string) => traceable(() => load(config, archive, progress)));
  program.command("node-stop <node>").description("cut a node's power").action((node: string) => haltNode(config, node, progress));
  program.command("node-start <node>").description("start a stopped node again").action((node: string) => traceable(() => startNode(config, node, progress)));
  program.command("exec <node> <command...>").description("run a command inside a node: exec node-1 -- ip route").action(async (node: string, command: string[]) => {
    process.exitCode = await nodeShell(config, node, command);
  });
  program.hook("preAction", (_program, command) => requireRoot(command.name() === "programs" || process.getuid?.() === 0));
  await program.parseAsync([...argv]);
}

/** One line of cause and remedy for what is known; the stack for what is not. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof ClusterError) return error.message;
  if (/ENOSPC|no space left on device/.test(error.message)) return "disk full: free space, then run the same command again";
  return error instanceof CommandError ? error.message : (error.stack ?? error.message);
}

try {
  await main(process.argv);
} catch (error) {
  process.stderr.write(`cluster: ${describe(error)}\n`);
  process.exitCode = 1;
}
