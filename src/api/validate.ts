/**
 * The one validator of our user kinds, shared by operator, agent and CLI: the schema of crds/ through ajv, fields that
 * the schema does not know or refuses, and what only code can check. Pure apart from reading crds/ when it is made.
 */
import { Ajv } from "ajv";
import type { ErrorObject, ValidateFunction } from "ajv";
import { isChurning, isReserved, splitLabelKey } from "./label-keys.ts";
import { readCrds, schemaOf } from "./crds.ts";
import type { CustomResourceDefinition, Schema } from "./crds.ts";
import type { CiliumNetworkPolicy } from "./gen/ciliumnetworkpolicies.ts";

export interface Problem {
  /** Where, such as `spec.ingress[0].toPorts[0].foo`. */
  readonly path: string;
  readonly message: string;
}

/** `!has(self.rules)`: the schema knows the field to refuse it. */
const REFUSES = /^!has\(self\.([A-Za-z]+)\)$/;

export class Validator {
  readonly #schema: Schema;
  readonly #matches: ValidateFunction;

  constructor(crds: readonly CustomResourceDefinition[] = readCrds()) {
    const crd = crds.find((candidate) => candidate.spec.names.kind === "CiliumNetworkPolicy");
    if (crd === undefined) throw new Error("crds/ has no CiliumNetworkPolicy");
    this.#schema = schemaOf(crd);
    // CEL rules and other extensions of Kubernetes are not JSON schema: the walk below reads them.
    this.#matches = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(this.#schema);
  }

  /** Everything that is wrong with a CiliumNetworkPolicy, in the order of its fields; empty when it is valid. */
  policy(object: unknown): readonly Problem[] {
    const problems: Problem[] = [];
    checkFields(this.#schema, object, "", problems);
    if (this.#matches(object) !== true) {
      // The form of a field that is refused anyway does not matter.
      const told = problems.map(({ path }) => path);
      const inside = (path: string): boolean => told.some((other) => path === other || path.startsWith(`${other}.`) || path.startsWith(`${other}[`));
      problems.push(...(this.#matches.errors ?? []).map((error) => schemaProblem(error)).filter(({ path }) => !inside(path)));
    }
    // The meaning is looked at only when the form is right, so that it may rely on the generated types.
    if (problems.length === 0) checkMeaning(object as CiliumNetworkPolicy, problems);
    return problems;
  }
}

/** `spec.ingress[0]: unknown field` for people, one line each. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => `${path}: ${message}`).join("; ");
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
  if (error.keyword === "enum") {
    const allowed = (error.params as { readonly allowedValues: readonly string[] }).allowedValues;
    return { path, message: `must be one of ${allowed.join(", ")}` };
  }
  if (error.keyword === "pattern" && path.endsWith(".port")) {
    return { path, message: "must be a number from 1 to 65535 in quotes; named ports are not supported yet" };
  }
  if (error.keyword === "minItems") return { path, message: "must not be empty; leave it out to allow all" };
  return { path: path === "" ? "(object)" : path, message: error.message ?? "does not match the schema" };
}

/** `/spec/ingress/0/toPorts` -> `spec.ingress[0].toPorts` (JSON pointer, RFC 6901). */
function dottedPath(pointer: string): string {
  const parts = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce((path, part) => (/^[0-9]+$/.test(part) ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`), "");
}

type Spec = CiliumNetworkPolicy["spec"];
type LabelSelector = Spec["endpointSelector"];

function checkMeaning(policy: CiliumNetworkPolicy, problems: Problem[]): void {
  const { spec } = policy;
  if (spec.ingress === undefined && spec.egress === undefined) {
    problems.push({ path: "spec", message: "the policy says nothing; write ingress, egress or both" });
  }
  checkSelector(spec.endpointSelector, "spec.endpointSelector", problems);
  checkSubject(spec.endpointSelector, policy.metadata.namespace, problems);
  spec.ingress?.forEach((item, i) => item.fromEndpoints?.forEach((peer, j) => checkSelector(peer, `spec.ingress[${i}].fromEndpoints[${j}]`, problems)));
  spec.egress?.forEach((item, i) => item.toEndpoints?.forEach((peer, j) => checkSelector(peer, `spec.egress[${i}].toEndpoints[${j}]`, problems)));
}

function checkSelector(selector: LabelSelector, path: string, problems: Problem[]): void {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    checkKey(key, `${path}.matchLabels.${key}`, problems);
    checkValue(value, `${path}.matchLabels.${key}`, problems);
  }
  selector.matchExpressions?.forEach(({ key, operator, values }, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    checkKey(key, `${at}.key`, problems);
    const compares = operator === "In" || operator === "NotIn";
    if (compares && (values === undefined || values.length === 0)) problems.push({ path: `${at}.values`, message: `${operator} needs at least one value` });
    if (!compares && values !== undefined && values.length > 0) problems.push({ path: `${at}.values`, message: `${operator} takes no values` });
    values?.forEach((value, at2) => checkValue(value, `${at}.values[${at2}]`, problems));
  });
}

/** Kubernetes' own forms of label keys and values; a selector that can match nothing is a mistake to tell. */
const KEY_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
const KEY_PREFIX = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

function checkKey(key: string, path: string, problems: Problem[]): void {
  const [source, name] = splitLabelKey(key);
  if (source !== "k8s" && source !== "any") {
    problems.push({ path, message: `labels of source ${JSON.stringify(source)} are not supported yet; sources are k8s and any` });
    return;
  }
  const slash = name.lastIndexOf("/");
  const wellFormed = slash < 0 ? KEY_NAME.test(name) : KEY_NAME.test(name.slice(slash + 1)) && KEY_PREFIX.test(name.slice(0, slash).replace(/^io\.cilium\.k8s\.namespace\.labels\./, ""));
  if (!wellFormed) problems.push({ path, message: "is not a label key" });
  else if (isChurning(name)) problems.push({ path, message: `${name} changes from pod to pod or with each rollout and is no part of an identity; selecting by it is not supported yet` });
}

function checkValue(value: string, path: string, problems: Problem[]): void {
  if (!VALUE.test(value)) problems.push({ path, message: `${JSON.stringify(value)} is not a label value` });
}

/** A namespaced policy cannot select pods of another namespace: refused, or it would protect nothing without a word. */
function checkSubject(selector: LabelSelector, namespace: string | undefined, problems: Problem[]): void {
  const isForeign = (key: string, values: readonly string[]): boolean =>
    splitLabelKey(key)[1] === "io.kubernetes.pod.namespace" && namespace !== undefined && !values.includes(namespace);
  const message = "a CiliumNetworkPolicy selects pods of its own namespace only";
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (isForeign(key, [value])) problems.push({ path: `spec.endpointSelector.matchLabels.${key}`, message });
  }
  selector.matchExpressions?.forEach(({ key, operator, values }, index) => {
    const excludes = operator === "NotIn" || operator === "DoesNotExist";
    const refused = splitLabelKey(key)[1] === "io.kubernetes.pod.namespace" && (excludes || (operator === "In" && isForeign(key, values ?? [])));
    if (refused && isReserved(splitLabelKey(key)[1])) problems.push({ path: `spec.endpointSelector.matchExpressions[${index}]`, message });
  });
}
