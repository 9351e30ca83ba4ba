/** Our kinds and the fields of Kubernetes' that we read: types, schemas, the validator. It decides nothing. */
export * from "./core.ts";
export { CRDS_DIRECTORY, readCrds, schemaOf } from "./crds.ts";
export type { CustomResourceDefinition } from "./crds.ts";
export type { CiliumEndpoint } from "./gen/ciliumendpoints.ts";
export type { CiliumIdentity } from "./gen/ciliumidentities.ts";
export type { CiliumNetworkPolicy } from "./gen/ciliumnetworkpolicies.ts";
export type { CiliumNode } from "./gen/ciliumnodes.ts";
export type { CiliumNodeState } from "./gen/ciliumnodestates.ts";
export * from "./label-keys.ts";
export type { KubeObject, ObjectMeta, OwnerReference } from "./meta.ts";
export { Validator, formatProblems } from "./validate.ts";
export type { Problem } from "./validate.ts";
