/* Generated from crds/ciliumnetworkpolicies.yaml by make generate; do not edit. */
import type { ObjectMeta } from "../meta.ts";

/**
 * Which traffic the pods of a namespace may receive and send.
 */
export interface CiliumNetworkPolicy {
  /**
   * Version of this representation, cilium.io/v2.
   */
  apiVersion?: string;
  /**
   * Name of the kind.
   */
  kind?: string;
  metadata: ObjectMeta;
  /**
   * The pods that are selected and the traffic that they may have.
   */
  spec?: {
    /**
     * Why the policy exists, for its readers.
     */
    description?: string;
    /**
     * Words for its readers and tools. They decide nothing.
     *
     * Items: One label.
     */
    labels?: {
      /**
       * Key of the label.
       */
      key: string;
      /**
       * Where the label comes from, such as k8s.
       */
      source?: string;
      /**
       * Value of the label.
       */
      value?: string;
    }[];
    /**
     * Pods by their labels; an empty selector selects all pods of the policy's scope.
     */
    endpointSelector?: {
      /**
       * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
         * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
     * Enforce drops what is not allowed. Audit lets it pass and tells it, with verdict audit and the rule; what such a policy allows opens nothing. Absent, as the label cilium.io/enforcement of the policy's namespace says, else as the chart's policyAuditMode does.
     */
    enforcement?: "Enforce" | "Audit";
    /**
     * Name of a policy of this kind (and namespace) of which this one is an edit that is tried; what would be dropped is told as if this one stood in the place of that one, which stays in force as it is. Needs enforcement Audit.
     */
    stages?: string;
    /**
     * What events that a rule of this policy decides carry.
     */
    log?: {
      /**
       * A word for whoever reads the events.
       */
      value?: string;
    };
    /**
     * Whether a direction is closed for everything that no policy allows. Absent, each direction that the policy has a section for is. One policy that closes a direction is enough.
     */
    enableDefaultDeny?: {
      /**
       * Whether this policy closes ingress.
       */
      ingress?: boolean;
      /**
       * Whether this policy closes egress.
       */
      egress?: boolean;
    };
    /**
     * What the pods may receive. Present, even empty, it closes them for everything that no item allows.
     *
     * Items: Peers and ports that are allowed. An item without peers and ports allows nothing.
     */
    ingress?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      fromEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      fromCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      fromCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      fromEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
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
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      fromNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      fromGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet beyond disabled, which is what an item without this field means.
       */
      authentication?: {
        /**
         * Whether peers prove who they are. Only disabled is supported.
         */
        mode: "disabled";
      };
    }[];
    /**
     * What the pods never receive, whatever any policy allows. Present, it closes ingress as the section ingress does.
     *
     * Items: Peers and ports that are denied. An item without peers and ports denies nothing by itself.
     */
    ingressDeny?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      fromEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      fromCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      fromCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      fromEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
        }[];
      }[];
      /**
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      fromNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      fromGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication is of what is allowed. Not supported.
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
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      toEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      toCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      toCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      toEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
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
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      toNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      toGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Services, by name or by labels. One that selects pods means them by their labels, under whatever address; one that selects none means the addresses of its EndpointSlices, never those of pods. A port is that of the backend. Empty, none.
       *
       * Items: A service, or services, named in one of two ways.
       */
      toServices?: {
        /**
         * A service by its name.
         */
        k8sService?: {
          /**
           * Name of the service.
           */
          serviceName: string;
          /**
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
        /**
         * Services by the labels of the Service objects.
         */
        k8sServiceSelector?: {
          /**
           * Services by their labels; an empty selector selects all services of the namespace.
           */
          selector: {
            /**
             * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
               * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
      }[];
      /**
       * DNS names. Not supported yet.
       */
      toFQDNs?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet beyond disabled, which is what an item without this field means.
       */
      authentication?: {
        /**
         * Whether peers prove who they are. Only disabled is supported.
         */
        mode: "disabled";
      };
    }[];
    /**
     * What the pods never send, whatever any policy allows. Present, it closes egress as the section egress does.
     *
     * Items: Peers and ports that are denied. An item without peers and ports denies nothing by itself.
     */
    egressDeny?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      toEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      toCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      toCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      toEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
        }[];
      }[];
      /**
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      toNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      toGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Services, by name or by labels. One that selects pods means them by their labels, under whatever address; one that selects none means the addresses of its EndpointSlices, never those of pods. A port is that of the backend. Empty, none.
       *
       * Items: A service, or services, named in one of two ways.
       */
      toServices?: {
        /**
         * A service by its name.
         */
        k8sService?: {
          /**
           * Name of the service.
           */
          serviceName: string;
          /**
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
        /**
         * Services by the labels of the Service objects.
         */
        k8sServiceSelector?: {
          /**
           * Services by their labels; an empty selector selects all services of the namespace.
           */
          selector: {
            /**
             * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
               * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
      }[];
      /**
       * DNS names. Only for allowing
       */
      toFQDNs?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication is of what is allowed. Not supported.
       */
      authentication?: {
        [k: string]: unknown;
      };
    }[];
    /**
     * Nodes by the labels of their Node objects. An empty selector selects all. In a clusterwide policy instead of endpointSelector.
     */
    nodeSelector?: {
      /**
       * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
         * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
   * Several policies in one object; each item is as spec.
   *
   * Items: The pods that are selected and the traffic that they may have.
   */
  specs?: {
    /**
     * Why the policy exists, for its readers.
     */
    description?: string;
    /**
     * Words for its readers and tools. They decide nothing.
     *
     * Items: One label.
     */
    labels?: {
      /**
       * Key of the label.
       */
      key: string;
      /**
       * Where the label comes from, such as k8s.
       */
      source?: string;
      /**
       * Value of the label.
       */
      value?: string;
    }[];
    /**
     * Pods by their labels; an empty selector selects all pods of the policy's scope.
     */
    endpointSelector?: {
      /**
       * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
         * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
     * Enforce drops what is not allowed. Audit lets it pass and tells it, with verdict audit and the rule; what such a policy allows opens nothing. Absent, as the label cilium.io/enforcement of the policy's namespace says, else as the chart's policyAuditMode does.
     */
    enforcement?: "Enforce" | "Audit";
    /**
     * Name of a policy of this kind (and namespace) of which this one is an edit that is tried; what would be dropped is told as if this one stood in the place of that one, which stays in force as it is. Needs enforcement Audit.
     */
    stages?: string;
    /**
     * What events that a rule of this policy decides carry.
     */
    log?: {
      /**
       * A word for whoever reads the events.
       */
      value?: string;
    };
    /**
     * Whether a direction is closed for everything that no policy allows. Absent, each direction that the policy has a section for is. One policy that closes a direction is enough.
     */
    enableDefaultDeny?: {
      /**
       * Whether this policy closes ingress.
       */
      ingress?: boolean;
      /**
       * Whether this policy closes egress.
       */
      egress?: boolean;
    };
    /**
     * What the pods may receive. Present, even empty, it closes them for everything that no item allows.
     *
     * Items: Peers and ports that are allowed. An item without peers and ports allows nothing.
     */
    ingress?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      fromEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      fromCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      fromCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      fromEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
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
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      fromNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      fromGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet beyond disabled, which is what an item without this field means.
       */
      authentication?: {
        /**
         * Whether peers prove who they are. Only disabled is supported.
         */
        mode: "disabled";
      };
    }[];
    /**
     * What the pods never receive, whatever any policy allows. Present, it closes ingress as the section ingress does.
     *
     * Items: Peers and ports that are denied. An item without peers and ports denies nothing by itself.
     */
    ingressDeny?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      fromEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      fromCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      fromCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      fromEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
        }[];
      }[];
      /**
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      fromNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      fromGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication is of what is allowed. Not supported.
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
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      toEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      toCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      toCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      toEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
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
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      toNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      toGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Services, by name or by labels. One that selects pods means them by their labels, under whatever address; one that selects none means the addresses of its EndpointSlices, never those of pods. A port is that of the backend. Empty, none.
       *
       * Items: A service, or services, named in one of two ways.
       */
      toServices?: {
        /**
         * A service by its name.
         */
        k8sService?: {
          /**
           * Name of the service.
           */
          serviceName: string;
          /**
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
        /**
         * Services by the labels of the Service objects.
         */
        k8sServiceSelector?: {
          /**
           * Services by their labels; an empty selector selects all services of the namespace.
           */
          selector: {
            /**
             * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
               * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
      }[];
      /**
       * DNS names. Not supported yet.
       */
      toFQDNs?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication. Not supported yet beyond disabled, which is what an item without this field means.
       */
      authentication?: {
        /**
         * Whether peers prove who they are. Only disabled is supported.
         */
        mode: "disabled";
      };
    }[];
    /**
     * What the pods never send, whatever any policy allows. Present, it closes egress as the section egress does.
     *
     * Items: Peers and ports that are denied. An item without peers and ports denies nothing by itself.
     */
    egressDeny?: {
      /**
       * Peers by their labels, of the policy's namespace unless an item names k8s:io.kubernetes.pod.namespace; in a policy for the whole cluster, of any. Absent, any peer; empty, none.
       *
       * Items: Peers by their labels; an empty selector selects all pods of the policy's scope.
       */
      toEndpoints?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Addresses outside the cluster, as blocks. Empty, none.
       *
       * Items: A block such as 192.0.2.0/24 or 2001:db8::/32, or one address.
       */
      toCIDR?: string[];
      /**
       * Addresses outside the cluster, as blocks with exceptions. Empty, none.
       *
       * Items: One block, or the blocks of groups; one of cidr, cidrGroupRef and cidrGroupSelector. What is excepted here, another item may still name.
       */
      toCIDRSet?: {
        /**
         * A block such as 192.0.2.0/24 or 2001:db8::/32.
         */
        cidr?: string;
        /**
         * Blocks inside of what is named that are not meant.
         *
         * Items: A block inside of what is named.
         */
        except?: string[];
        /**
         * Instead of cidr, the name of a CiliumCIDRGroup. One that does not exist means nobody.
         */
        cidrGroupRef?: string;
        /**
         * Instead of cidr, the CiliumCIDRGroups with these labels. None means nobody.
         */
        cidrGroupSelector?: {
          /**
           * Labels that a group must have.
           */
          matchLabels?: {
            /**
             * Value of the label.
             */
            [k: string]: string;
          };
          /**
           * Requirements on labels that a group must meet, all of them.
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
             * Values of In and NotIn.
             *
             * Items: One value.
             */
            values?: string[];
          }[];
        };
      }[];
      /**
       * Peers by what they are to the cluster. Empty, none.
       *
       * Items: One kind of peers; cluster is every pod and node of it, world everything outside, all both.
       */
      toEntities?: (
        | "all"
        | "world"
        | "world-ipv4"
        | "world-ipv6"
        | "cluster"
        | "host"
        | "remote-node"
        | "kube-apiserver"
        | "health"
        | "init"
        | "ingress"
        | "unmanaged"
        | "none"
      )[];
      /**
       * Ports of the receiving side. Absent, all ports of all protocols.
       *
       * Items: A list of ports.
       */
      toPorts?: {
        /**
         * The ports.
         *
         * Items: One port, or a range of them.
         */
        ports: {
          /**
           * Number of the port as a string, or its name in the receiving pod; 0 is every port of the protocol.
           */
          port: string;
          /**
           * Last port of a range that begins with port. 0, none.
           */
          endPort?: number;
          /**
           * TCP, UDP, SCTP, or ANY for the three; absent, ANY. Of nodes also what has no ports (with port 0), GRE, IPIP, IPV6, ESP, and VRRP between single addresses; pods have none of these. IGMP and AH are not supported.
           */
          protocol?: "TCP" | "UDP" | "SCTP" | "ANY" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH";
        }[];
      }[];
      /**
       * Messages of ICMP and ICMPv6. Replies and errors that belong to a connection need no rule.
       *
       * Items: A list of messages.
       */
      icmps?: {
        /**
         * The messages.
         *
         * Items: One type of message.
         */
        fields: {
          /**
           * IPv4 or IPv6; absent, IPv4.
           */
          family?: "IPv4" | "IPv6";
          /**
           * Number of the type, 0 to 255, or its name, such as EchoRequest.
           */
          type: number | string;
        }[];
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
       * Nodes by the labels of their Node objects, under all their addresses. Empty, none.
       *
       * Items: Nodes by their labels; an empty selector selects all nodes.
       */
      toNodes?: {
        /**
         * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
           * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
       * Groups of a cloud provider. Not supported yet.
       */
      toGroups?: {
        [k: string]: unknown;
      }[];
      /**
       * Services, by name or by labels. One that selects pods means them by their labels, under whatever address; one that selects none means the addresses of its EndpointSlices, never those of pods. A port is that of the backend. Empty, none.
       *
       * Items: A service, or services, named in one of two ways.
       */
      toServices?: {
        /**
         * A service by its name.
         */
        k8sService?: {
          /**
           * Name of the service.
           */
          serviceName: string;
          /**
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
        /**
         * Services by the labels of the Service objects.
         */
        k8sServiceSelector?: {
          /**
           * Services by their labels; an empty selector selects all services of the namespace.
           */
          selector: {
            /**
             * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
               * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
           * Namespace of the service. Absent, the policy's own; of a clusterwide policy, any.
           */
          namespace?: string;
        };
      }[];
      /**
       * DNS names. Only for allowing
       */
      toFQDNs?: {
        [k: string]: unknown;
      }[];
      /**
       * Mutual authentication is of what is allowed. Not supported.
       */
      authentication?: {
        [k: string]: unknown;
      };
    }[];
    /**
     * Nodes by the labels of their Node objects. An empty selector selects all. In a clusterwide policy instead of endpointSelector.
     */
    nodeSelector?: {
      /**
       * Labels that a pod must have. A key may start with its source (k8s, any or reserved) and a colon.
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
         * Key of the label. It may start with its source (k8s, any or reserved) and a colon.
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
  }[];
  /**
   * What the operator found and what the nodes do. Written by the operator only.
   */
  status?: {
    /**
     * metadata.generation that this status speaks of; -1 as long as the operator has not looked at the object.
     */
    observedGeneration?: number;
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
      spec?: string;
      /**
       * Its specs as JSON text.
       */
      specs?: string;
    };
    /**
     * Valid (the language is understood), Enforced (all nodes enforce it) and Ready (both); of a policy that names groups of blocks, Resolved (they exist), which Ready then needs too; of one that only watches, Audit; of one that probably does not mean what it says, Warnings.
     *
     * Items: One condition.
     */
    conditions?: {
      /**
       * Valid, Enforced, Ready, Resolved, Audit or Warnings.
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
