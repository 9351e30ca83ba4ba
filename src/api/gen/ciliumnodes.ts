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
    /**
     * What other nodes must know to encrypt what they send to this one. Absent while it does not encrypt.
     */
    encryption?: {
      /**
       * WireGuard's public key of the node, in base64. The private one never leaves the node.
       */
      publicKey: string;
      /**
       * UDP port of the node behind which this key is.
       */
      port?: number;
      /**
       * How many times the keys of the cluster were replaced before this one; absent, never. Nodes use keys of one epoch with each other.
       */
      epoch?: number;
      /**
       * When the key was made.
       */
      created?: string;
      /**
       * The key that replaces this one, while both are in use. It is behind a device and port of its own.
       */
      next?: {
        /**
         * WireGuard's public key, in base64.
         */
        publicKey: string;
        /**
         * UDP port of the node behind which this key is.
         */
        port: number;
        /**
         * That of the key before it, and one more.
         */
        epoch: number;
        /**
         * When the key was made.
         */
        created: string;
      };
    };
  };
  /**
   * What the node's agent says of its work.
   */
  status?: {
    /**
     * How the node routes to the pods of others.
     */
    routing?: {
      /**
       * Hash of all settings of routing that are in force.
       */
      settings: string;
      /**
       * Tunnel, through packets between nodes; Native, by the network's own routes; Auto, by those to nodes on its segment. The others send to it by what this says.
       */
      mode: "Tunnel" | "Native" | "Auto";
      /**
       * What of the node's routes and nftables is not as it must be.
       */
      message?: string;
    };
    /**
     * How far the node's encryption has come.
     */
    encryption?: {
      /**
       * Preparing, while some other node was never reached through WireGuard; Confirmed, when all were; Enforced, when what would leave in clear is dropped.
       */
      phase: "Preparing" | "Confirmed" | "Enforced";
      /**
       * Who encrypts. The kernel's own WireGuard; a process where the kernel has none; None, while there is no device.
       */
      device: "Kernel" | "Userspace" | "None";
      /**
       * Nodes that were reached through WireGuard since the device was made.
       */
      peers: number;
      /**
       * Name of the CiliumEncryption that speaks for the node. Absent, default.
       */
      object?: string;
      /**
       * Generation of that object by which the node goes. Absent of default, which the agents know as the chart's values.
       */
      objectGeneration?: number;
      /**
       * Greatest epoch of the keys with which the node sends to every other node. Absent while there is no such one.
       */
      sends?: number;
      /**
       * While the node's key is being replaced, which nodes that waits for.
       */
      rotation?: string;
      /**
       * What is missing.
       */
      message?: string;
    };
  };
}
