/**
 * Security-relevant labels: what a pod is, for policy. A label has a source (`k8s:`), so that nothing that a user may
 * write can pass for something that only the system says (`reserved:`).
 */
import type { Namespace, Pod } from "../api/core.ts";
import { isChurning, isReserved } from "../api/label-keys.ts";

/**
 * `node:topology.kubernetes.io/zone`: a label of the Node, as policies of nodes see it. Nobody can select pods by this
 * source.
 */
export const NODE_PREFIX = "node:";
export const HOST_LABEL = "reserved:host";

/** Label key with its source -> value, sorted by key. Equal sets are equal texts of `labelsKey`. */
export type Labels = ReadonlyMap<string, string>;

export const NAMESPACE_LABEL = "k8s:io.kubernetes.pod.namespace";
export const NAMESPACE_LABELS_PREFIX = "k8s:io.cilium.k8s.namespace.labels.";
export const CLUSTER_LABEL = "k8s:io.cilium.k8s.policy.cluster";
export const SERVICE_ACCOUNT_LABEL = "k8s:io.cilium.k8s.policy.serviceaccount";

/**
 * `named:pod-template-hash`: the labels tell whether the pod has that churning label, and which. Nobody can write or
 * select by this source. An identity without the mark tells nothing of the key, not even that it is absent.
 */
export const NAMED_PREFIX = "named:";

/**
 * `pod:io.cilium.k8s.policy.cluster`: a label of the pod's own with a key that means something else when the system says
 * it. Only NetworkPolicy, which knows labels without a source, can select by it.
 */
export const OWN_PREFIX = "pod:";

/** The chart refuses every other `cluster.name`. */
export const CLUSTER_NAME = "default";

/** The labels that make the identity of the pod. Both must be of the same namespace. `named`: churning keys that policies name there. */
export function identityLabels(pod: Pod, namespace: Namespace, named: readonly string[] = []): Labels {
  const labels: [string, string][] = [
    [NAMESPACE_LABEL, namespace.metadata.name],
    [CLUSTER_LABEL, CLUSTER_NAME],
    [SERVICE_ACCOUNT_LABEL, pod.spec?.serviceAccountName ?? "default"],
  ];
  for (const [key, value] of Object.entries(namespace.metadata.labels ?? {})) labels.push([NAMESPACE_LABELS_PREFIX + key, value]);
  for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) {
    if (!isChurning(key)) labels.push([isReserved(key) ? OWN_PREFIX + key : `k8s:${key}`, value]);
  }
  return withNamed(sortedLabels(labels), churningLabels(pod), named);
}

/** The pod's labels that are no part of its identity unless a policy names them, by key without source. */
export function churningLabels(pod: Pod): Labels {
  return sortedLabels(Object.entries(pod.metadata.labels ?? {}).filter(([key]) => isChurning(key)));
}

export function withNamed(labels: Labels, churning: Labels, named: readonly string[]): Labels {
  if (named.length === 0) return labels;
  const own = named.flatMap((key): [string, string][] => {
    const value = churning.get(key);
    return [[NAMED_PREFIX + key, ""], ...(value === undefined ? [] : [[`k8s:${key}`, value] as [string, string]])];
  });
  return sortedLabels([...labels, ...own]);
}

/** The churning keys of which an identity with these labels tells. */
export function namedKeys(labels: Labels): readonly string[] {
  return [...labels.keys()].filter((key) => key.startsWith(NAMED_PREFIX)).map((key) => key.slice(NAMED_PREFIX.length));
}

/** A namespace as selectors see it: its name and labels, as its pods have them. */
export function namespaceLabels(name: string, labels: Readonly<Record<string, string>>): Labels {
  return sortedLabels([[NAMESPACE_LABEL, name], ...Object.entries(labels).map(([key, value]) => [NAMESPACE_LABELS_PREFIX + key, value] as const)]);
}

/** A node's own network namespace as policies of nodes see it. */
export function hostLabels(labels: Readonly<Record<string, string>>): Labels {
  return sortedLabels([[HOST_LABEL, ""], ...Object.entries(labels).map(([key, value]) => [NODE_PREFIX + key, value] as const)]);
}

export function sortedLabels(labels: Iterable<readonly [string, string]>): Labels {
  return new Map([...labels].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** Labels as the field `security-labels` of a CiliumIdentity holds them. */
export function labelsOf(object: Readonly<Record<string, string>>): Labels {
  return sortedLabels(Object.entries(object));
}

/** The other direction; safe for any key, also `__proto__`. */
export function labelsObject(labels: Labels): Record<string, string> {
  return Object.fromEntries(labels);
}

/** One text per set: equal sets, equal texts; different sets, different texts. */
export function labelsKey(labels: Labels): string {
  return JSON.stringify([...labels]);
}

/** `source:key=value`, sorted: how people read them. */
export function formatLabels(labels: Labels): string[] {
  return [...labels].map(([key, value]) => `${key}=${value}`);
}
