/**
 * targets: one file per kernel resource, and apply.ts, which holds the order in which they are written.
 *
 * Imports kernel, reconcile, compile and lib. It must not talk to Kubernetes, and keeps no state that it
 * could not read back from the kernel.
 */
export { identityOfNode, outsideApiServers, ownLabels } from "./api-server-peers.ts";
export { MapApplier } from "./apply.ts";
export { rememberOpen } from "./open-flows.ts";
export type { OpenTables, Remembered } from "./open-flows.ts";
export type { ApplierOptions, MapName } from "./apply.ts";
export { FlowCollector, PRESSURE, nextWalkMs, quotaStepNs } from "./flows.ts";
export { ownerOf } from "./policy.ts";
export { pruneRuleHits } from "./rule-hits.ts";
export type { FlowsReport } from "./flows.ts";
export { RESERVED_LABELS, selects } from "./resolve.ts";
export type * from "./desired.ts";
