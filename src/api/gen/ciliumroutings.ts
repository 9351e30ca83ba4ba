/* Generated from crds/ciliumroutings.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * How packets go between pods of different nodes, and to the outside. The operator keeps the one named default as the chart's values say; others say for the nodes that they select what is to be different there.
 */
export interface CiliumRouting {
  /**
   * Version of this representation, cilium.io/v2alpha1.
   */
  apiVersion?: string;
  /**
   * CiliumRouting.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * What is wanted. Of what an object leaves out the chart's values hold.
   */
  spec: {
    /**
     * Of several objects that select a node the one with the greatest speaks for it, of equal ones the oldest. Absent, 0.
     */
    priority?: number;
    /**
     * Which nodes it means, by their labels. Empty, all.
     */
    nodeSelector?: {
      /**
       * Labels that a node must have.
       */
      matchLabels?: {
        [k: string]: string;
      };
      /**
       * Further conditions, all of which a node must meet.
       *
       * Items: One condition.
       */
      matchExpressions?: {
        /**
         * Key of the label.
         */
        key: string;
        /**
         * How the label is compared.
         */
        operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
        /**
         * Values of In and NotIn.
         *
         * Items: One value.
         */
        values?: string[];
      }[];
    };
    /**
     * tunnel, where packets for pods of other nodes go inside packets between nodes; native, where routes of the network lead to them; auto, native to the nodes on a shared segment and the tunnel to all others (routingMode). Two nodes send to each other without a tunnel when both may.
     */
    mode: "tunnel" | "native" | "auto";
    /**
     * The tunnel, which every node can receive by.
     */
    tunnel?: {
      /**
       * How packets are wrapped (tunnelProtocol).
       */
      protocol?: "vxlan";
      /**
       * UDP port of every node (tunnelPort). It is one for all.
       */
      port?: number;
    };
    /**
     * With mode native.
     */
    native?: {
      /**
       * Each node's agent writes the routes to the other nodes' pods; else the network must know them (autoDirectNodeRoutes). With mode auto it always does.
       */
      directNodeRoutes?: boolean;
      /**
       * Networks in which pods' addresses are routed, so that they are seen there (ipv4NativeRoutingCIDR, ipv6NativeRoutingCIDR).
       *
       * Items: IPv4 or IPv6 block.
       */
      cidrs?: string[];
    };
    /**
     * What leaves the cluster with its node's address.
     */
    masquerade?: {
      /**
       * Packets of IPv4 (enableIPv4Masquerade).
       */
      ipv4?: boolean;
      /**
       * Packets of IPv6 (enableIPv6Masquerade).
       */
      ipv6?: boolean;
      /**
       * CIDRs, besides those of pods, that see the pods' own addresses.
       *
       * Items: IPv4 or IPv6 block.
       */
      excludedCIDRs?: string[];
      /**
       * Of the node's addresses the first that is in one of these is the one under which pods leave, of each family that is named here (masqueradeSourceCIDRs). Absent or empty, that of the device by which they do. To other nodes it is always that.
       *
       * Items: IPv4 or IPv6 block.
       */
      sourceCIDRs?: string[];
    };
  };
  /**
   * What holds, as the nodes' agents say.
   */
  status?: {
    /**
     * Generation of the object that this status is about; -1 as long as the operator has not looked at it.
     */
    observedGeneration?: number;
    /**
     * Nodes that route as the spec says, such as 3/3; of those for which the object speaks.
     */
    nodes: string;
    /**
     * Of these, nodes that route by tunnel now.
     */
    tunnel: number;
    /**
     * Of these, nodes that route natively now.
     */
    native: number;
    /**
     * Of these, nodes that route natively to the nodes of their segment now.
     */
    auto?: number;
    /**
     * The last valid spec, in JSON, which is in force while the present one is not valid.
     */
    lastValid?: string;
    /**
     * The first ten nodes that are not counted, by name.
     *
     * Items: One node.
     */
    failingNodes?: {
      /**
       * Name of the node.
       */
      name: string;
      /**
       * What is missing.
       */
      message: string;
    }[];
    /**
     * Ready, whether its nodes route as the spec says; Conflict, whether another object speaks for some that it selects.
     *
     * Items: One condition.
     */
    conditions: {
      /**
       * Ready or Conflict.
       */
      type: string;
      /**
       * True, False or Unknown.
       */
      status: "True" | "False" | "Unknown";
      /**
       * Of Ready, Routed, NotRouted, NotInForce, NoNodes, Overridden or Invalid; of Conflict, Overridden or None.
       */
      reason: string;
      /**
       * The reason in a sentence.
       */
      message: string;
      /**
       * When the status last became what it is.
       */
      lastTransitionTime: string;
      /**
       * Generation of the object that this condition is about.
       */
      observedGeneration?: number;
    }[];
  };
}
