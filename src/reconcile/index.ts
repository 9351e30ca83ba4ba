/**
 * reconcile: desired − actual, and how it is written, tried again and pruned, for any kernel resource.
 *
 * Pure but for the Target that it is given. It must not know what the entries mean.
 */
export { Delta } from "./delta.ts";
export { MapReconciler } from "./reconciler.ts";
export type { ReconcilerOptions, StepResult } from "./reconciler.ts";
export { CapacityExceeded, sameFields } from "./target.ts";
export type { Failure, Target } from "./target.ts";
export { Moves, isTracked } from "./tracked.ts";
export type { Rows, Tracked } from "./tracked.ts";
