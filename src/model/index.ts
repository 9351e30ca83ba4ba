/** What pods are: labels, identities, and the snapshot that the compiler reads. Pure: no I/O, no clock. */
export * from "./identities.ts";
export * from "./labels.ts";
export type { CiliumPolicyRow, KubernetesPolicyRow, PolicyRow, Snapshot } from "./snapshot.ts";
