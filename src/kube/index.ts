/**
 * The API server: the only folder that speaks HTTP to it. It knows nothing of policies; it hands out current objects
 * (Source), writes single objects (KubeClient), elects a leader and records events.
 *
 *   ServiceAccount or KubeAccess (access.ts) -> HttpTransport -> KubeClient, Reflector
 *
 * access.ts and operator.ts stand apart: they load @kubernetes/client-node.
 */
export { KubeClient } from "./client.ts";
export type { DeleteOptions, ListOptions, ListResult } from "./client.ts";
export { ServiceAccount } from "./credentials.ts";
export type { Credentials } from "./credentials.ts";
export { ApiError, UnreachableError, isConflict, isGone, isNotFound, isRefused } from "./errors.ts";
export { KubeEventRecorder } from "./events.ts";
export type { EventRecorder } from "./events.ts";
export * from "./kinds.ts";
export { LeaderElection } from "./lease.ts";
export type { Leadership } from "./lease.ts";
export { Reflector } from "./reflector.ts";
export type { ReflectorOptions } from "./reflector.ts";
export { apiVersionOf, keyOf, objectPath, refOf } from "./resource.ts";
export type { KubeObject, ObjectMeta, ObjectRef, OwnerReference, ResourceType } from "./resource.ts";
export type { Source, SourceListener } from "./source.ts";
export { HttpTransport } from "./transport.ts";
export type { Transport } from "./transport.ts";
