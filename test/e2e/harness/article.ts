/**
 * The commands and manifests of "What Is Cilium? A Beginner's Guide to Kubernetes Networking with eBPF" in its order,
 * byte for byte. article.test.ts runs them; other tests use its policies.
 */


export const ARTICLE = {
  kubeProxy: `# Every node runs kube-proxy
kubectl get daemonset -n kube-system kube-proxy
`,
  bpftrace: `# bpftrace can inspect kernel events using eBPF
# This counts how often each system call is called
bpftrace -e 'tracepoint:syscalls:sys_enter_* { @[probe] = count(); }'
`,
  policy: `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: allow-frontend-to-api
spec:
  endpointSelector:
    matchLabels:
      app: api
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: frontend
    toPorts:
    - ports:
      - port: "8080"
        protocol: TCP
`,
  l7Policy: `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: api-rate-limit
spec:
  endpointSelector:
    matchLabels:
      app: api
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: frontend
    toPorts:
    - ports:
      - port: "8080"
        protocol: TCP
    rules:
      http:
      - method: "POST"
        path: "/api/v1/orders"
      - method: "GET"
        path: "/api/v1/healthz"
`,
  hubble: `# Watch live network flows in a namespace
hubble observe --namespace production

# Show all dropped packets (policies blocking traffic)
hubble observe --verdict DROPPED

# See traffic between two specific components
hubble observe --from-pod frontend --to-pod api
`,
  encryption: `helm upgrade cilium cilium/cilium \\
  --namespace kube-system \\
  --set encryption.enabled=true \\
  --set encryption.type=wireguard
`,
  install: `# Create a kind cluster
kind create cluster

# Install Cilium via Helm
helm repo add cilium https://helm.cilium.io
helm install cilium cilium/cilium \\
  --namespace kube-system \\
  --set kubeProxyReplacement=true
`,
  connectivity: `cilium connectivity test
`,
  hubbleUi: `helm upgrade cilium cilium/cilium \\
  --namespace kube-system \\
  --reuse-values \\
  --set hubble.relay.enabled=true \\
  --set hubble.ui.enabled=true

# Access the UI
kubectl port-forward -n kube-system svc/hubble-ui 12000:80
`,
} as const;

/** The commands of a block: comments and empty lines go, lines that end in a backslash go on. */
export function commandsOf(block: string): string[] {
  return block.replaceAll("\\\n", "").split("\n").map((line) => line.trim().replaceAll(/\s+/g, " ")).filter((line) => line !== "" && !line.startsWith("#"));
}
