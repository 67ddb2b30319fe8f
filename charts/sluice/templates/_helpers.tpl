{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "sluice" .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-sluice" (.Release.Name | trunc 38 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: controller
{{- end -}}

{{- /* Name and labels; the namespace is left to the installer with `namespaced`, so that one file fits any namespace. */ -}}
{{- define "sluice.metadata" -}}
name: {{ .name }}
{{- if not .root.Values.namespaced }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "sluice.labels" .root | nindent 2 }}
{{- end -}}

{{- /* Whether Git is followed: "true" or nothing. */ -}}
{{- define "sluice.applications" -}}
{{- if and .Values.namespaced .Values.applications.namespace -}}
{{- fail (printf "applications.namespace is `%s`: with `namespaced`, this version follows no Applications; leave it empty" .Values.applications.namespace) -}}
{{- end -}}
{{- if and .Values.applications.enabled (not .Values.namespaced) -}}
true
{{- end -}}
{{- end -}}

{{- define "sluice.applicationsNamespace" -}}
{{- .Values.applications.namespace | default "argocd" -}}
{{- end -}}

{{- /* The controller's own rule: the instance id is appended to the name. */ -}}
{{- define "sluice.lease" -}}
argo-rollouts-controller-lock{{ with .Values.instanceId }}-{{ . }}{{ end }}
{{- end -}}

{{- define "sluice.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /*
One file of files/rbac, which are copies of controller/rbac: names, namespaces and subject become those of the release, the
Lease's name that of the instance; with `namespaced`, cluster roles become roles, without what is not in a namespace.
*/ -}}
{{- define "sluice.rbac" -}}
{{- $root := .root -}}
{{- $namespaced := $root.Values.namespaced -}}
{{- $fullname := include "sluice.fullname" $root -}}
{{- range $text := splitList "\n---\n" ($root.Files.Get .file) }}
{{- $object := fromYaml $text }}
{{- $source := $object.metadata }}
{{- $name := printf "%s%s" $fullname (trimPrefix "sluice" $source.name) }}
{{- $metadata := dict "name" $name "labels" (include "sluice.labels" $root | fromYaml) }}
{{- if $namespaced }}
{{- $_ := set $object "kind" (trimPrefix "Cluster" $object.kind) }}
{{- else if $source.namespace }}
{{- $applications := include "sluice.applicationsNamespace" $root }}
{{- $_ := set $metadata "namespace" (ternary $applications $root.Release.Namespace (eq $source.namespace "argocd")) }}
{{- end }}
{{- $_ := set $object "metadata" $metadata }}
{{- if hasKey $object "rules" }}
{{- $rules := list }}
{{- range $rule := $object.rules }}
{{- if $namespaced }}
{{- $_ := set $rule "resources" (without $rule.resources "clusteranalysistemplates") }}
{{- end }}
{{- if $rule.resourceNames }}
{{- $_ := set $rule "resourceNames" (list (include "sluice.lease" $root)) }}
{{- end }}
{{- if $rule.resources }}
{{- $rules = append $rules $rule }}
{{- end }}
{{- end }}
{{- if eq $source.name "sluice-sync" }}
{{- $rules = concat $rules $root.Values.rbac.extraSyncRules }}
{{- end }}
{{- $_ := set $object "rules" $rules }}
{{- else }}
{{- $subject := dict "kind" "ServiceAccount" "name" $fullname }}
{{- if $namespaced }}
{{- $_ := set $object.roleRef "kind" "Role" }}
{{- else }}
{{- $_ := set $subject "namespace" $root.Release.Namespace }}
{{- end }}
{{- $_ := set $object.roleRef "name" $name }}
{{- $_ := set $object "subjects" (list $subject) }}
{{- end }}
---
{{ toYaml $object }}
{{ end }}
{{- end -}}
