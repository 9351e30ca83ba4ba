/** The arguments of `cilium`, those of tables and of policies apart (inspect-commands.ts, policy-commands.ts): each command hands over to the file that does it. */
import { hostname } from "node:os";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { describeError } from "../lib/errors.ts";
import type { Range } from "../preflight/index.ts";
import type { Cluster, ClusterOptions } from "./cluster.ts";
import type { Shell } from "./completion.ts";
import { cliEnvironment, type CliEnvironment } from "./config.ts";
import { milliseconds } from "./duration.ts";
import { CliError } from "./errors.ts";
import { addBpf, addEncryption, addPolicyTables, refuseClusterOptions, type Surroundings } from "./inspect-commands.ts";
import { addMissingCommands } from "./missing.ts";
import { addRouting } from "./routing-commands.ts";
import { addPolicyQuestions } from "./policy-commands.ts";
import type { NodeReport } from "./preflight.ts";
import type { PreflightFormat } from "./preflight-text.ts";

/** Commands load what they need: an agent's pod starts `cilium monitor` in a fraction of a second. */
async function withCluster<T>(command: Command, work: (cluster: Cluster) => Promise<T>): Promise<T> {
  const { openCluster } = await import("./cluster.ts");
  const cluster = openCluster(command.optsWithGlobals<ClusterOptions>());
  try {
    return await work(cluster);
  } finally {
    cluster.close();
  }
}

function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

function addStatus(program: Command): void {
  program
    .command("status")
    .description("Agents, operator, managed and unmanaged pods, and what each node has applied; fails when something is wrong")
    .option("--wait", "wait until nothing is wrong")
    .option("--wait-duration <duration>", "give up after this time, such as 90s or 5m", milliseconds, milliseconds("5m"))
    .addOption(outputOption())
    .action(async (options: { wait?: true; waitDuration: number; output: string }, command: Command) =>
      withCluster(command, async (cluster) => {
        const { gatherStatus, statusOf, waitForStatus } = await import("./status.ts");
        const { statusText } = await import("./status-text.ts");
        const status = options.wait
          ? await waitForStatus(cluster, options.waitDuration, () => undefined)
          : statusOf(await gatherStatus(cluster), cluster.namespace);
        print(options.output === "json" ? JSON.stringify(status, null, 2) : statusText(status));
        if (status.problems.length > 0) process.exitCode = 1;
      }),
    );
}

interface MonitorOptions {
  readonly node: string[];
  readonly type: string[];
  readonly verdict: string[];
  readonly inNamespace?: string;
  readonly pod?: string;
  readonly socket?: string;
  readonly untilStdinEnds?: true;
  readonly output: string;
}

function addMonitor(program: Command, environment: CliEnvironment): void {
  program
    .command("monitor")
    .description("Drops and policy verdicts of all nodes as they happen, with the name of the policy")
    .option("--node <name>", "only this node (may be given more than once)", append, [])
    .addOption(new Option("--type <type>", "only events of this type (may be given more than once)").choices(["drop", "policy-verdict"]).argParser(eventType).default([]))
    .addOption(new Option("--verdict <verdict>", "only events of this verdict (may be given more than once); AUDIT: passed, and a policy that only watches would have dropped it").choices(["ALLOW", "DENY", "AUDIT"]).argParser(verdict).default([]))
    .option("--in-namespace <name>", "only packets from or to pods of this namespace")
    .option("--pod <name>", "only packets from or to this pod (name or namespace/name)")
    .option("--socket <path>", "read an agent's socket instead of asking the cluster", environment.monitorSocket)
    .addOption(new Option("--until-stdin-ends", "end with standard input").hideHelp())
    .addOption(outputOption())
    .action(async (options: MonitorOptions, command: Command) => {
      const { monitorCluster, monitorSocket } = await import("./monitor.ts");
      const stop = stopSignal(options.untilStdinEnds === true);
      const filter = { types: new Set(options.type), verdicts: new Set(options.verdict.map((each) => each.toLowerCase())), namespace: options.inNamespace, pod: options.pod };
      const output = { json: options.output === "json", write: print, warn };
      if (options.socket === undefined) return withCluster(command, async (cluster) => monitorCluster(cluster, options.node, filter, output, stop));
      refuseClusterOptions(command, options.socket);
      return monitorSocket(options.socket, filter, output, stop);
    });
}

/** Fires on Ctrl-C, on SIGTERM, when the reader of our output is gone, and, where asked for, when standard input ends. */
function stopSignal(withStdin: boolean): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  process.stdout.on("error", () => stop.abort());
  if (withStdin) process.stdin.on("end", () => stop.abort()).resume();
  return stop.signal;
}

function addPolicy(program: Command, surroundings: Surroundings): void {
  const policy = program.command("policy").description("Network policies");
  addPolicyTables(policy, surroundings);
  addPolicyQuestions(policy, surroundings);
}

function addUninstall(program: Command): void {
  program
    .command("uninstall")
    .description("Take everything of the product off all nodes, or off one; pods that run there lose their network. CRDs and policies stay")
    .option("--node <name>", "only this node, where no agent may run any more")
    .option("--wait-duration <duration>", "give up after this time", milliseconds, milliseconds("2m"))
    .action(async (options: { node?: string; waitDuration: number }, command: Command) =>
      withCluster(command, async (cluster) => {
        const { uninstall } = await import("./uninstall.ts");
        print(`${await uninstall(cluster, { node: options.node, timeoutMs: options.waitDuration })} nodes are done`);
      }),
    );
}

function addAwaitUninstall(program: Command): void {
  program
    .command("await-uninstall", { hidden: true })
    .description("Wait until helm uninstall's hook has done its work on every node")
    .option("--wait-duration <duration>", "give up after this time", milliseconds, milliseconds("2m"))
    .action(async (options: { waitDuration: number }, command: Command) =>
      withCluster(command, async (cluster) => {
        const { awaitUninstall } = await import("./await-uninstall.ts");
        print(`${await awaitUninstall(cluster, options.waitDuration)} nodes are done`);
      }),
    );
}

function addEndpoint(program: Command): void {
  const endpoint = program.command("endpoint").description("The pods that agents manage");
  endpoint
    .command("list")
    .description("Identity, state, addresses and labels of every managed pod")
    .option("--node <name>", "only pods of this node")
    .addOption(outputOption())
    .action(async (options: { node?: string; output: string }, command: Command) =>
      withCluster(command, async (cluster) => {
        const { endpointsText, listEndpoints } = await import("./endpoints.ts");
        const endpoints = await listEndpoints(cluster, options.node);
        print(options.output === "json" ? JSON.stringify(endpoints, null, 2) : endpointsText(endpoints));
      }),
    );
}

function addVersion(program: Command, environment: CliEnvironment): void {
  program
    .command("version")
    .description("Version of this command, and of agents and operators in the cluster")
    .option("--client", "only this command's own version")
    .action(async (options: { client?: true }, command: Command) => {
      print(`cilium ${environment.version}`);
      if (options.client) return;
      await withCluster(command, async (cluster) => {
        const { gatherStatus, statusOf } = await import("./status.ts");
        const { images } = statusOf(await gatherStatus(cluster), cluster.namespace);
        print(`cluster images: ${images.join(", ") || "none; the chart is not installed"}`);
      });
    });
}

interface PreflightOptions {
  readonly offline?: true;
  readonly node: string[];
  readonly image?: string;
  readonly waitDuration: number;
  readonly setting: string[];
  readonly podCidr: string[];
  readonly serviceCidr: string[];
  readonly nodeAddress: string[];
  readonly rangesFromStdin?: true;
  readonly output: PreflightFormat;
}

/** Exit status 0: no blocker; 1: a blocker; 2: called wrongly, or it could not be done. */
function addPreflight(program: Command, environment: CliEnvironment): void {
  program
    .command("preflight")
    .description("What works on each node's kernel, what is in the way there, and what to do; without a cluster, or with --offline, on this machine (as root)")
    .option("--offline", "this machine, whatever cluster there is")
    .option("--node <name>", "only this node of the cluster (may be given more than once)", append, [])
    .option("--image <image>", "before an installation: ask by pods of the chart's image, which are taken away again")
    .option("--wait-duration <duration>", "with --image: ask those pods that run after this time", milliseconds, milliseconds("2m"))
    .option("--setting <key=value>", "with --offline or --image: a setting of the installation, such as routing-mode=native or cni-exclusive=false", append, [])
    .option("--pod-cidr <cidr>", "with --offline: a range of pods' addresses", append, [])
    .option("--service-cidr <cidr>", "with --offline: a range of services' addresses", append, [])
    .option("--node-address <address>", "with --offline: an address of a node", append, [])
    .addOption(new Option("--ranges-from-stdin").hideHelp())
    .addOption(new Option("-o, --output <format>", "table, json or yaml").choices(["table", "json", "yaml"]).default("table"))
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .action(async (options: PreflightOptions, command: Command) => {
      try {
        const { preflightText, hasBlocker } = await import("./preflight-text.ts");
        const reports = await preflight(options, command, environment);
        print(preflightText(reports, options.output));
        if (hasBlocker(reports)) process.exitCode = 1;
      } catch (error) {
        warn(`cilium: ${describeError(error)}`);
        process.exitCode = 2;
      }
    });
}

async function preflight(options: PreflightOptions, command: Command, environment: CliEnvironment): Promise<readonly NodeReport[]> {
  const { preflightCluster, preflightHere, readRanges } = await import("./preflight.ts");
  const { hasCluster } = await import("./cluster.ts");
  const isHere = options.offline === true || !hasCluster(command.optsWithGlobals<ClusterOptions>());
  const refused = (isHere ? ["node", "image"] : ["podCidr", "serviceCidr", "nodeAddress"]).find((name) => command.getOptionValueSource(name) === "cli");
  if (refused !== undefined) {
    const name = `--${refused.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new CliError(isHere ? `${name} asks a cluster, and this machine is asked alone` : `${name} is for --offline: the cluster says it itself`);
  }
  if (!isHere) return await withCluster(command, (cluster) => preflightCluster(cluster, { nodes: options.node, image: options.image, settings: options.setting, timeoutMs: options.waitDuration }));
  const given = (kind: "pods" | "services" | "node", cidrs: readonly string[]): Range[] => cidrs.map((cidr) => ({ of: kind, kind, cidr }));
  const ranges = options.rangesFromStdin === true ? await readRanges(process.stdin) : [...given("pods", options.podCidr), ...given("services", options.serviceCidr), ...given("node", options.nodeAddress)];
  const findings = await preflightHere({ settingsFolder: environment.settings, settings: options.setting, ranges, bpfObjects: environment.bpfObjects });
  return [{ node: hostname(), findings }];
}

function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("What a shell needs to complete this command: source <(cilium completion bash)")
    .addArgument(new Argument("<shell>", "whose language it is").choices(["bash", "zsh", "fish"]))
    .action(async (shell: Shell) => {
      const { commandTree, completionScript } = await import("./completion.ts");
      print(completionScript(shell, commandTree(program)));
    });
}

function outputOption(): Option {
  return new Option("-o, --output <format>", "text or json").choices(["text", "json"]).default("text");
}

function append(value: string, values: readonly string[]): string[] {
  return [...values, value];
}

function eventType(value: string, values: readonly string[]): string[] {
  if (value !== "drop" && value !== "policy-verdict") throw new InvalidArgumentError("drop or policy-verdict");
  return [...values, value];
}

function verdict(value: string, values: readonly string[]): string[] {
  const name = value.toUpperCase();
  if (!["ALLOW", "DENY", "AUDIT"].includes(name)) throw new InvalidArgumentError("ALLOW, DENY or AUDIT");
  return [...values, name];
}

function warn(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Who reads our output and has read enough, such as head(1), is no error of ours. */
function outputEnded(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit();
}

async function main(): Promise<void> {
  process.stdout.on("error", outputEnded);
  const environment = cliEnvironment();
  const program = new Command("cilium")
    .description("Networking and network policy of this cluster")
    .option("--kubeconfig <file>", "kubeconfig file (else KUBECONFIG, else ~/.kube/config)")
    .option("--context <name>", "context of the kubeconfig")
    .option("-n, --namespace <name>", "namespace of the installation", "kube-system");
  const surroundings = { environment, withCluster, print, warn };
  addStatus(program);
  addMonitor(program, environment);
  addPolicy(program, surroundings);
  addBpf(program, surroundings);
  addEncryption(program, surroundings);
  addRouting(program, surroundings);
  addEndpoint(program);
  addVersion(program, environment);
  addUninstall(program);
  addAwaitUninstall(program);
  addPreflight(program, environment);
  addCompletion(program);
  addMissingCommands(program);
  await program.parseAsync();
}

try {
  await main();
} catch (error) {
  warn(`cilium: ${describeError(error)}`);
  process.exitCode = 1;
}
