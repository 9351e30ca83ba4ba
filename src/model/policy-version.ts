/**
 * Which version of a policy counts: the current one when it is valid, else the last one that was, which the operator keeps
 * in the policy's own status as text. Pure.
 */
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import { annotatedEnforcement, isOfAnnotation } from "../api/enforcement.ts";
import type { Enforcement } from "../api/enforcement.ts";
import type { ClusterNetworkPolicy } from "../api/gen/clusternetworkpolicies.ts";
import type { NetworkPolicy } from "../api/network-policy.ts";
import type { PolicyKind } from "../api/policy-kinds.ts";
import type { Problem } from "../api/problem.ts";
import type { Validator } from "../api/validate.ts";
import type { PolicyRow } from "./snapshot.ts";

/** Of the kind that comes with it; CiliumClusterwideNetworkPolicy has the schema of CiliumNetworkPolicy. */
export type PolicyObject = CiliumNetworkPolicy | NetworkPolicy | ClusterNetworkPolicy;
/** What of an object is the policy. */
type PolicyContent = Pick<CiliumNetworkPolicy, "spec" | "specs"> | (Pick<NetworkPolicy, "spec"> & { readonly enforcement?: Enforcement }) | (Pick<ClusterNetworkPolicy, "spec"> & { readonly enforcement?: Enforcement });

export interface PolicyVersion {
  /** Of the current version. */
  readonly problems: readonly Problem[];
  /** The version that counts, as it was written; undefined when no version ever was valid. */
  readonly effective: PolicyRow | undefined;
}

/** @param remembered the version that counted before, of the same object: it goes before what the status says. */
export function versionOf(kind: PolicyKind, object: PolicyObject, validator: Validator, remembered?: PolicyRow): PolicyVersion {
  const problems = validator.policy(object, kind);
  // An annotation that says nothing of ours weakens nothing: it is told, and the policy is enforced.
  if (problems.every(isOfAnnotation)) return { problems, effective: rowOf(kind, object, object.metadata.generation ?? 0, contentOf(kind, object)) };
  return { problems, effective: remembered ?? lastValid(kind, object, validator) };
}

/** The version in the status, if it is valid by today's rules. Only Cilium's own kinds have room for one there. */
export function lastValid(kind: PolicyKind, object: PolicyObject, validator: Validator): PolicyRow | undefined {
  const stored = "status" in object && object.status !== undefined && "lastValid" in object.status ? object.status.lastValid : undefined;
  if (stored === undefined) return undefined;
  let content: PolicyContent;
  try {
    content = contentOf(kind, { metadata: object.metadata, ...parsed("spec", stored.spec), ...parsed("specs", stored.specs) });
  } catch {
    return undefined;
  }
  if (!validator.policy({ metadata: object.metadata, ...content }, kind).every(isOfAnnotation)) return undefined;
  return rowOf(kind, object, stored.generation, content);
}

function parsed(field: "spec" | "specs", text: string | undefined): object {
  return text === undefined ? {} : { [field]: JSON.parse(text) as unknown };
}

export function contentOf(kind: PolicyKind, object: PolicyObject): PolicyContent {
  const { spec, specs } = object as CiliumNetworkPolicy;
  if (kind === "NetworkPolicy" || kind === "ClusterNetworkPolicy") {
    const enforcement = annotatedEnforcement(object);
    return { spec: (object as NetworkPolicy).spec ?? {}, ...(enforcement === undefined ? {} : { enforcement }) };
  }
  return { ...(spec === undefined ? {} : { spec }), ...(specs === undefined ? {} : { specs }) };
}

function rowOf(kind: PolicyKind, object: PolicyObject, generation: number, content: PolicyContent): PolicyRow {
  const { namespace = "", name, uid = "" } = object.metadata;
  return { kind, namespace, name, uid, generation, ...content } as PolicyRow;
}
