/**
 * The one validator of our user kinds, shared by operator, agent and CLI: the schema of crds/ through ajv, fields that
 * the schema does not know or refuses, and what only code can check. Pure apart from reading crds/ when it is made.
 */
import { Ajv } from "ajv";
import type { ErrorObject, ValidateFunction } from "ajv";
import { readCrds, schemaOf } from "./crds.ts";
import type { CustomResourceDefinition, Schema } from "./crds.ts";
import { checkApplication } from "./application-meaning.ts";
import { withProxy } from "./application-rules.ts";
import { clusterPolicyProblems } from "./cluster-network-policy.ts";
import type { ClusterNetworkPolicy } from "./gen/clusternetworkpolicies.ts";
import type { CiliumNetworkPolicy } from "./gen/ciliumnetworkpolicies.ts";
import type { CiliumCIDRGroup } from "./gen/ciliumcidrgroups.ts";
import { checkBlocks, checkMeaning } from "./meaning.ts";
import { networkPolicyProblems } from "./network-policy.ts";
import type { NetworkPolicy } from "./network-policy.ts";
import type { PolicyKind } from "./policy-kinds.ts";
import type { Problem } from "./problem.ts";

/** `!has(self.rules)`: the schema knows the field to refuse it. */
const REFUSES = /^!has\(self\.([A-Za-z]+)\)$/;

export interface ValidatorOptions {
  /** Whether a proxy serves rules on requests and names of DNS; absent: nobody does, and they are refused by name. */
  readonly proxy?: boolean;
}

export class Validator {
  readonly #namespaced: readonly [Schema, ValidateFunction];
  readonly #clusterwide: readonly [Schema, ValidateFunction];
  readonly #groupSchema: Schema;
  readonly #matchesGroup: ValidateFunction;
  readonly #clusterSchema: Schema;
  readonly #matchesCluster: ValidateFunction;

  readonly #hasProxy: boolean;

  constructor(crds: readonly CustomResourceDefinition[] = readCrds(), { proxy = false }: ValidatorOptions = {}) {
    this.#hasProxy = proxy;
    this.#groupSchema = schemaOfKind(crds, "CiliumCIDRGroup");
    this.#clusterSchema = schemaOfKind(crds, "ClusterNetworkPolicy");
    // CEL rules and other extensions of Kubernetes are not JSON schema: the walk below reads them.
    const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
    const known = (kind: string): readonly [Schema, ValidateFunction] => {
      const schema = proxy ? withProxy(schemaOfKind(crds, kind)) : schemaOfKind(crds, kind);
      return [schema, ajv.compile(schema)];
    };
    this.#namespaced = known("CiliumNetworkPolicy");
    this.#clusterwide = known("CiliumClusterwideNetworkPolicy");
    this.#matchesGroup = ajv.compile(this.#groupSchema);
    this.#matchesCluster = ajv.compile(this.#clusterSchema);
  }

  /** Everything that is wrong with a policy, in the order of its fields; empty when it is valid. */
  policy(object: unknown, kind: PolicyKind = "CiliumNetworkPolicy"): readonly Problem[] {
    if (kind === "NetworkPolicy") return networkPolicyProblems(object as NetworkPolicy);
    if (kind === "ClusterNetworkPolicy") return this.#clusterPolicy(object);
    const problems = formProblems(object, ...(kind === "CiliumNetworkPolicy" ? this.#namespaced : this.#clusterwide));
    // The meaning is looked at only when the form is right, so that it may rely on the generated types.
    if (problems.length === 0) checkMeaning(object as CiliumNetworkPolicy, kind === "CiliumNetworkPolicy", problems);
    if (problems.length === 0 && this.#hasProxy) checkApplication(object as CiliumNetworkPolicy, problems);
    return problems;
  }

  #clusterPolicy(object: unknown): readonly Problem[] {
    const problems = formProblems(object, this.#clusterSchema, this.#matchesCluster);
    if (problems.length === 0) clusterPolicyProblems(object as ClusterNetworkPolicy, problems);
    return problems;
  }

  /** The same of a CiliumCIDRGroup. */
  cidrGroup(object: unknown): readonly Problem[] {
    const problems = formProblems(object, this.#groupSchema, this.#matchesGroup);
    return problems.length > 0 ? problems : checkBlocks((object as CiliumCIDRGroup).spec.externalCIDRs, "spec.externalCIDRs").problems;
  }
}

function schemaOfKind(crds: readonly CustomResourceDefinition[], kind: string): Schema {
  const crd = crds.find((candidate) => candidate.spec.names.kind === kind);
  if (crd === undefined) throw new Error(`crds/ has no ${kind}`);
  return schemaOf(crd);
}

function formProblems(object: unknown, schema: Schema, matches: ValidateFunction): Problem[] {
  const problems: Problem[] = [];
  checkFields(schema, object, "", problems);
  if (matches(object) === true) return problems;
  // The form of a field that is refused anyway does not matter.
  const told = problems.map(({ path }) => path);
  const inside = (path: string): boolean => told.some((other) => path === other || path.startsWith(`${other}.`) || path.startsWith(`${other}[`));
  problems.push(...(matches.errors ?? []).filter(({ keyword }) => keyword !== "anyOf").map((error) => schemaProblem(error)).filter(({ path }) => !inside(path)));
  return problems;
}

/** Fields that the schema does not know, and those that it knows to refuse. */
function checkFields(schema: Schema, value: unknown, path: string, problems: Problem[]): void {
  if (Array.isArray(value)) {
    const items = schema.items;
    if (items !== undefined) value.forEach((item, index) => checkFields(items, item, `${path}[${index}]`, problems));
    return;
  }
  if (typeof value !== "object" || value === null || schema.properties === undefined) return;
  const known = new Map(Object.entries(schema.properties));
  const refused = refusedFields(schema);
  for (const [name, inner] of Object.entries(value)) {
    const at = path === "" ? name : `${path}.${name}`;
    const schemaOfField = known.get(name);
    const refusal = refused.get(name);
    if (refusal !== undefined) problems.push({ path: at, message: refusal });
    else if (schemaOfField === undefined) problems.push({ path: at, message: unknownField(name, [...known.keys()].filter((other) => !refused.has(other))) });
    else if (at !== "metadata" && at !== "status") checkFields(schemaOfField, inner, at, problems);
  }
}

function refusedFields(schema: Schema): ReadonlyMap<string, string> {
  const refused = new Map<string, string>();
  for (const { rule, message } of schema["x-kubernetes-validations"] ?? []) {
    const field = REFUSES.exec(rule)?.[1];
    if (field !== undefined) refused.set(field, message);
  }
  return refused;
}

function unknownField(name: string, known: readonly string[]): string {
  const near = known.map((other) => ({ other, distance: editDistance(name.toLowerCase(), other.toLowerCase()) })).sort((a, b) => a.distance - b.distance)[0];
  return near !== undefined && near.distance <= Math.max(2, name.length / 4) ? `unknown field; did you mean ${near.other}?` : "unknown field";
}

/** Levenshtein distance, row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, char] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (char === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function schemaProblem(error: ErrorObject): Problem {
  const path = dottedPath(error.instancePath);
  if (error.keyword === "required") {
    const field = String((error.params as { readonly missingProperty: string }).missingProperty);
    return { path: path === "" ? field : `${path}.${field}`, message: "required" };
  }
  if (error.keyword === "enum" && path.endsWith(".authentication.mode")) return { path, message: "authentication is not supported yet, beyond disabled" };
  if (error.keyword === "enum") {
    const allowed = (error.params as { readonly allowedValues: readonly string[] }).allowedValues;
    return { path, message: `must be one of ${allowed.join(", ")}` };
  }
  if (error.keyword === "pattern" && path.endsWith(".port")) {
    return { path, message: "must be a number from 0 to 65535 in quotes, or the name of a port" };
  }
  if (error.keyword === "pattern" && path.endsWith(".cidrGroupRef")) return { path, message: "is not the name of a CiliumCIDRGroup" };
  if (error.keyword === "pattern" && /CIDR|cidr|except/.test(path)) return { path, message: "is not a block of addresses" };
  if (error.keyword === "minItems") return { path, message: "must not be empty; leave it out to allow all" };
  return { path: path === "" ? "(object)" : path, message: error.message ?? "does not match the schema" };
}

/** `/spec/ingress/0/toPorts` -> `spec.ingress[0].toPorts` (JSON pointer, RFC 6901). */
function dottedPath(pointer: string): string {
  const parts = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce((path, part) => (/^[0-9]+$/.test(part) ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`), "");
}
