/* Generated from crds/ciliumcidrgroups.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * A named list of blocks of addresses outside the cluster. Policies name it, or its labels, where they would write the blocks.
 */
export interface CiliumCIDRGroup {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * CiliumCIDRGroup.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * The blocks.
   */
  spec: {
    /**
     * The blocks. Empty, none.
     *
     * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
     */
    externalCIDRs: string[];
  };
}
