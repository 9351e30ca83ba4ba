/** Keys of labels: their sources, and those that no user may set or select by. */

/** Written by the system; a pod that carries such a key itself must not pass for something else. */
const RESERVED_KEYS: readonly string[] = ["io.kubernetes.pod.namespace", "io.cilium.k8s."];

/** They differ from pod to pod of one workload, or with each rollout: as part of an identity they would exhaust the numbers. */
const CHURNING_KEYS: ReadonlySet<string> = new Set([
  "pod-template-hash",
  "pod-template-generation",
  "controller-revision-hash",
  "controller-uid",
  "job-name",
  "statefulset.kubernetes.io/pod-name",
  "apps.kubernetes.io/pod-index",
]);
const CHURNING_PREFIXES: readonly string[] = ["batch.kubernetes.io/"];

/** The label is part of an identity only while a policy that reaches the pod's namespace names it. `key` is without its source. */
export function isChurning(key: string): boolean {
  return CHURNING_KEYS.has(key) || CHURNING_PREFIXES.some((prefix) => key.startsWith(prefix));
}

/** Only the system writes labels with this key. `key` is without its source. */
export function isReserved(key: string): boolean {
  return RESERVED_KEYS.some((reserved) => (reserved.endsWith(".") ? key.startsWith(reserved) : key === reserved));
}

/** `k8s:app` -> ["k8s", "app"]; a key without source is of the source `any`. */
export function splitLabelKey(key: string): readonly [source: string, name: string] {
  const colon = key.indexOf(":");
  return colon < 0 ? ["any", key] : [key.slice(0, colon), key.slice(colon + 1)];
}
