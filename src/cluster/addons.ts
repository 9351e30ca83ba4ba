import { apiServerUrl, type ClusterConfig, DNS_SERVICE_ADDRESSES, POD_CIDRS } from "./config.ts";
import { corednsImage, kubeProxyImage } from "./images.ts";

const NAMESPACE = "kube-system";

/** What every cluster has beside its control plane: cluster DNS and, where asked for, kube-proxy. */
export function addonObjects(config: ClusterConfig, corednsVersion: string): object[] {
  return [...corednsObjects(corednsVersion), ...(config.kubeProxy ? kubeProxyObjects(config) : [])];
}

/** There is no name server outside, so a name outside the cluster does not exist (rather than wait for an answer). */
const COREFILE = `cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
}
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
    reload
}
`;

function corednsObjects(version: string): object[] {
  const labels = { "k8s-app": "kube-dns" };
  const readOnly = (apiGroups: string[], resources: string[]): object => ({ apiGroups, resources, verbs: ["list", "watch"] });
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "coredns", namespace: NAMESPACE } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "system:coredns" },
      rules: [readOnly([""], ["endpoints", "services", "pods", "namespaces"]), readOnly(["discovery.k8s.io"], ["endpointslices"])],
    },
    clusterRoleBinding("system:coredns", "system:coredns", "coredns"),
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "coredns", namespace: NAMESPACE }, data: { Corefile: COREFILE } },
    {
      apiVersion: "v1", kind: "Service",
      metadata: { name: "kube-dns", namespace: NAMESPACE, labels: { ...labels, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" } },
      spec: {
        selector: labels, clusterIP: DNS_SERVICE_ADDRESSES[0], clusterIPs: [...DNS_SERVICE_ADDRESSES], ipFamilyPolicy: "RequireDualStack",
        ports: [
          { name: "dns", port: 53, protocol: "UDP", targetPort: 53 },
          { name: "dns-tcp", port: 53, protocol: "TCP", targetPort: 53 },
          { name: "metrics", port: 9153, protocol: "TCP", targetPort: 9153 },
        ],
      },
    },
    corednsDeployment(version, labels),
  ];
}

function corednsDeployment(version: string, labels: Readonly<Record<string, string>>): object {
  const probe = (path: string, port: number): object => ({ httpGet: { path, port, scheme: "HTTP" }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 5 });
  return {
    apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "coredns", namespace: NAMESPACE, labels },
    spec: {
      replicas: 2, selector: { matchLabels: labels }, strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: "coredns", priorityClassName: "system-cluster-critical", dnsPolicy: "Default",
          affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 100, podAffinityTerm: { labelSelector: { matchLabels: labels }, topologyKey: "kubernetes.io/hostname" } },
          ] } },
          containers: [{
            name: "coredns", image: corednsImage(version), imagePullPolicy: "IfNotPresent", args: ["-conf", "/etc/coredns/Corefile"],
            resources: { requests: { cpu: "10m", memory: "30Mi" }, limits: { memory: "170Mi" } },
            ports: [{ name: "dns", containerPort: 53, protocol: "UDP" }, { name: "dns-tcp", containerPort: 53, protocol: "TCP" }, { name: "metrics", containerPort: 9153, protocol: "TCP" }],
            livenessProbe: { ...probe("/health", 8080), initialDelaySeconds: 30 }, readinessProbe: probe("/ready", 8181),
            securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] } },
            volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
          }],
          volumes: [{ name: "config", configMap: { name: "coredns", items: [{ key: "Corefile", path: "Corefile" }] } }],
        },
      },
    },
  };
}

/** kube-proxy makes the service addresses work, so it must reach the API server by the server's own address. */
function kubeProxyObjects(config: ClusterConfig): object[] {
  const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
  const kubeconfig = {
    apiVersion: "v1", kind: "Config", "current-context": "default",
    clusters: [{ name: "default", cluster: { server: apiServerUrl(config), "certificate-authority": `${serviceAccount}/ca.crt` } }],
    users: [{ name: "default", user: { tokenFile: `${serviceAccount}/token` } }],
    contexts: [{ name: "default", context: { cluster: "default", namespace: "default", user: "default" } }],
  };
  const proxy = {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration", mode: "iptables", clusterCIDR: POD_CIDRS.join(","),
    clientConnection: { kubeconfig: "/var/lib/kube-proxy/kubeconfig.conf" },
    // The size of the conntrack table is the machine's setting, not one node's.
    conntrack: { maxPerCore: 0 },
  };
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "kube-proxy", namespace: NAMESPACE } },
    clusterRoleBinding("local:node-proxier", "system:node-proxier", "kube-proxy"),
    {
      apiVersion: "v1", kind: "ConfigMap", metadata: { name: "kube-proxy", namespace: NAMESPACE, labels: { app: "kube-proxy" } },
      data: { "config.conf": JSON.stringify(proxy, null, 2), "kubeconfig.conf": JSON.stringify(kubeconfig, null, 2) },
    },
    kubeProxyDaemonSet(config),
  ];
}

function kubeProxyDaemonSet(config: ClusterConfig): object {
  const labels = { "k8s-app": "kube-proxy" };
  return {
    apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "kube-proxy", namespace: NAMESPACE, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          hostNetwork: true, priorityClassName: "system-node-critical", serviceAccountName: "kube-proxy", tolerations: [{ operator: "Exists" }],
          containers: [{
            name: "kube-proxy", image: kubeProxyImage(config.kubernetes), imagePullPolicy: "IfNotPresent",
            args: ["--config=/var/lib/kube-proxy/config.conf", "--hostname-override=$(NODE_NAME)"],
            env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
            securityContext: { privileged: true },
            volumeMounts: [{ name: "config", mountPath: "/var/lib/kube-proxy" }, { name: "xtables-lock", mountPath: "/run/xtables.lock" }],
          }],
          volumes: [{ name: "config", configMap: { name: "kube-proxy" } }, { name: "xtables-lock", hostPath: { path: "/run/xtables.lock", type: "FileOrCreate" } }],
        },
      },
    },
  };
}

function clusterRoleBinding(name: string, role: string, serviceAccount: string): object {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ kind: "ServiceAccount", name: serviceAccount, namespace: NAMESPACE }],
  };
}
