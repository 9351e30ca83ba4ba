/* Generated from crds/ciliumnetworkpolicies.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * Which traffic the pods of a namespace may receive and send, by the labels of their peers.
 */
export interface CiliumNetworkPolicy {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * CiliumNetworkPolicy.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * Several rules in one object. Not supported yet; write one policy for each.
   */
  specs?: {
    [k: string]: unknown;
  }[];
  /**
   * The pods that the policy selects and the traffic that they may have.
   */
  spec: {
    /**
     * Why the policy exists, for its readers.
     */
    description?: string;
    /**
     * Pods by their labels; an empty selector selects all pods of the namespace.
     */
    endpointSelector: {
      /**
       * Labels that a pod must have. A key may start with its source, k8s or any, and a colon.
       */
      matchLabels?: {
        /**
         * Value of the label.
         */
        [k: string]: string;
      };
      /**
       * Requirements on labels that a pod must meet, all of them.
       *
       * Items: One requirement on one label.
       */
      matchExpressions?: {
        /**
         * Key of the label. It may start with its source, k8s or any, and a colon.
         */
        key: string;
        /**
         * In and NotIn compare with values; Exists and DoesNotExist look for the key. NotIn holds also where the key is absent.
         */
        operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
        /**
         * Values for In and NotIn; absent for the others.
         *
         * Items: Value of the label.
         */
        values?: string[];
      }[];
    };
    /**
     * What the pods may receive. Present, even empty, it closes them for everything that no item allows.
     *
     * Items: Peers and ports that are allowed. An item without peers and ports allows nothing.
     */
    ingress?: {
      /**
       * Peers, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the namespace.
       */
      fromEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source, k8s or any, and a colon.
         */
        matchLabels?: {
          /**
           * Value of the label.
           */
          [k: string]: string;
        };
        /**
         * Requirements on labels that a pod must meet, all of them.
         *
         * Items: One requirement on one label.
         */
        matchExpressions?: {
          /**
           * Key of the label. It may start with its source, k8s or any, and a colon.
           */
          key: string;
          /**
           * In and NotIn compare with values; Exists and DoesNotExist look for the key. NotIn holds also where the key is absent.
           */
          operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
          /**
           * Values for In and NotIn; absent for the others.
           *
           * Items: Value of the label.
           */
          values?: string[];
        }[];
      }[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * Ports that are allowed.
         *
         * Items: One port.
         */
        ports: {
          /**
           * Number of the port, 1 to 65535, as a string. Named ports are not supported yet.
           */
          port: string;
          /**
           * TCP, UDP, or ANY for both; absent, ANY.
           */
          protocol?: "TCP" | "UDP" | "ANY";
          /**
           * Last port of a range. Not supported yet.
           */
          endPort?: number;
        }[];
        /**
         * Rules on HTTP, DNS or Kafka requests. Not supported yet.
         */
        rules?: {
          [k: string]: unknown;
        };
        /**
         * Names in the TLS handshake. Not supported yet.
         */
        serverNames?: {
          [k: string]: unknown;
        }[];
        /**
         * An Envoy listener. Not supported yet.
         */
        listener?: {
          [k: string]: unknown;
        };
        /**
         * TLS that ends at the proxy. Not supported yet.
         */
        terminatingTLS?: {
          [k: string]: unknown;
        };
        /**
         * TLS that starts at the proxy. Not supported yet.
         */
        originatingTLS?: {
          [k: string]: unknown;
        };
      }[];
      /**
       * Rules on HTTP, DNS or Kafka requests. Not supported yet.
       */
      rules?: {
        [k: string]: unknown;
      };
      /**
       * Deprecated in the language and not supported.
       */
      fromRequires?: {
        [k: string]: unknown;
      }[];
      /**
       * Address blocks. Not supported yet.
       */
      fromCIDR?: string[];
      /**
       * Address blocks with exceptions. Not supported yet.
       */
      fromCIDRSet?: {
        [k: string]: unknown;
      }[];
      /**
       * Named peers such as world or host. Not supported yet.
       */
      fromEntities?: string[];
      /**
       * Nodes by their labels. Not supported yet.
       */
      fromNodes?: {
        [k: string]: unknown;
      }[];
      /**
       * Groups of a cloud provider. Not supported yet.
       */
      fromGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * ICMP types. Not supported yet.
       */
      icmps?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet.
       */
      authentication?: {
        [k: string]: unknown;
      };
    }[];
    /**
     * What the pods may send. Present, even empty, it closes them for everything that no item allows.
     *
     * Items: Peers and ports that are allowed. An item without peers and ports allows nothing.
     */
    egress?: {
      /**
       * Peers, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the namespace.
       */
      toEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source, k8s or any, and a colon.
         */
        matchLabels?: {
          /**
           * Value of the label.
           */
          [k: string]: string;
        };
        /**
         * Requirements on labels that a pod must meet, all of them.
         *
         * Items: One requirement on one label.
         */
        matchExpressions?: {
          /**
           * Key of the label. It may start with its source, k8s or any, and a colon.
           */
          key: string;
          /**
           * In and NotIn compare with values; Exists and DoesNotExist look for the key. NotIn holds also where the key is absent.
           */
          operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
          /**
           * Values for In and NotIn; absent for the others.
           *
           * Items: Value of the label.
           */
          values?: string[];
        }[];
      }[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * Ports that are allowed.
         *
         * Items: One port.
         */
        ports: {
          /**
           * Number of the port, 1 to 65535, as a string. Named ports are not supported yet.
           */
          port: string;
          /**
           * TCP, UDP, or ANY for both; absent, ANY.
           */
          protocol?: "TCP" | "UDP" | "ANY";
          /**
           * Last port of a range. Not supported yet.
           */
          endPort?: number;
        }[];
        /**
         * Rules on HTTP, DNS or Kafka requests. Not supported yet.
         */
        rules?: {
          [k: string]: unknown;
        };
        /**
         * Names in the TLS handshake. Not supported yet.
         */
        serverNames?: {
          [k: string]: unknown;
        }[];
        /**
         * An Envoy listener. Not supported yet.
         */
        listener?: {
          [k: string]: unknown;
        };
        /**
         * TLS that ends at the proxy. Not supported yet.
         */
        terminatingTLS?: {
          [k: string]: unknown;
        };
        /**
         * TLS that starts at the proxy. Not supported yet.
         */
        originatingTLS?: {
          [k: string]: unknown;
        };
      }[];
      /**
       * Rules on HTTP, DNS or Kafka requests. Not supported yet.
       */
      rules?: {
        [k: string]: unknown;
      };
      /**
       * Deprecated in the language and not supported.
       */
      toRequires?: {
        [k: string]: unknown;
      }[];
      /**
       * Address blocks. Not supported yet.
       */
      toCIDR?: string[];
      /**
       * Address blocks with exceptions. Not supported yet.
       */
      toCIDRSet?: {
        [k: string]: unknown;
      }[];
      /**
       * Named peers such as world or host. Not supported yet.
       */
      toEntities?: string[];
      /**
       * Nodes by their labels. Not supported yet.
       */
      toNodes?: {
        [k: string]: unknown;
      }[];
      /**
       * Groups of a cloud provider. Not supported yet.
       */
      toGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Kubernetes Services. Not supported yet.
       */
      toServices?: {
        [k: string]: unknown;
      }[];
      /**
       * DNS names. Not supported yet.
       */
      toFQDNs?: {
        [k: string]: unknown;
      }[];
      /**
       * ICMP types. Not supported yet.
       */
      icmps?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet.
       */
      authentication?: {
        [k: string]: unknown;
      };
    }[];
    /**
     * Nodes by their labels. Not supported in a namespaced policy.
     */
    nodeSelector?: {
      [k: string]: unknown;
    };
    /**
     * What the pods may never receive. Not supported yet.
     */
    ingressDeny?: {
      [k: string]: unknown;
    }[];
    /**
     * What the pods may never send. Not supported yet.
     */
    egressDeny?: {
      [k: string]: unknown;
    }[];
    /**
     * Default deny for each direction. Not supported yet.
     */
    enableDefaultDeny?: {
      [k: string]: unknown;
    };
    /**
     * Labels of the rule. Not supported yet.
     */
    labels?: {
      [k: string]: unknown;
    }[];
    /**
     * A word for flow logs. Not supported yet.
     */
    log?: {
      [k: string]: unknown;
    };
  };
  /**
   * What the operator found and what the nodes do. Written by the operator only.
   */
  status?: {
    /**
     * Nodes that enforce this generation / nodes that run a selected pod, such as 3/3.
     */
    enforced?: string;
    /**
     * Pods that the policy selects.
     */
    endpoints?: number;
    /**
     * Nodes that do not enforce this generation, the first ten by name.
     *
     * Items: One node and its reason.
     */
    failingNodes?: {
      /**
       * Name of the node.
       */
      node: string;
      /**
       * What the node reported, or since when it is not heard from.
       */
      message: string;
    }[];
    /**
     * The last generation that was valid. It stays enforced while the current one is not.
     */
    lastValid?: {
      /**
       * metadata.generation of that version.
       */
      generation: number;
      /**
       * Its spec as JSON text.
       */
      spec: string;
    };
    /**
     * Valid (the language is understood), Enforced (all nodes enforce it) and Ready (both).
     *
     * Items: One condition.
     */
    conditions?: {
      /**
       * Valid, Enforced or Ready.
       */
      type: string;
      /**
       * True, False, or Unknown.
       */
      status: "True" | "False" | "Unknown";
      /**
       * metadata.generation that the condition speaks of.
       */
      observedGeneration?: number;
      /**
       * When the status changed last.
       */
      lastTransitionTime: string;
      /**
       * One word for programs.
       */
      reason: string;
      /**
       * One sentence for people.
       */
      message: string;
    }[];
  };
}
