/* Generated from crds/ciliumroutings.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * How packets go between pods of different nodes, and to the outside. The operator keeps the one named default as the chart's values say.
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
   * What is wanted.
   */
  spec: {
    /**
     * tunnel, where packets for pods of other nodes go inside packets between nodes; native, where the network's own routes lead to them (routingMode).
     */
    mode: "tunnel" | "native";
    /**
     * With mode tunnel.
     */
    tunnel: {
      /**
       * How packets are wrapped (tunnelProtocol).
       */
      protocol: "vxlan";
      /**
       * UDP port of every node (tunnelPort).
       */
      port: number;
    };
    /**
     * With mode native.
     */
    native: {
      /**
       * Each node's agent writes the routes to the other nodes' pods; else the network must know them (autoDirectNodeRoutes).
       */
      directNodeRoutes: boolean;
    };
    /**
     * What leaves the cluster with its node's address.
     */
    masquerade: {
      /**
       * Packets of IPv4 (enableIPv4Masquerade).
       */
      ipv4: boolean;
      /**
       * Packets of IPv6 (enableIPv6Masquerade).
       */
      ipv6: boolean;
      /**
       * CIDRs, besides those of pods, that see the pods' own addresses.
       *
       * Items: IPv4 or IPv6 block.
       */
      excludedCIDRs: string[];
    };
  };
  /**
   * What holds, as the nodes' agents say.
   */
  status?: {
    /**
     * Generation of the object that this status is about.
     */
    observedGeneration?: number;
    /**
     * Nodes that route as the spec says, of all nodes, such as 3/3.
     */
    nodes: string;
    /**
     * Nodes that route by tunnel now.
     */
    tunnel: number;
    /**
     * Nodes that route natively now.
     */
    native: number;
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
     * Ready, whether all nodes route as the spec says.
     *
     * Items: One condition.
     */
    conditions: {
      /**
       * Ready.
       */
      type: string;
      /**
       * True, False or Unknown.
       */
      status: "True" | "False" | "Unknown";
      /**
       * Routed, NotRouted or NotInForce.
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
