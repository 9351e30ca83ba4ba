/** Selectors of the policy language, made explicit, and how they match labels. The agent uses the same functions. */
import { canonicalJson, contentHash } from "../lib/hash.ts";
import { isChurning, splitLabelKey } from "../api/label-keys.ts";
import type { PolicySpec } from "../api/meaning.ts";
import { NAMED_PREFIX, NAMESPACE_LABEL, NAMESPACE_LABELS_PREFIX, NODE_PREFIX } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { LabelPeers, PeerSelector, Requirement, SelectorId } from "./state.ts";

export type LabelSelector = NonNullable<PolicySpec["endpointSelector"]>;

/**
 * A selector of a namespaced policy means pods of that namespace, unless it names namespaces or something that is no
 * pod. Without a namespace (a policy of the whole cluster) it means pods of any. A key without source is of any source
 * that pods' labels may have.
 */
export function peerSelector(selector: LabelSelector, namespace: string): LabelPeers {
  const requirements = requirementsOf(selector);
  const isLocal = namespace !== "" && !requirements.some(({ key }) => namesNamespace(key) || key.startsWith("reserved:"));
  return normalized(isLocal ? [...requirements, ofNamespace(namespace)] : requirements);
}

/** The subjects of a policy: pods of its own namespace, or of the whole cluster. */
export function subjectSelector(selector: LabelSelector, namespace: string): LabelPeers {
  const requirements = requirementsOf(selector);
  return normalized(namespace === "" ? requirements : [...requirements, ofNamespace(namespace)]);
}

function ofNamespace(namespace: string): Requirement {
  return { key: NAMESPACE_LABEL, operator: "In", values: [namespace] };
}

export function selectorId(selector: PeerSelector): SelectorId {
  return contentHash(canonicalJson(selector.kind === "labels" ? selector.requirements : selector));
}

/**
 * Whether an identity with these labels is selected. What is no pod (no label of source `k8s`: the host, the world) is
 * selected only by its reserved label, never by what it lacks, as in `app notin (x)`.
 */
export function selects(selector: LabelPeers, labels: Labels): boolean {
  if (!hasPodLabels(labels) && !selector.requirements.some(({ key }) => key.startsWith("reserved:"))) return false;
  return selector.requirements.every((requirement) => meets(requirement, labels));
}

/**
 * Whether the selector asks for a churning label of which this identity does not tell, and what else it asks for is met:
 * pods of it get an identity that tells, and that one is selected or not.
 */
export function maySelect(selector: LabelPeers, labels: Labels): boolean {
  const told = selector.requirements.filter(({ key }) => isTold(key, labels));
  return told.length < selector.requirements.length && selects({ kind: "labels", requirements: told }, labels);
}

/** What a selector asks of a namespace, and the churning keys that it asks for of the pods there. */
export interface Reach {
  readonly namespaces: LabelPeers;
  readonly keys: readonly string[];
}

/** undefined for a selector that names no churning key. */
export function reachOf({ requirements }: LabelPeers): Reach | undefined {
  const keys = requirements.filter(({ key }) => !key.startsWith(NODE_PREFIX)).map(({ key }) => splitLabelKey(key)[1]).filter(isChurning);
  if (keys.length === 0) return undefined;
  return { keys, namespaces: { kind: "labels", requirements: requirements.filter(({ key }) => namesNamespace(key)) } };
}

/**
 * Whom a denial by churning labels means besides: pods that meet the rest of it and whose identity does not tell of such
 * a label. They may be meant, and no path stays open because it is not known yet.
 */
export function untoldPeers({ requirements }: LabelPeers): readonly LabelPeers[] {
  const isOfPods = ({ key }: Requirement): boolean => isChurning(splitLabelKey(key)[1]);
  const rest = requirements.filter((requirement) => !isOfPods(requirement));
  const names = new Set(requirements.filter(isOfPods).map(({ key }) => splitLabelKey(key)[1]));
  return [...names].map((name) => normalized([...rest, { key: NAMED_PREFIX + name, operator: "DoesNotExist", values: [] }]));
}

/** Whether a label is told is itself told of every identity. */
function isTold(key: string, labels: Labels): boolean {
  const name = splitLabelKey(key)[1];
  return key.startsWith(NAMED_PREFIX) || !isChurning(name) || key.startsWith(NODE_PREFIX) || labels.has(NAMED_PREFIX + name);
}

function hasPodLabels(labels: Labels): boolean {
  for (const key of labels.keys()) if (key.startsWith("k8s:")) return true;
  return false;
}

/** As Kubernetes label selectors: NotIn holds where the key is absent. Of what labels do not tell nothing holds. */
function meets(requirement: Requirement, labels: Labels): boolean {
  const value = valueOf(requirement.key, labels);
  switch (requirement.operator) {
    case "In":
      return value !== undefined && requirement.values.includes(value);
    case "NotIn":
      return value === undefined ? isTold(requirement.key, labels) : !requirement.values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined && isTold(requirement.key, labels);
  }
}

/** `any:` is the source k8s: the only one whose labels a workload can have. Reserved labels need their source named. */
function valueOf(key: string, labels: Labels): string | undefined {
  return labels.get(fullKey(key));
}

/** Whether the selector means namespaces of a list of names alone. The API server labels each with its name, and lets nobody change that. */
export function listsNamespaces({ requirements }: LabelPeers): boolean {
  return requirements.some(({ key, operator }) => operator === "In" && [NAMESPACE_LABEL, `${NAMESPACE_LABELS_PREFIX}kubernetes.io/metadata.name`].includes(fullKey(key)));
}

/**
 * Labels by which to find whom it selects: for each requirement of single values, the labels of which a subject has one.
 * A pod's own labels come before those of its namespace, which more pods have.
 */
export function anchorsOf({ requirements }: LabelPeers): readonly (readonly string[])[] {
  const named = requirements.filter(({ operator }) => operator === "In");
  const ofNamespaces = named.filter(({ key }) => namesNamespace(key));
  return [...named.filter((one) => !ofNamespaces.includes(one)), ...ofNamespaces].map(({ key, values }) => values.map((value) => labelText(fullKey(key), value)));
}

/** Of a label as an identity has it, with its source. */
export function labelText(key: string, value: string): string {
  return `${key}=${value}`;
}

function fullKey(key: string): string {
  const [source, name] = splitLabelKey(key);
  return source === "any" ? `k8s:${name}` : key;
}

function namesNamespace(key: string): boolean {
  const full = fullKey(key);
  return full === NAMESPACE_LABEL || full.startsWith(NAMESPACE_LABELS_PREFIX);
}

/** Keys with their sources. */
export function requirementsOf(selector: LabelSelector): Requirement[] {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) requirements.push({ key: withSource(key), operator: "In", values: [value] });
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    requirements.push({ key: withSource(key), operator, values: [...new Set(values ?? [])].sort() });
  }
  return requirements;
}

function withSource(key: string): string {
  return splitLabelKey(key).join(":");
}

/** Equal selectors get equal ids: requirements in order, each once. */
export function normalized(requirements: readonly Requirement[]): LabelPeers {
  const byText = new Map(requirements.map((requirement) => [canonicalJson(requirement), requirement]));
  return { kind: "labels", requirements: [...byText.keys()].sort().flatMap((text) => byText.get(text) ?? []) };
}
