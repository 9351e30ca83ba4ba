/* Generated from crds/clusternetworkpolicies.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * What an administrator decides before all policies of the namespaces (Admin), or where these say nothing (Baseline).
 */
export interface ClusterNetworkPolicy {
  /**
   * Version of this representation, policy.networking.k8s.io/v1alpha2.
   */
  apiVersion?: string;
  /**
   * ClusterNetworkPolicy.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * The pods that are selected, and what becomes of their traffic.
   */
  spec: {
    /**
     * Admin is asked before NetworkPolicy and Cilium's policies, Baseline where none of these closes the direction for a pod.
     */
    tier: "Admin" | "Baseline";
    /**
     * The smaller is asked first within the tier; of equal ones the first by name.
     */
    priority: number;
    /**
     * Pods that the policy is about, said in one of two ways. Pods of the host's network are never meant.
     */
    subject: {
      /**
       * All pods of namespaces with these labels; empty, of all namespaces.
       */
      namespaces?: {
        /**
         * Labels that must be there.
         */
        matchLabels?: {
          /**
           * Value of the label.
           */
          [k: string]: string;
        };
        /**
         * Requirements on labels, all of which must be met.
         *
         * Items: One requirement on one label.
         */
        matchExpressions?: {
          /**
           * Key of the label.
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
       * Pods with labels of their own, in namespaces with labels.
       */
      pods?: {
        /**
         * Namespaces by their labels; empty or absent, all.
         */
        namespaceSelector?: {
          /**
           * Labels that must be there.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels, all of which must be met.
           *
           * Items: One requirement on one label.
           */
          matchExpressions?: {
            /**
             * Key of the label.
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
         * Pods by their labels; empty, all.
         */
        podSelector: {
          /**
           * Labels that must be there.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels, all of which must be met.
           *
           * Items: One requirement on one label.
           */
          matchExpressions?: {
            /**
             * Key of the label.
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
      };
    };
    /**
     * What becomes of packets to the pods. The first rule that means a packet decides.
     *
     * Items: An action for some senders and ports.
     */
    ingress?: {
      /**
       * A word for people. It decides nothing.
       */
      name?: string;
      /**
       * Accept and Deny are final. Pass hands over to what comes behind the tier.
       */
      action: "Accept" | "Deny" | "Pass";
      /**
       * Senders; any one of them is enough.
       *
       * Items: Senders, said in one of two ways.
       */
      from: {
        /**
         * All pods of namespaces with these labels; empty, of all namespaces.
         */
        namespaces?: {
          /**
           * Labels that must be there.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels, all of which must be met.
           *
           * Items: One requirement on one label.
           */
          matchExpressions?: {
            /**
             * Key of the label.
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
         * Pods with labels of their own, in namespaces with labels.
         */
        pods?: {
          /**
           * Namespaces by their labels; empty or absent, all.
           */
          namespaceSelector?: {
            /**
             * Labels that must be there.
             */
            matchLabels?: {
              /**
               * Value of the label.
               */
              [k: string]: string;
            };
            /**
             * Requirements on labels, all of which must be met.
             *
             * Items: One requirement on one label.
             */
            matchExpressions?: {
              /**
               * Key of the label.
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
           * Pods by their labels; empty, all.
           */
          podSelector: {
            /**
             * Labels that must be there.
             */
            matchLabels?: {
              /**
               * Value of the label.
               */
              [k: string]: string;
            };
            /**
             * Requirements on labels, all of which must be met.
             *
             * Items: One requirement on one label.
             */
            matchExpressions?: {
              /**
               * Key of the label.
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
        };
      }[];
      /**
       * Protocols and ports of the receiver; any one of them is enough. Absent, everything.
       *
       * Items: One protocol with its ports, or the name of a port.
       */
      protocols?: {
        /**
         * Ports of the protocol.
         */
        tcp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * Ports of the protocol.
         */
        udp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * Ports of the protocol.
         */
        sctp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * What the receiving pod calls the port, of whatever protocol.
         */
        destinationNamedPort?: string;
      }[];
    }[];
    /**
     * What becomes of packets from the pods. The first rule that means a packet decides.
     *
     * Items: An action for some receivers and ports.
     */
    egress?: {
      /**
       * A word for people. It decides nothing.
       */
      name?: string;
      /**
       * Accept and Deny are final. Pass hands over to what comes behind the tier.
       */
      action: "Accept" | "Deny" | "Pass";
      /**
       * Receivers; any one of them is enough.
       *
       * Items: Receivers, said in one of several ways.
       */
      to: {
        /**
         * All pods of namespaces with these labels; empty, of all namespaces.
         */
        namespaces?: {
          /**
           * Labels that must be there.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels, all of which must be met.
           *
           * Items: One requirement on one label.
           */
          matchExpressions?: {
            /**
             * Key of the label.
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
         * Pods with labels of their own, in namespaces with labels.
         */
        pods?: {
          /**
           * Namespaces by their labels; empty or absent, all.
           */
          namespaceSelector?: {
            /**
             * Labels that must be there.
             */
            matchLabels?: {
              /**
               * Value of the label.
               */
              [k: string]: string;
            };
            /**
             * Requirements on labels, all of which must be met.
             *
             * Items: One requirement on one label.
             */
            matchExpressions?: {
              /**
               * Key of the label.
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
           * Pods by their labels; empty, all.
           */
          podSelector: {
            /**
             * Labels that must be there.
             */
            matchLabels?: {
              /**
               * Value of the label.
               */
              [k: string]: string;
            };
            /**
             * Requirements on labels, all of which must be met.
             *
             * Items: One requirement on one label.
             */
            matchExpressions?: {
              /**
               * Key of the label.
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
        };
        /**
         * Nodes by the labels of their Node objects; an empty selector means all of them.
         */
        nodes?: {
          /**
           * Labels that must be there.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels, all of which must be met.
           *
           * Items: One requirement on one label.
           */
          matchExpressions?: {
            /**
             * Key of the label.
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
         * Blocks of addresses, whoever has them, pods and nodes too.
         *
         * Items: A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        networks?: string[];
        /**
         * Names in DNS. Not supported yet.
         *
         * Items: A name.
         */
        domainNames?: string[];
      }[];
      /**
       * Protocols and ports of the receiver; any one of them is enough. Absent, everything.
       *
       * Items: One protocol with its ports, or the name of a port.
       */
      protocols?: {
        /**
         * Ports of the protocol.
         */
        tcp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * Ports of the protocol.
         */
        udp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * Ports of the protocol.
         */
        sctp?: {
          /**
           * One port or a range.
           */
          destinationPort?: {
            /**
             * The port.
             */
            number?: number;
            /**
             * All ports from start to end.
             */
            range?: {
              /**
               * The first port.
               */
              start: number;
              /**
               * The last port.
               */
              end: number;
            };
          };
        };
        /**
         * What the receiving pod calls the port, of whatever protocol.
         */
        destinationNamedPort?: string;
      }[];
    }[];
  };
  /**
   * What the operator found and what the nodes do. Written by the operator only.
   */
  status?: {
    /**
     * Valid (the language is understood), Enforced (all nodes enforce it) and Ready (both).
     *
     * Items: One condition.
     */
    conditions: {
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
