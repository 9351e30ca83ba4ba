/* Generated from crds/ciliumencryptions.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * Encryption of what pods of different nodes say to each other. The operator keeps the one named default as the chart's values encryption.* say; others say for the nodes that they select what is to be different there.
 */
export interface CiliumEncryption {
  /**
   * Version of this representation, cilium.io/v2alpha1.
   */
  apiVersion?: string;
  /**
   * CiliumEncryption.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * What is wanted. Of what an object leaves out the chart's values hold.
   */
  spec: {
    /**
     * How it is encrypted; wireguard is the only type.
     */
    type: "wireguard";
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
     * UDP port between nodes; the next one is in use too while keys are replaced.
     */
    port?: number;
    /**
     * Seconds after which a silent node says that it is there; 0, never.
     */
    persistentKeepalive?: number;
    /**
     * Age at which keys are replaced; 0, only when the annotation cilium.io/keys-not-before asks for it. Where one node begins all others follow, so that the least of all nodes counts.
     */
    keyRotationSeconds?: number;
    /**
     * Who encrypts. auto, the kernel where it can, else a process; always a process; never one.
     */
    userspace?: "auto" | "always" | "never";
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
     * Nodes that encrypt to all others and drop what is not encrypted, such as 3/3; of all nodes, or where the object selects some, of those for which it speaks.
     */
    nodes: string;
    /**
     * Nodes whose kernel encrypts.
     */
    kernel: number;
    /**
     * Nodes on which a process (wireguard-go) encrypts, as their kernel has no WireGuard.
     */
    userspace: number;
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
     * Ready, whether all its nodes encrypt; Conflict, whether another object speaks for some that it selects.
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
       * Of Ready, Encrypted, Preparing, Unreachable, NotEnabled, NoNodes, Overridden or Invalid; of Conflict, Overridden or None.
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
