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
checksum/cilium-config: {{ include (print .Template.BasePath "/configmap.yaml") . | sha256sum }}
{{- end -}}
