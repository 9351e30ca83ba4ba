/* Generated from crds/ciliumidentities.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * The number that stands for a set of security-relevant labels. Its name is the number; only the operator writes it.
 */
export interface CiliumIdentity {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * CiliumIdentity.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * Label key with its source, such as k8s:app -> value. A set of labels never changes its number.
   */
  "security-labels": {
    /**
     * Value of the label.
     */
    [k: string]: string;
  };
}
