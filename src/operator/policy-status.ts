/** The status of a policy, from what the nodes said. Pure: `now` is given, and an unchanged status is returned as it was. */
import { formatProblems } from "../api/index.ts";
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { Warning } from "../explain/warnings.ts";
import type { PolicyEntry, PolicyObject } from "./policies.ts";

export type PolicyStatus = NonNullable<CiliumNetworkPolicy["status"]>;
export type Condition = NonNullable<PolicyStatus["conditions"]>[number];

/** How one node stands to the enforced version of the policy. */
export interface NodeStanding {
  readonly node: string;
  readonly standing: "enforced" | "pending" | "failing" | "unheard";
  /** For people; empty when enforced. */
  readonly message: string;
}

export interface Findings {
  /** Pods that the policy selects. */
  readonly endpoints: number;
  /** `spec`, or items of `specs`, that select no pod. */
  readonly unselected?: readonly string[];
  /** Every node that counts, sorted by name. */
  readonly nodes: readonly NodeStanding[];
  /** Parts of the policy, such as `spec`, that only watch; absent: it enforces all of them. */
  readonly audited?: { readonly paths: readonly string[]; readonly isWhole: boolean };
}

const MAX_NODES = 10;
const MAX_MESSAGE = 2000;

type Verdict = Pick<Condition, "status" | "reason" | "message">;

/** @param warnings what the policy alone shows that it probably does not mean. */
export function policyStatus(entry: PolicyEntry, findings: Findings, now: string, warnings: readonly Warning[] = []): PolicyStatus {
  const { object } = entry;
  const enforced = findings.nodes.filter(({ standing }) => standing === "enforced").length;
  const failing = findings.nodes.filter(({ standing }) => standing !== "enforced").slice(0, MAX_NODES);
  const valid = validity(entry);
  const resolved = resolution(entry);
  const enforcement = entry.problems.length === 0 ? enforcementOf(findings, entry.refusal) : notCurrent(entry, findings);
  const isWatching = findings.audited?.isWhole === true;
  const verdicts: readonly (readonly [string, Verdict])[] = [
    ...auditing(findings),
    ["Enforced", isWatching && enforcement.status === "True" ? watching(findings) : enforcement],
    ["Ready", readiness(valid, enforcement, resolved)],
    ["Valid", valid],
    ...resolved.map((verdict) => ["Resolved", verdict] as const),
    ...warned(entry, findings, warnings).map((verdict) => ["Warnings", verdict] as const),
  ];
  const conditions = verdicts.map(([type, verdict]) => condition(type, verdict, object, now));
  if (entry.kind === "ClusterNetworkPolicy") return { conditions }; // its schema has no more
  return {
    observedGeneration: object.metadata.generation ?? 0,
    enforced: `${isWatching ? "audit " : ""}${enforced}/${findings.nodes.length}`,
    endpoints: findings.endpoints,
    ...(failing.length === 0 ? {} : { failingNodes: failing.map(({ node, message }) => ({ node, message })) }),
    ...lastValid(entry),
    conditions,
  };
}

/** As text: the API server must not judge or change it. */
function lastValid({ effective }: PolicyEntry): Pick<PolicyStatus, "lastValid"> {
  if (effective === undefined || effective.kind === "NetworkPolicy" || effective.kind === "ClusterNetworkPolicy") return {};
  const { generation, spec, specs } = effective;
  return { lastValid: { generation, ...(spec === undefined ? {} : { spec: canonicalJson(spec) }), ...(specs === undefined ? {} : { specs: canonicalJson(specs) }) } };
}

function validity({ object, problems, effective }: PolicyEntry): Verdict {
  if (problems.length === 0) return { status: "True", reason: "Valid", message: "the policy is understood" };
  const rest =
    effective === undefined
      ? "; no earlier generation was valid, so nothing is enforced"
      : `; generation ${effective.generation} stays enforced instead of ${object.metadata.generation ?? 0}`;
  return { status: "False", reason: "Invalid", message: formatProblems(problems).slice(0, MAX_MESSAGE) + rest };
}

/** Of a policy that names groups of blocks, nodes or services alone. */
function resolution({ unresolved }: PolicyEntry): readonly Verdict[] {
  if (unresolved === undefined) return [];
  if (unresolved.length === 0) return [{ status: "True", reason: "Resolved", message: "the groups of blocks, nodes and services that it names exist" }];
  return [{ status: "False", reason: "NotResolved", message: formatProblems(unresolved).slice(0, MAX_MESSAGE) }];
}

/** Of a valid policy that probably does not mean what it says; else the condition is absent. */
function warned({ problems }: PolicyEntry, { unselected = [] }: Findings, warnings: readonly Warning[]): readonly Verdict[] {
  const unselecting = unselected.filter((path) => !warnings.some((known) => known.reason === "SelectsNothing" && known.path.startsWith(`${path}.`)));
  const all: readonly Warning[] = [...warnings, ...unselecting.map((path) => ({ reason: "SelectsNothing" as const, path, message: "it selects no pod" }))];
  const [first] = all;
  if (first === undefined || problems.length > 0) return [];
  const reason = all.every((each) => each.reason === first.reason) ? first.reason : "Several";
  return [{ status: "True", reason, message: formatProblems(all).slice(0, MAX_MESSAGE) }];
}

function notCurrent({ object, effective, refusal }: PolicyEntry, findings: Findings): Verdict {
  const generation = object.metadata.generation ?? 0;
  if (effective === undefined) return { status: "False", reason: "Invalid", message: `generation ${generation} is not valid and nothing is enforced` };
  const old = enforcementOf(findings, refusal);
  return { status: "False", reason: "Invalid", message: `generation ${generation} is not valid; of generation ${effective.generation}: ${old.message}` };
}

function enforcementOf({ nodes }: Findings, refusal?: string): Verdict {
  if (refusal !== undefined) return { status: "False", reason: "CapacityExceeded", message: refusal };
  if (nodes.length === 0) return { status: "True", reason: "NoEndpoints", message: "no pod is selected" };
  const of = (standing: NodeStanding["standing"]): readonly NodeStanding[] => nodes.filter((node) => node.standing === standing);
  const [failing, unheard, pending] = [of("failing"), of("unheard"), of("pending")];
  const count = `${of("enforced").length} of ${nodes.length} nodes enforce it`;
  if (failing.length > 0) return { status: "False", reason: "NodesFailing", message: `${count}; failing: ${list(failing)}` };
  if (unheard.length > 0) return { status: "Unknown", reason: "NodesNotHeardFrom", message: `${count}; not heard from: ${list(unheard)}` };
  if (pending.length > 0) return { status: "False", reason: "Pending", message: `${count}; pending: ${list(pending)}` };
  return { status: "True", reason: "Enforced", message: count };
}

/** It is on the nodes as it should be, and no packet is dropped for it. */
function watching({ nodes }: Findings): Verdict {
  return { status: "False", reason: "Audited", message: nodes.length === 0 ? "no pod is selected; it would drop nothing" : `${nodes.length} of ${nodes.length} nodes judge by it, and what it would drop passes` };
}

function auditing({ audited }: Findings): readonly (readonly [string, Verdict])[] {
  if (audited === undefined) return [];
  return [["Audit", { status: "True", reason: "Audit", message: `${audited.paths.join(", ")}: what it would drop passes and is told with verdict audit; what it allows opens nothing` }]];
}

function list(nodes: readonly NodeStanding[]): string {
  const shown = nodes.slice(0, MAX_NODES).map(({ node, message }) => (message === "" ? node : `${node} (${message.slice(0, 150)})`));
  return shown.join(", ") + (nodes.length > MAX_NODES ? ` and ${nodes.length - MAX_NODES} more` : "");
}

/** A group that is missing means nobody, so that a denial by it denies nothing: not what was written, so not ready. */
function readiness(valid: Verdict, enforcement: Verdict, resolved: readonly Verdict[]): Verdict {
  return [valid, enforcement, ...resolved].find(({ status }) => status !== "True") ?? enforcement;
}

/** The time moves only with the status of the condition, as Kubernetes has it. */
function condition(type: string, verdict: Verdict, object: PolicyObject, now: string): Condition {
  const known = statusOf(object)?.conditions?.find((other) => other.type === type);
  const lastTransitionTime = known?.status === verdict.status ? known.lastTransitionTime : now;
  return { type, ...verdict, observedGeneration: object.metadata.generation ?? 0, lastTransitionTime };
}

/** NetworkPolicy has none. */
export function statusOf(object: PolicyObject): PolicyStatus | undefined {
  return "status" in object ? object.status : undefined;
}

export interface Transition {
  readonly severity: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** What is worth an Event: validity that changed, and enforcement that was reached, lost, or became unknown. */
export function transitions(before: PolicyStatus | undefined, after: PolicyStatus): readonly Transition[] {
  return ["Valid", "Enforced", "Resolved"].flatMap((type) => {
    const was = before?.conditions?.find((other) => other.type === type);
    const is = after.conditions?.find((other) => other.type === type);
    if (is === undefined || !isNews(was, is)) return [];
    return [{ severity: is.status === "True" || is.reason === "Audited" ? "Normal" : "Warning", reason: is.reason, message: is.message }];
  });
}

function isNews(was: Condition | undefined, is: Condition): boolean {
  // Pending is the way to every change; that it is invalid is told once, by Valid.
  if (was === undefined && is.reason === "Resolved") return false;
  if (is.reason === "Pending" || (is.type === "Enforced" && is.reason === "Invalid")) return false;
  if (was?.status !== is.status || was.reason !== is.reason) return true;
  return is.reason === "Invalid" && was.observedGeneration !== is.observedGeneration;
}
