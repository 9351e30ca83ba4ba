/** `cilium policy validate FILE…`: the operator's own validator, before anything is applied. Asks no cluster. */
import type { PolicyKind } from "../api/policy-kinds.ts";
import { Validator } from "../api/validate.ts";
import { parseBlock } from "../api/meaning.ts";
import { CidrSet } from "../lib/cidr-set.ts";
import { POLICY_KINDS, denialsOf, distinct, nobodyWarnings, policyWarnings, shadowWarnings, worldOf } from "../explain/index.ts";
import type { World } from "../explain/index.ts";
import type { Manifest, Manifests } from "./manifests.ts";

/** What is wrong, or probably not meant, at a field. */
export interface Remark {
  /** Of the file, from 1. */
  readonly line: number;
  /** Of the object; empty for what is no object. */
  readonly path: string;
  readonly message: string;
  /** Of a warning, one word for programs. */
  readonly reason?: string;
}

export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  /** `namespace/name`, or the name alone. */
  readonly object: string;
  /** `skipped` is no policy of ours and was not looked at. */
  readonly outcome: "valid" | "invalid" | "skipped";
  readonly problems: readonly Remark[];
  readonly warnings: readonly Remark[];
}

/** Read for what policies mean; they are none. */
const SURROUNDINGS: readonly string[] = ["Pod", "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "CronJob", "ReplicationController", "Namespace", "Node", "Service"];
const KUBERNETES: Partial<Record<PolicyKind, string>> = { NetworkPolicy: "networking.k8s.io/v1", ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2" };

/** Other products have kinds of these names too. */
function isOfGroup(apiVersion: unknown, kind: PolicyKind): boolean {
  return apiVersion === (KUBERNETES[kind] ?? "cilium.io/v2");
}

/** What is valid is also read for what it probably does not mean, in the world that the files tell of. */
export function validateManifests({ objects, unreadable }: Manifests, validator = new Validator()): readonly Finding[] {
  const broken = unreadable.map(({ file, line, message }): Finding => ({ file, line, kind: "", object: "", outcome: "invalid", problems: [{ line, path: "", message }], warnings: [] }));
  const judged = objects.map((manifest) => ({ manifest, finding: validate(manifest, validator) }));
  const valid = judged.filter(({ finding }) => finding.outcome !== "invalid").map(({ manifest }) => manifest);
  const world = worldOf(valid, { validator, live: false });
  return [...broken, ...judged.map(({ manifest, finding }) => (finding.outcome === "valid" ? { ...finding, warnings: warningsOf(manifest, world) } : finding))];
}

function validate({ file, object, line }: Manifest, validator: Validator): Finding {
  const { kind = "", apiVersion, metadata } = object;
  const head = { file, line: line(""), kind, object: [metadata.namespace, metadata.name].filter((part) => part !== undefined).join("/"), warnings: [] };
  const of = (problems: readonly { readonly path: string; readonly message: string }[]): Finding => ({
    ...head, outcome: problems.length === 0 ? "valid" : "invalid", problems: problems.map(({ path, message }) => ({ line: line(path), path, message })),
  });
  if (kind === "CiliumCIDRGroup" && apiVersion === "cilium.io/v2") return of(validator.cidrGroup(object));
  const known = POLICY_KINDS.find((candidate) => candidate === kind);
  if (known !== undefined && isOfGroup(apiVersion, known)) return of(validator.policy(object, known));
  const isOurs = apiVersion?.startsWith("cilium.io/") === true;
  if (isOurs) return of([{ path: "kind", message: `the kind ${kind} is not built yet` }]);
  const message = SURROUNDINGS.includes(kind) ? `${kind} is no policy; it was read for what policies mean` : `${kind} is no policy, not checked`;
  return { ...head, outcome: "skipped", problems: [{ line: line(""), path: "", message }] };
}

function warningsOf(manifest: Manifest, world: World): readonly Remark[] {
  const { object, line } = manifest;
  const namespace = object.metadata.namespace ?? "default";
  const rows = [...new Set([namespace, ""])].flatMap((name) => world.policies.get(name) ?? []);
  const row = rows.find(({ uid }) => world.sources.get(uid)?.line === line);
  if (row === undefined) return [];
  const pods = world.workloads.filter(({ hostNetwork }) => !hostNetwork).map(({ labels }) => labels);
  const ofPods = new CidrSet([...world.nodes.values()].flatMap((node) => node.podCidrs));
  const ofNodes = new CidrSet([...world.nodes.values()].flatMap(({ addresses }) => addresses.map(parseBlock)));
  const warnings = [...policyWarnings(row, { pods: ofPods, nodes: ofNodes }), ...shadowWarnings(row, [denialsOf(rows)], undefined, Infinity), ...(pods.length === 0 ? [] : nobodyWarnings(row, pods))];
  return distinct(warnings).map(({ reason, path, message }) => ({ line: line(path), path, message, reason }));
}

export function findingsText(findings: readonly Finding[]): string {
  return findings.map(findingText).join("");
}

function findingText({ file, line, object, outcome, problems, warnings }: Finding): string {
  const at = (remark: Remark): string => `${remark.path === "" ? "" : `${remark.path}: `}${remark.message} (${file}:${remark.line})`;
  const head = object === "" ? `${file}:${line}: ${outcome}` : `${file}: ${object}: ${outcome}`;
  const lines = [head, ...problems.map((problem) => `  ${at(problem)}`), ...warnings.map((warning) => `  warning: ${at(warning)}`)];
  return lines.map((text) => `${text}\n`).join("");
}

/** 0: at least one policy, and all valid; 1: not so. With `strict` a warning counts as well. */
export function validationStatus(findings: readonly Finding[], strict: boolean): 0 | 1 {
  const isBad = ({ outcome, warnings }: Finding): boolean => outcome === "invalid" || (strict && warnings.length > 0);
  return findings.some(({ outcome }) => outcome === "valid") && !findings.some(isBad) ? 0 : 1;
}
