/** The arguments of `cilium routing …` and `cilium node …`. */
import { Option, type Command } from "commander";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { addTable, type Surroundings } from "./inspect-commands.ts";
import type { Format } from "./inspect.ts";
import type { Answer } from "./routing.ts";

interface Options {
  readonly node: string[];
  readonly output: Format;
}

/** How nodes route, and whether they reach each other. */
export function addRouting(program: Command, surroundings: Surroundings): void {
  const routing = program.command("routing").description("Routing between nodes");
  fromCluster(routing.command("status").description("What each CiliumRouting says and whether it is so, how each node routes, and which others answer it, how fast"), surroundings, async (cluster, { node, output }) => {
    const { readRouting, routingText } = await import("./routing.ts");
    return shown(await readRouting(cluster, node), (found) => routingText(found, output));
  });
  addTable(routing, "peers", "routing-peers", surroundings);
  const node = program.command("node").description("The nodes of the cluster");
  fromCluster(node.command("list").description("Addresses, pod CIDRs, routing and encryption of each node, which others it reaches, and who does not reach it"), surroundings, async (cluster, options) => {
    const { nodesText, readNodes } = await import("./routing.ts");
    return shown(await readNodes(cluster, options.node), (found) => nodesText(found, options.output));
  });
}

interface Shown {
  readonly text: string;
  readonly failures: readonly string[];
}

function shown<T>({ found, failures }: Answer<T>, text: (found: T) => string): Shown {
  return { text: text(found), failures };
}

function fromCluster(command: Command, { environment, withCluster, print, warn }: Surroundings, work: (cluster: Cluster, options: Options) => Promise<Shown>): void {
  command
    .option("--node <name>", "only this node (may be given more than once)", (value: string, values: readonly string[]) => [...values, value], [])
    .addOption(new Option("-o, --output <format>", "table, json or yaml").choices(["table", "json", "yaml"]).default("table"))
    .action(async (options: Options) => {
      // An agent's pod may not ask the agents of others.
      if (environment.inspectSocket !== undefined) throw new CliError("this asks the agents of all nodes, which an agent's pod may not: what its own agent sees is told by `cilium routing peers`");
      const { text, failures } = await withCluster(command, (cluster) => work(cluster, options));
      print(text);
      for (const failure of failures) warn(`cilium: ${failure}`);
      if (failures.length > 0) process.exitCode = 1;
    });
}
