/** The arguments of `cilium policy validate|explain|simulate`. Exit status 2: called wrongly, or it could not be done. */
import { dump } from "js-yaml";
import { Option, type Command } from "commander";
import { describeError } from "../lib/errors.ts";
import type { ClusterOptions } from "./cluster.ts";
import { CliError } from "./errors.ts";
import type { Ground } from "./explain.ts";
import type { Flows } from "./flows.ts";
import { milliseconds } from "./duration.ts";
import type { Surroundings } from "./inspect-commands.ts";

type Format = "table" | "json" | "yaml";

interface GroundOptions {
  readonly files: string[];
  readonly policyCidrMatchMode: string;
  readonly output: Format;
}

interface SimulateArguments extends GroundOptions {
  readonly filename: string[];
  readonly delete: string[];
  readonly flows?: string;
  readonly live?: true;
  /** Milliseconds. */
  readonly for: number;
}

const LIVE_FOR = "10s";

export function addPolicyQuestions(policy: Command, surroundings: Surroundings): void {
  addValidate(policy, surroundings);
  addExplain(policy, surroundings);
  addSimulate(policy, surroundings);
}

function addValidate(policy: Command, surroundings: Surroundings): void {
  policy
    .command("validate")
    .description("Check policies as the operator would, before they are applied. Exit status 0: all are valid, 1: one is not, or there is none, 2: not done")
    .argument("<file...>", "YAML or JSON, folders of such, or - for standard input; pods and workloads among them tell what policies select")
    .option("--strict", "a warning counts as a mistake")
    .addOption(outputOption())
    .exitOverride(exitAsNotDone)
    .action(async (files: string[], { strict, output }: { strict?: true; output: Format }) =>
      orNotDone(surroundings, async () => {
        const { findingsText, validateManifests, validationStatus } = await import("./policy.ts");
        const { readManifests } = await import("./manifests.ts");
        const findings = validateManifests(await readManifests(files));
        surroundings.print(rendered(findings, output, () => findingsText(findings)));
        return validationStatus(findings, strict === true);
      }),
    );
}

function addExplain(policy: Command, surroundings: Surroundings): void {
  withGround(policy.command("explain"))
    .description("May this one send that to those, and which rule says so; by the cluster's objects, or by files alone. Exit status 0: allowed, 1: denied, 2: no answer")
    .requiredOption("--from <sender>", "namespace/name of a pod or workload, node/name, or an address")
    .requiredOption("--to <receiver>", "the same, or a service's namespace/name or address")
    .requiredOption("--port <port/protocol>", "such as 8080/TCP, 53/UDP, EchoRequest/ICMP")
    .action(async (options: GroundOptions & { from: string; to: string; port: string }, command: Command) =>
      orNotDone(surroundings, async () => {
        const { explainGround } = await import("./explain.ts");
        const { answerText } = await import("../explain/index.ts");
        const explanation = explainGround(await groundOf(options, command, surroundings), options.from, options.to, options.port);
        const { answers, notes } = explanation;
        surroundings.print(rendered(explanation, options.output, () => [...answers.map(answerText), ...notes.map((note) => `note: ${note}\n`)].join("")));
        return answers.every(({ verdict }) => verdict === "allowed") ? 0 : 1;
      }),
    );
}

function addSimulate(policy: Command, surroundings: Surroundings): void {
  withGround(policy.command("simulate"))
    .description("What would change if these policies were applied or deleted; nothing is written. Exit status as diff's: 0: nothing changes, 1: something does, 2: not done")
    .option("-f, --filename <file>", "policies to apply: a file, a folder or - (may be given more than once)", append, [])
    .option("--delete <name>", "a policy to delete: namespace/name, or with its kind in front (may be given more than once)", append, [])
    .option("--flows <file>", "packets that cilium monitor -o json or hubble observe -o json has written, or lines such as shop/web shop/api 8080/TCP, or - for standard input: which of them would get another verdict")
    .option("--live", "the same of packets that the agents tell of now, for the time of --for")
    .addOption(new Option("--for <duration>", "with --live, such as 30s or 5m").argParser(milliseconds).default(milliseconds(LIVE_FOR), LIVE_FOR))
    .action(async (options: SimulateArguments, command: Command) =>
      orNotDone(surroundings, async () => {
        refuseMixed(options, command);
        const { simulateGround } = await import("./explain.ts");
        const { simulationText } = await import("../explain/index.ts");
        const flows = await flowsOf(options, command, surroundings);
        const ground = await groundOf(options, command, surroundings);
        const forecast = await simulateGround(ground, { files: options.filename, deleted: options.delete, flows });
        surroundings.print(rendered(forecast, options.output, () => [simulationText(forecast, forecast.flows), ...forecast.notes.map((note) => `note: ${note}\n`)].join("")));
        return forecast.pairs.length + forecast.unjudged + (forecast.flows?.changes.length ?? 0) === 0 ? 0 : 1;
      }),
    );
}

/** Nothing is asked before all arguments make sense. */
function refuseMixed(options: SimulateArguments, command: Command): void {
  if (options.filename.length + options.delete.length === 0) throw new CliError("give what would change: -f FILE, --delete NAME");
  if (options.live === true && options.flows !== undefined) throw new CliError("--live and --flows each give the packets: give one of the two");
  if (options.live === true && options.files.length > 0) throw new CliError("--live asks the cluster, and --files asks none: give one of the two");
  if (options.live !== true && command.getOptionValueSource("for") === "cli") throw new CliError("--for is how long --live listens: give both");
}

async function flowsOf({ flows, live, for: duration }: SimulateArguments, command: Command, { withCluster, warn }: Surroundings): Promise<Flows | undefined> {
  const { collectFlows, readFlows } = await import("./flows.ts");
  if (live !== true) return flows === undefined ? undefined : await readFlows(flows);
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once("SIGINT", end);
  try {
    return await withCluster(command, async (cluster) => collectFlows(cluster, duration, warn, stop.signal));
  } finally {
    process.removeListener("SIGINT", end);
  }
}

function withGround(command: Command): Command {
  return command
    .option("--files <path>", "ask no cluster, but these files and folders alone (may be given more than once)", append, [])
    .option("--policy-cidr-match-mode <modes>", "with --files: the chart's policyCIDRMatchMode, such as nodes,pods", "")
    .addOption(outputOption())
    .exitOverride(exitAsNotDone);
}

async function groundOf(options: GroundOptions, command: Command, { withCluster }: Surroundings): Promise<Ground> {
  const { groundOfCluster, groundOfFiles } = await import("./explain.ts");
  if (options.files.length === 0) {
    if (options.policyCidrMatchMode !== "") throw new CliError("--policy-cidr-match-mode is for --files: the cluster says it itself");
    return await withCluster(command, groundOfCluster);
  }
  const asksCluster = (["kubeconfig", "context", "namespace"] as const satisfies readonly (keyof ClusterOptions)[]).find((name) => command.getOptionValueSourceWithGlobals(name) === "cli");
  if (asksCluster !== undefined) throw new CliError(`--${asksCluster} asks the cluster, and --files asks none: give one of the two`);
  return await groundOfFiles(options.files, options.policyCidrMatchMode);
}

function outputOption(): Option {
  return new Option("-o, --output <format>", "table (for people), json or yaml").choices(["table", "json", "yaml"]).default("table");
}

function rendered(value: unknown, format: Format, text: () => string): string {
  if (format === "json") return JSON.stringify(value, null, 2);
  return format === "yaml" ? dump(value, { noRefs: true, lineWidth: -1, skipInvalid: true }) : text();
}

function append(value: string, values: readonly string[]): string[] {
  return [...values, value];
}

function exitAsNotDone({ exitCode }: { readonly exitCode: number }): never {
  process.exit(exitCode === 0 ? 0 : 2);
}

async function orNotDone({ warn }: Surroundings, work: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await work();
  } catch (thrown) {
    warn(`cilium: ${describeError(thrown)}`);
    process.exitCode = 2;
  }
}
