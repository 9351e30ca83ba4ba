/* Generated from crds/ciliumencryptions.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * Encryption of what pods of different nodes say to each other. The operator keeps the one named default as the chart's values encryption.* say.
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
   * What is wanted.
   */
  spec: {
    /**
     * How it is encrypted; wireguard is the only type.
     */
    type: "wireguard";
    /**
     * UDP port between nodes; the next one is in use too while keys are replaced.
     */
    port?: number;
    /**
     * Seconds after which a silent node says that it is there; 0, never.
     */
    persistentKeepalive?: number;
    /**
     * Age at which keys are replaced; 0, only when the annotation cilium.io/keys-not-before asks for it.
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
     * Generation of the object that this status is about.
     */
    observedGeneration?: number;
    /**
     * Nodes that encrypt to all others and drop what is not encrypted, of all nodes, such as 3/3.
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
     * Ready, whether all nodes encrypt.
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
       * Encrypted, Preparing, Unreachable or NotEnabled.
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
