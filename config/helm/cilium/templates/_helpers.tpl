{{/* The image reference: digest before tag, the chart's appVersion when neither is given. */}}
{{- define "cilium.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "cilium.commonLabels" -}}
app.kubernetes.io/part-of: cilium
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "cilium.agentLabels" -}}
k8s-app: cilium
app.kubernetes.io/name: cilium-agent
{{- end -}}

{{- define "cilium.operatorLabels" -}}
name: cilium-operator
io.cilium/app: operator
app.kubernetes.io/name: cilium-operator
{{- end -}}

{{/* Changes of the settings roll the pods: agent and operator read them at their start. */}}
{{- define "cilium.configChecksum" -}}
checksum/cilium-config: {{ include "cilium.settings" . | sha256sum }}
{{- end -}}

{{/* What the agent sees of its node: the same paths on both sides, but for /proc. */}}
{{- define "cilium.agentMounts" -}}
- name: config
  mountPath: /etc/cilium/config
  readOnly: true
- name: run
  mountPath: /var/run/cilium
- name: state
  mountPath: /var/lib/cilium
- name: cni-conf
  mountPath: {{ .Values.cni.confPath }}
- name: cni-bin
  mountPath: {{ .Values.cni.binPath }}
- name: kubernetes
  mountPath: /etc/kubernetes
  readOnly: true
- name: netns
  mountPath: /run/netns
  mountPropagation: HostToContainer
- name: proc
  mountPath: /host/proc
  readOnly: true
# The container's own /proc/sys is read-only unless it is privileged.
- name: proc-sys-net
  mountPath: /host/proc/sys/net
{{- end -}}

{{/* What is mounted here must reach the node, as pins outlive the pod. Kubernetes allows it to privileged containers only. */}}
{{- define "cilium.bpfMount" -}}
- name: bpf
  mountPath: /sys/fs/bpf
  mountPropagation: Bidirectional
{{- end -}}

{{- define "cilium.agentVolumes" -}}
- name: bpf
  hostPath:
    path: /sys/fs/bpf
    type: DirectoryOrCreate
- name: run
  hostPath:
    path: /var/run/cilium
    type: DirectoryOrCreate
- name: state
  hostPath:
    path: /var/lib/cilium
    type: DirectoryOrCreate
- name: cni-conf
  hostPath:
    path: {{ .Values.cni.confPath }}
    type: DirectoryOrCreate
- name: cni-bin
  hostPath:
    path: {{ .Values.cni.binPath }}
    type: DirectoryOrCreate
# The kubelet's kubeconfig names an API server address that works without a service load balancer.
- name: kubernetes
  hostPath:
    path: /etc/kubernetes
    type: DirectoryOrCreate
- name: netns
  hostPath:
    path: /run/netns
    type: DirectoryOrCreate
# Runtimes that name a sandbox's network namespace by /proc/<pid>/ns/net.
- name: proc
  hostPath:
    path: /proc
    type: Directory
- name: proc-sys-net
  hostPath:
    path: /proc/sys/net
    type: Directory
{{- end -}}

{{/* The settings, one file per key in /etc/cilium/config. */}}
{{- define "cilium.settings" -}}
enable-ipv4: {{ .Values.ipv4.enabled | quote }}
enable-ipv6: {{ .Values.ipv6.enabled | quote }}
tunnel-port: {{ .Values.tunnelPort | quote }}
routing-mode: {{ .Values.routingMode | quote }}
auto-direct-node-routes: {{ .Values.autoDirectNodeRoutes | quote }}
ipv4-native-routing-cidr: {{ .Values.ipv4NativeRoutingCIDR | quote }}
ipv6-native-routing-cidr: {{ .Values.ipv6NativeRoutingCIDR | quote }}
enable-ipv4-masquerade: {{ .Values.enableIPv4Masquerade | quote }}
enable-ipv6-masquerade: {{ .Values.enableIPv6Masquerade | quote }}
masquerade-source-cidrs: {{ join "," .Values.masqueradeSourceCIDRs | quote }}
non-masquerade-cidrs: {{ join "," .Values.nonMasqueradeCIDRs | quote }}
encryption-enabled: {{ .Values.encryption.enabled | quote }}
encryption-type: {{ .Values.encryption.type | quote }}
encryption-key-rotation-interval: {{ .Values.encryption.keyRotationInterval | quote }}
encryption-port: {{ .Values.encryption.wireguard.port | quote }}
encryption-persistent-keepalive: {{ .Values.encryption.wireguard.persistentKeepalive | quote }}
encryption-userspace: {{ .Values.encryption.wireguard.userspace | quote }}
mtu: {{ .Values.MTU | quote }}
devices: {{ join "," .Values.devices | quote }}
cni-exclusive: {{ .Values.cni.exclusive | quote }}
cni-conf-path: {{ .Values.cni.confPath | quote }}
cni-bin-path: {{ .Values.cni.binPath | quote }}
k8s-service-host: {{ .Values.k8sServiceHost | quote }}
k8s-service-port: {{ .Values.k8sServicePort | quote }}
log-level: {{ ternary "debug" "info" .Values.debug.enabled | quote }}
monitor-verdicts: {{ .Values.monitor.verdicts | quote }}
health-port: {{ .Values.healthPort | quote }}
prometheus-port: {{ ternary .Values.prometheus.port 0 .Values.prometheus.enabled | quote }}
prometheus-allow-from: {{ join "," .Values.prometheus.allowFrom | quote }}
bpf-policy-map-max: {{ .Values.bpf.policyMapMax | int64 | quote }}
bpf-ipcache-max: {{ .Values.bpf.ipcacheMax | int64 | quote }}
bpf-ct-max: {{ .Values.bpf.ctMax | int64 | quote }}
bpf-endpoints-max: {{ .Values.bpf.endpointsMax | int64 | quote }}
policy-cidr-match-mode: {{ kindIs "string" .Values.policyCIDRMatchMode | ternary .Values.policyCIDRMatchMode (join "," .Values.policyCIDRMatchMode) | quote }}
policy-audit-mode: {{ .Values.policyAuditMode | quote }}
host-failsafe-ingress: {{ join " " .Values.hostFirewall.failsafe.ingress | quote }}
host-failsafe-egress: {{ join " " .Values.hostFirewall.failsafe.egress | quote }}
crds-create: {{ .Values.crds.create | quote }}
operator-prometheus-allow-from: {{ join "," .Values.operator.prometheus.allowFrom | quote }}
operator-prometheus-port: {{ ternary .Values.operator.prometheus.port 0 .Values.operator.prometheus.enabled | quote }}
{{- end -}}
