/** `cilium policy explain` and `cilium policy simulate`: questions about a cluster, or about what files would make of one. */
import { Validator, formatProblems } from "../api/index.ts";
import type { PolicyKind } from "../api/index.ts";
import type { KubeObject } from "../api/meta.ts";
import { readPolicyOptions } from "../compile/index.ts";
import type { PolicyOptions } from "../compile/index.ts";
import { Engine, POLICY_KINDS, explain, findParties, parsePort, simulate, simulateFlows, withPolicies, worldOf } from "../explain/index.ts";
import type { Answer, AskedFlow, FlowSimulation, Simulation, Sourced, World } from "../explain/index.ts";
import type { MonitorEvent } from "../hubble/index.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { livePolicyOptions, readLive } from "./live.ts";
import { readManifests, readSource } from "./manifests.ts";
import type { Manifests } from "./manifests.ts";

/** Of a cluster, or of files alone. */
export interface Ground {
  readonly world: World;
  readonly policy: PolicyOptions;
}

const validator = (): Validator => new Validator();

export async function groundOfCluster(cluster: Cluster): Promise<Ground> {
  const [objects, policy] = await Promise.all([readLive(cluster), livePolicyOptions(cluster)]);
  return { world: worldOf(objects, { validator: validator(), live: true }), policy };
}

/** @param cidrMatchMode as the chart's policyCIDRMatchMode, with commas. */
export async function groundOfFiles(paths: readonly string[], cidrMatchMode: string): Promise<Ground> {
  const objects = readable(await readManifests(paths));
  return { world: worldOf(objects, { validator: validator(), live: false }), policy: readPolicyOptions((key) => (key === "policy-cidr-match-mode" ? cidrMatchMode : undefined)) };
}

/** An answer from half of the files might be wrong. */
function readable({ objects, unreadable }: Manifests): readonly Sourced[] {
  const [first] = unreadable;
  if (first !== undefined) throw new CliError(`${first.file}:${first.line}: ${first.message}`);
  return objects;
}

export interface Explanation {
  readonly answers: readonly Answer[];
  readonly notes: readonly string[];
}

/** Several answers where a service has several pods. */
export function explainGround({ world, policy }: Ground, from: string, to: string, portText: string): Explanation {
  const port = parsePort(portText);
  const [sender, ...others] = findParties(world, from, port);
  if (sender === undefined || others.length > 0) throw new CliError(`--from ${from}: a sender is one pod, workload, node or address`);
  const engine = new Engine(world, { policy });
  const answers = findParties(world, to, port).map((target) => explain({ engine, policy }, sender.party, target));
  if (answers.length === 0) throw new CliError(`--to ${to}: no pod behind it has the port that the service names`);
  return { answers, notes: world.notes };
}

export interface SimulateOptions {
  readonly files: readonly string[];
  /** `kind/namespace/name`, `namespace/name` or, of a kind of the whole cluster, `name`. */
  readonly deleted: readonly string[];
  /** A file, or - for standard input: JSON lines of `cilium monitor`, or flows in words. */
  readonly flows: string | undefined;
}

export interface Forecast extends Simulation {
  readonly flows?: FlowSimulation;
  readonly notes: readonly string[];
}

export async function simulateGround({ world, policy }: Ground, { files, deleted, flows }: SimulateOptions): Promise<Forecast> {
  const given = readable(await readManifests(files));
  for (const { object, file, line } of given) refuseOthers(object, `${file ?? ""}:${line?.("") ?? 1}`);
  const isDeleted = deletions(world, deleted);
  const next = withPolicies(world, given, isDeleted, validator());
  const engines = { before: new Engine(world, { policy }), after: new Engine(next, { policy }) };
  const recorded = flows === undefined ? undefined : await readFlows(flows);
  return { ...simulate(engines), ...(recorded === undefined ? {} : { flows: simulateFlows(engines, recorded.events, recorded.asked) }), notes: next.notes };
}

/** What is applied must be understood, or the forecast is of something else. */
function refuseOthers(object: KubeObject, at: string): void {
  const kind = POLICY_KINDS.find((each) => each === object.kind);
  if (kind === undefined && object.kind !== "CiliumCIDRGroup") throw new CliError(`${at}: ${object.kind} is no policy: only policies and CiliumCIDRGroups can be tried`);
  const problems = kind === undefined ? validator().cidrGroup(object) : validator().policy(object, kind);
  if (problems.length > 0) throw new CliError(`${at}: ${object.metadata.name} is not valid: ${formatProblems(problems)}`);
}

function deletions(world: World, names: readonly string[]): (object: KubeObject) => boolean {
  const isNamed = (object: KubeObject, name: string): boolean => {
    const own = [object.metadata.namespace, object.metadata.name].filter((part) => part !== undefined).join("/");
    return isTried(object) && (own === name || `${object.kind?.toLowerCase()}/${own}` === name.replace(/^[^/]+/, (kind) => kind.toLowerCase()));
  };
  for (const name of names) {
    const found = world.objects.filter(({ object }) => isNamed(object, name));
    if (found.length === 0) throw new CliError(`--delete ${name}: there is no such policy; write namespace/name, or the name of one of the whole cluster`);
    if (found.length > 1) throw new CliError(`--delete ${name}: several kinds have one of this name; write ${found.map(({ object }) => `${object.kind}/${name}`).join(" or ")}`);
  }
  return (object) => names.some((name) => isNamed(object, name));
}

function isTried({ kind }: KubeObject): boolean {
  return kind === "CiliumCIDRGroup" || POLICY_KINDS.includes(kind as PolicyKind);
}

interface Flows {
  readonly events: readonly MonitorEvent[];
  readonly asked: readonly AskedFlow[];
}

/** Each line is an event, or `FROM TO PORT` as `cilium policy explain` takes them; what follows a # is a comment. */
async function readFlows(file: string): Promise<Flows> {
  const events: MonitorEvent[] = [];
  const asked: AskedFlow[] = [];
  for (const [index, line] of (await readSource(file)).split("\n").entries()) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const event = eventOf(text);
    const [from, to, port, ...more] = (text.split("#")[0] ?? "").trim().split(/\s+/);
    const isAsked = from !== undefined && to !== undefined && port !== undefined && more.length === 0 && !text.startsWith("{");
    if (event !== undefined) events.push(event);
    else if (isAsked) asked.push({ from, to, port });
    else throw new CliError(`${file}:${index + 1}: neither an event of cilium monitor -o json nor FROM TO PORT, such as shop/web shop/api 8080/TCP: ${line.slice(0, 80)}`);
  }
  return { events, asked };
}

function eventOf(text: string): MonitorEvent | undefined {
  try {
    const event = JSON.parse(text) as MonitorEvent | null;
    return event?.type === "lost" || event?.type === "drop" || event?.type === "policy-verdict" ? event : undefined;
  } catch {
    return undefined;
  }
}
