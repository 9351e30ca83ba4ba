/* Generated from crds/ciliumnodestates.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * The compiled desired state of a node. spec.<node> is the manifest and p-<hash>.<node> are its parts, written by the operator; status.<node> says what was applied, written by the agent.
 */
export interface CiliumNodeState {
  /**
   * Version of this representation, cilium.io/v2alpha1.
   */
  apiVersion?: string;
  /**
   * CiliumNodeState.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * Name of the node.
   */
  node: string;
  /**
   * In spec.<node>, the parts that make one state.
   */
  manifest?: {
    /**
     * Grows by one with every change of the state.
     */
    revision: number;
    /**
     * Hash over the hashes of the parts; equal states have equal hashes.
     */
    hash: string;
    /**
     * Version of the format of the parts.
     */
    format: number;
    /**
     * UID of the Node that this is for; another incarnation of the name must not apply it.
     */
    nodeUID: string;
    /**
     * Term of the operator that wrote it; a lower one never replaces a higher one.
     */
    leaseTransitions: number;
    /**
     * All parts of the state.
     *
     * Items: One part.
     */
    parts: {
      /**
       * Name of the CiliumNodeState object that it is; with data no object has the name.
       */
      name: string;
      /**
       * Hash of its data.
       */
      hash: string;
      /**
       * The part itself, canonical JSON text; absent when it is an object of its own.
       */
      data?: string;
    }[];
  };
  /**
   * In p-<hash>.<node>, one piece of the state.
   */
  part?: {
    /**
     * Hash of data.
     */
    hash: string;
    /**
     * Canonical JSON text, 64 KiB unless one record is larger.
     */
    data: string;
  };
  /**
   * In status.<node>, what the agent applied.
   */
  status?: {
    /**
     * The manifest's revision that is in force, as far as there are no failures.
     */
    appliedRevision: number;
    /**
     * Hash of that manifest.
     */
    appliedHash: string;
    /**
     * UID of the Node that the agent runs on.
     */
    nodeUID?: string;
    /**
     * Formats of parts that the agent reads.
     *
     * Items: Version of a format.
     */
    formats?: number[];
    /**
     * What could not be applied, the first twenty.
     *
     * Items: One failure.
     */
    failures?: {
      /**
       * Kernel resource or part of the state, such as policy-map.
       */
      part: string;
      /**
       * Cause and remedy.
       */
      message: string;
    }[];
    /**
     * What will fail when it goes on, such as a kernel map that is nearly full.
     *
     * Items: One warning.
     */
    warnings?: {
      /**
       * Kernel resource, such as map policy.
       */
      part: string;
      /**
       * Cause and remedy.
       */
      message: string;
    }[];
    /**
     * Policies that are not in force because of the failures; absent with failures, all of them.
     *
     * Items: UID of the policy.
     */
    failedPolicies?: string[];
  };
}
