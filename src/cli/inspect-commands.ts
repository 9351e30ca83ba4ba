/** The arguments of `cilium bpf …`, and of what `cilium policy …` shows of nodes. */
import { Option, type Command } from "commander";
import { MAP_TABLES, OVERVIEW, TABLES, sumStats } from "../inspect/index.ts";
import type { Row, StatsRow, Table } from "../inspect/index.ts";
import type { Cluster } from "./cluster.ts";
import type { CliEnvironment } from "./config.ts";
import { CliError } from "./errors.ts";
import type { Format, Reading } from "./inspect.ts";

/** What the commands are given of the one that they belong to. */
export interface Surroundings {
  readonly environment: CliEnvironment;
  readonly withCluster: <T>(command: Command, work: (cluster: Cluster) => Promise<T>) => Promise<T>;
  readonly print: (text: string) => void;
  readonly warn: (line: string) => void;
}

interface ShowOptions {
  readonly node: string[];
  readonly socket?: string;
  readonly output: Format;
  readonly inNamespace?: string;
  readonly pod?: string;
}

type Read = (table: string) => Promise<Reading>;

interface Shown extends Reading {
  /** Each row is of one node. */
  readonly ofNodes: boolean;
}

/** Reads what it needs and chooses what is shown. */
type Gather = (read: Read, options: ShowOptions) => Promise<Shown>;

/** `cilium bpf` alone lists the maps. */
export function addBpf(program: Command, surroundings: Surroundings): void {
  const bpf = program.command("bpf").description("The kernel maps of the nodes, in words; alone: every map and how full it is");
  // A command of its own: options of `bpf` itself would be taken from those of the tables.
  show(bpf.command(OVERVIEW.name, { isDefault: true }).description(OVERVIEW.about), OVERVIEW, surroundings, plainly(OVERVIEW));
  for (const table of MAP_TABLES) {
    const group = bpf.command(table.name).description(table.about);
    show(group.command("list").description(table.about), table, surroundings, plainly(table));
  }
  bpf.command("nat", { hidden: true }).argument("[args...]").allowUnknownOption().action(() => {
    throw new CliError("cilium bpf nat: there is no such map: nftables translates addresses (on a node: nft list table inet cilium)");
  });
  addInspect(program, surroundings);
}

/** What of policies is loaded on nodes, and how often it decided. */
export function addPolicyTables(policy: Command, surroundings: Surroundings): void {
  const add = (command: string, table: Table, gather: Gather): Command => show(policy.command(command).description(table.about), table, surroundings, gather);
  const stats = tableNamed("policy-stats");
  add("stats", stats, async (read, options) => {
    const { rows, failures } = await read(stats.name);
    const wanted = (rows as unknown as readonly (StatsRow & { readonly node?: string })[]).filter((row) => isOf(row, options.inNamespace));
    // One rule stands on many nodes: it is one row, unless the nodes are asked for by name.
    if (options.node.length > 0) return { rows: wanted as unknown as readonly Row[], failures, ofNodes: true };
    return { rows: sumStats(wanted.map((row) => ({ ...row, node: undefined }))) as unknown as readonly Row[], failures, ofNodes: false };
  }).option("--in-namespace <name>", "only policies of this namespace");
  const endpoints = tableNamed("policy-endpoints");
  add("endpoints", endpoints, async (read, { pod, inNamespace }) => {
    const { rows, failures } = await read(endpoints.name);
    return { rows: rows.filter((row) => isPod(row, pod) && (inNamespace === undefined || String(row["pod"]).startsWith(`${inNamespace}/`))), failures, ofNodes: true };
  }).option("--in-namespace <name>", "only pods of this namespace").option("--pod <name>", "only this pod (namespace/name)");
  const selectors = tableNamed("policy-selectors");
  add("selectors", selectors, async (read, { inNamespace }) => {
    const { rows, failures } = await read(selectors.name);
    return { rows: rows.filter((row) => isOf(row as unknown as Pick<StatsRow, "policies">, inNamespace)), failures, ofNodes: true };
  }).option("--in-namespace <name>", "only those that policies of this namespace use");
  add("map", tableNamed("policy"), policyMap).option("--pod <name>", "only the rules of this pod (namespace/name)");
}

/** Who encrypts on each node, and with whom it speaks. */
export function addEncryption(program: Command, surroundings: Surroundings): void {
  const encryption = program.command("encryption").description("Encryption between nodes");
  for (const command of ["status", "peers"]) addTable(encryption, command, `encryption-${command}`, surroundings);
  encryption.command("rotate").description("Let all nodes replace the keys that they have by now; no packet is lost").action(async (_options: object, command: Command) => {
    const { rotateKeys } = await import("./rotate-keys.ts");
    const at = await surroundings.withCluster(command, (cluster) => rotateKeys(cluster, new Date()));
    surroundings.print(`every key that was made before ${at} is being replaced: \`cilium encryption status\` shows how far it is`);
  });
}

/** A command that shows one table as it is. */
export function addTable(group: Command, command: string, name: string, surroundings: Surroundings): void {
  const table = tableNamed(name);
  show(group.command(command).description(table.about), table, surroundings, plainly(table));
}

/** The entries of all rule sets, or of the one that a pod obeys, on the node that it runs on. */
const policyMap: Gather = async (read, { pod }) => {
  const entries = await read("policy");
  if (pod === undefined) return { ...entries, ofNodes: true };
  const endpoints = await read("policy-endpoints");
  const found = endpoints.rows.find((row) => isPod(row, pod));
  const failures = [...entries.failures, ...endpoints.failures];
  if (found === undefined) throw new CliError(`--pod ${pod}: no agent has a pod of this name${failures.length === 0 ? "" : `, of those that answered: ${failures.join("; ")}`}`);
  return { rows: entries.rows.filter((row) => row["node"] === found["node"] && row["ruleSet"] === found["ruleSet"]), failures, ofNodes: true };
};

const plainly = (table: Table): Gather => async (read) => ({ ...(await read(table.name)), ofNodes: true });

const isPod = (row: Row, pod: string | undefined): boolean => pod === undefined || row["pod"] === pod;

function isOf({ policies }: Pick<StatsRow, "policies">, namespace: string | undefined): boolean {
  return namespace === undefined || policies.some((policy) => policy.namespace === namespace);
}

function tableNamed(name: string): Table {
  const table = TABLES.get(name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}

/** In an agent's pod the own agent is asked, else those of the cluster. */
function show(command: Command, table: Table, { environment, withCluster, print, warn }: Surroundings, gather: Gather): Command {
  return command
    .option("--node <name>", "only this node (may be given more than once)", (value: string, values: readonly string[]) => [...values, value], [])
    .option("--socket <path>", "ask the agent at this socket instead of the cluster's", environment.inspectSocket)
    .addOption(new Option("-o, --output <format>", "table, json or yaml; counters are text there, as they may be greater than numbers of JSON").choices(["table", "json", "yaml"]).default("table"))
    .action(async (options: ShowOptions) => {
      const { readCluster, readSocket, renderRows } = await import("./inspect.ts");
      const { socket } = options;
      if (socket !== undefined) refuseClusterOptions(command, socket);
      const run = (read: Read): Promise<Shown> => gather(read, options);
      const shown = socket === undefined
        ? await withCluster(command, (cluster) => run((name) => readCluster(cluster, options.node, name)))
        : await run((name) => readSocket(socket, name));
      if (shown.rows.length > 0 || shown.failures.length === 0) print(renderRows(shown.rows, table, options.output, shown.ofNodes && socket === undefined));
      for (const failure of shown.failures) warn(`cilium: ${failure}`);
      if (shown.failures.length > 0) process.exitCode = 1;
    });
}

export function refuseClusterOptions(command: Command, socket: string): void {
  const given = ["node", "context", "kubeconfig", "namespace"].find((name) => command.getOptionValueSourceWithGlobals(name) === "cli");
  if (given !== undefined) throw new CliError(`--${given} asks the cluster, but the socket ${socket} has what its own agent knows alone: give one of the two`);
}

/** What the commands above run in the agents' pods. */
function addInspect(program: Command, { environment }: Surroundings): void {
  program
    .command("inspect", { hidden: true })
    .description("Rows of one table of this pod's agent, as the agent sends them")
    .argument("<table>")
    .option("--socket <path>", "the agent's socket", environment.inspectSocket)
    .action(async (table: string, { socket }: { socket?: string }) => {
      if (socket === undefined) throw new CliError("no agent runs here: this works in an agent's pod");
      const { passOn } = await import("./inspect.ts");
      await passOn(socket, table, process.stdout);
    });
}
