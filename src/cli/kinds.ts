/** The kinds the command reads, with the fields it prints. */
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { resourceType, type KubeObject } from "../kube/resource.ts";

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface Node extends KubeObject {
  readonly spec?: { readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly addresses?: readonly { readonly type: string; readonly address: string }[] };
}

/** What services get their addresses from. */
export interface ServiceCidr extends KubeObject {
  readonly spec?: { readonly cidrs?: readonly string[] };
}

export interface NodeSelectorTerm {
  readonly matchFields?: readonly { readonly key: string; readonly values?: readonly string[] }[];
}

export interface Pod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly affinity?: { readonly nodeAffinity?: { readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms?: readonly NodeSelectorTerm[] } } };
    readonly containers?: readonly { readonly name: string; readonly image?: string }[];
  };
  readonly status?: { readonly phase?: string; readonly podIP?: string; readonly conditions?: readonly Condition[] };
}

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: string;
  readonly [field: string]: unknown;
}

export interface PodTemplate {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly containers: readonly Container[]; readonly [field: string]: unknown };
}

export interface DaemonSet extends KubeObject {
  readonly spec?: { readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }; readonly template: PodTemplate };
  readonly status?: { readonly desiredNumberScheduled?: number; readonly numberReady?: number; readonly observedGeneration?: number };
}

export interface Deployment extends KubeObject {
  readonly spec?: { readonly replicas?: number };
  readonly status?: { readonly readyReplicas?: number };
}

export const NODES = resourceType<Node>("", "v1", "nodes", "Node", false);
export const SERVICE_CIDRS = resourceType<ServiceCidr>("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false);
export const PODS = resourceType<Pod>("", "v1", "pods", "Pod", true);
export const DAEMON_SETS = resourceType<DaemonSet>("apps", "v1", "daemonsets", "DaemonSet", true);
export const DEPLOYMENTS = resourceType<Deployment>("apps", "v1", "deployments", "Deployment", true);
export const ENDPOINTS = resourceType<CiliumEndpoint>("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint", true);
export const NODE_STATES = resourceType<CiliumNodeState>("cilium.io", "v2alpha1", "ciliumnodestates", "CiliumNodeState", false);

export function conditionIs(conditions: readonly Condition[] | undefined, type: string, status: string): boolean {
  return conditions?.some((condition) => condition.type === type && condition.status === status) ?? false;
}
