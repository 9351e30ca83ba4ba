/** The world of a cluster: the objects that policies are about, as the API server has them now. */
import { SLICES_WITHOUT_PODS } from "../api/core.ts";
import type { Sourced } from "../explain/index.ts";
import { CILIUM_CIDR_GROUPS, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, CILIUM_NETWORK_POLICIES, CILIUM_NODES, CLUSTER_NETWORK_POLICIES, ENDPOINT_SLICES, NAMESPACES, NETWORK_POLICIES, NODES, PODS, SERVICES } from "../kube/kinds.ts";
import { apiVersionOf, resourceType } from "../kube/resource.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import { readPolicyOptions } from "../compile/index.ts";
import type { PolicyOptions } from "../compile/index.ts";
import type { Cluster } from "./cluster.ts";

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const CONFIG_MAPS = resourceType<ConfigMap>("", "v1", "configmaps", "ConfigMap", true);
const SETTINGS = "cilium-config";
const READ: readonly ResourceType[] = [PODS, NAMESPACES, NODES, SERVICES, CILIUM_NODES, CILIUM_CIDR_GROUPS, CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES] as readonly ResourceType[];

/** Lists do not say the kind of their items. */
export async function readLive({ client }: Cluster): Promise<readonly Sourced[]> {
  const lists = await Promise.all(READ.map(async (type) => (await client.list(type)).items.map((object) => ({ object: { ...object, kind: type.kind, apiVersion: apiVersionOf(type) } }))));
  const slices = await client.list(ENDPOINT_SLICES, { labelSelector: SLICES_WITHOUT_PODS });
  return [...lists.flat(), ...slices.items.map((object) => ({ object: { ...object, kind: ENDPOINT_SLICES.kind } }))];
}

/** What the installation's settings make of policies. */
export async function livePolicyOptions({ client, namespace }: Cluster): Promise<PolicyOptions> {
  const settings = await client.get(CONFIG_MAPS, { namespace, name: SETTINGS });
  return readPolicyOptions((key) => settings?.data?.[key]);
}
