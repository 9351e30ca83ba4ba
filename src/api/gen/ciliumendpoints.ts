/* Generated from crds/ciliumendpoints.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * A pod that the agent of its node manages. Named as the pod and owned by it; written by the agent.
 */
export interface CiliumEndpoint {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * CiliumEndpoint.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * What the agent knows of the pod.
   */
  status?: {
    /**
     * Number of the endpoint on its node, 1 to 65535.
     */
    id: number;
    /**
     * ready when its policy is in force; waiting-for-identity or waiting-for-policy while it is closed; disconnecting while it goes.
     */
    state: "waiting-for-identity" | "waiting-for-policy" | "ready" | "disconnecting";
    /**
     * The security identity.
     */
    identity: {
      /**
       * Number of the identity; 0 while it is not known.
       */
      id: number;
      /**
       * Security-relevant labels as source:key=value, sorted.
       *
       * Items: One label.
       */
      labels?: string[];
    };
    /**
     * What the pod calls its ports, for rules that name them. Of two containers' ports with one name the first counts.
     *
     * Items: One port.
     */
    "named-ports"?: {
      /**
       * Name of the port.
       */
      name: string;
      /**
       * Number of the port, 1 to 65535.
       */
      port: number;
      /**
       * TCP, UDP or SCTP.
       */
      protocol: "TCP" | "UDP" | "SCTP";
    }[];
    /**
     * Where the pod is reached.
     */
    networking: {
      /**
       * Addresses of the pod, one item for each pair of families.
       *
       * Items: Addresses of one interface.
       */
      addressing: {
        /**
         * IPv4 address.
         */
        ipv4?: string;
        /**
         * IPv6 address.
         */
        ipv6?: string;
      }[];
      /**
       * Address of the node.
       */
      node: string;
      /**
       * Name of the node.
       */
      nodeName: string;
    };
  };
}
