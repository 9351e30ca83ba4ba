/** Every kind that the product reads or writes. */
import type { EndpointSlice, KubeEvent, Lease, Namespace, Node, Pod, Service } from "../api/core.ts";
import type { CiliumCIDRGroup } from "../api/gen/ciliumcidrgroups.ts";
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { CiliumIdentity } from "../api/gen/ciliumidentities.ts";
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import type { CiliumClusterwideNetworkPolicy } from "../api/gen/ciliumclusterwidenetworkpolicies.ts";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import type { ClusterNetworkPolicy } from "../api/gen/clusternetworkpolicies.ts";
import type { NetworkPolicy } from "../api/network-policy.ts";
import { resourceType } from "./resource.ts";

export const PODS = resourceType<Pod>("", "v1", "pods", "Pod", true);
export const NODES = resourceType<Node>("", "v1", "nodes", "Node", false);
export const NAMESPACES = resourceType<Namespace>("", "v1", "namespaces", "Namespace", false);
export const SERVICES = resourceType<Service>("", "v1", "services", "Service", true);
export const EVENTS = resourceType<KubeEvent>("", "v1", "events", "Event", true);
export const ENDPOINT_SLICES = resourceType<EndpointSlice>("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
export const LEASES = resourceType<Lease>("coordination.k8s.io", "v1", "leases", "Lease", true);
export const CRDS = resourceType("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false);

export const CILIUM_NETWORK_POLICIES = resourceType<CiliumNetworkPolicy>("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", true);
export const CILIUM_CLUSTERWIDE_NETWORK_POLICIES = resourceType<CiliumClusterwideNetworkPolicy>(
  "cilium.io",
  "v2",
  "ciliumclusterwidenetworkpolicies",
  "CiliumClusterwideNetworkPolicy",
  false,
);
export const CILIUM_CIDR_GROUPS = resourceType<CiliumCIDRGroup>("cilium.io", "v2", "ciliumcidrgroups", "CiliumCIDRGroup", false);
export const NETWORK_POLICIES = resourceType<NetworkPolicy>("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true);
export const CLUSTER_NETWORK_POLICIES = resourceType<ClusterNetworkPolicy>("policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy", false);
export const CILIUM_IDENTITIES = resourceType<CiliumIdentity>("cilium.io", "v2", "ciliumidentities", "CiliumIdentity", false);
export const CILIUM_ENDPOINTS = resourceType<CiliumEndpoint>("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint", true);
export const CILIUM_NODES = resourceType<CiliumNode>("cilium.io", "v2", "ciliumnodes", "CiliumNode", false);
export const CILIUM_ROUTINGS = resourceType<CiliumRouting>("cilium.io", "v2alpha1", "ciliumroutings", "CiliumRouting", false);
export const CILIUM_ENCRYPTIONS = resourceType<CiliumEncryption>("cilium.io", "v2alpha1", "ciliumencryptions", "CiliumEncryption", false);
export const CILIUM_NODE_STATES = resourceType<CiliumNodeState>("cilium.io", "v2alpha1", "ciliumnodestates", "CiliumNodeState", false);
