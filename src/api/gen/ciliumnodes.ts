/* Generated from crds/ciliumnodes.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * What other nodes must know of a node to reach its pods. Named as the node and owned by it; written by its agent.
 */
export interface CiliumNode {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * CiliumNode.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * Addresses and pod address blocks of the node.
   */
  spec: {
    /**
     * Addresses of the node.
     *
     * Items: One address.
     */
    addresses: {
      /**
       * InternalIP is the node's own address, CiliumInternalIP its router's, the source of what the node sends to pods.
       */
      type: "InternalIP" | "CiliumInternalIP";
      /**
       * IPv4 or IPv6 address.
       */
      ip: string;
    }[];
    /**
     * Pod addresses.
     */
    ipam: {
      /**
       * Address blocks of the node's pods.
       *
       * Items: IPv4 or IPv6 block.
       */
      podCIDRs: string[];
    };
  };
}
