/**
 * targets: one file per kernel resource, and apply.ts, which holds the order in which they are written.
 *
 * Imports kernel, reconcile, compile and lib. It must not talk to Kubernetes, and keeps no state that it
 * could not read back from the kernel.
 */
export type * from "./desired.ts";
