/** `cilium policy explain` and `cilium policy simulate`: questions about a cluster, or about what files would make of one. */
import { Validator, formatProblems } from "../api/index.ts";
import type { PolicyKind } from "../api/index.ts";
import type { KubeObject } from "../api/meta.ts";
import { readPolicyOptions } from "../compile/index.ts";
import type { PolicyOptions } from "../compile/index.ts";
import { Engine, POLICY_KINDS, explain, findParties, parsePort, simulate, simulateFlows, withPolicies, worldOf } from "../explain/index.ts";
import type { Answer, FlowSimulation, Simulation, Sourced, World } from "../explain/index.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import type { Flows } from "./flows.ts";
import { livePolicyOptions, readLive } from "./live.ts";
import { readManifests } from "./manifests.ts";
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
  readonly flows: Flows | undefined;
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
  return { ...simulate(engines), ...(flows === undefined ? {} : { flows: simulateFlows(engines, flows.events, flows.asked) }), notes: next.notes };
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
