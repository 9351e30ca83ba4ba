/** The kinds whose objects are policies. */
export type PolicyKind = "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" | "NetworkPolicy" | "ClusterNetworkPolicy";
