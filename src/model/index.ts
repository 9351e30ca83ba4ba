/** What pods are: labels, identities, and the snapshot that the compiler reads. Pure: no I/O, no clock. */
export * from "./identities.ts";
export * from "./labels.ts";
export type { CiliumPolicyRow, ClusterPolicyRow, KubernetesPolicyRow, PolicyRow, Referents, Snapshot } from "./snapshot.ts";
export { contentOf, lastValid, versionOf } from "./policy-version.ts";
export type { PolicyObject, PolicyVersion } from "./policy-version.ts";
export { PORT_PROTOCOLS, portNames } from "./port-names.ts";
export type { PortName } from "./port-names.ts";
