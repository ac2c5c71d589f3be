{{/* The name of the chart, or what takes its place. */}}
{{- define "weir.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of most objects: of the release and the chart, once if they are alike. */}}
{{- define "weir.fullname" -}}
{{- $name := include "weir.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What tells pods of this release from others; a Deployment's can never change. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "weir.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "weir.configMapName" -}}
{{- .Values.existingConfigMap | default (include "weir.fullname" .) }}
{{- end }}

{{/* The configuration: that of the values, and what probes, scrapes and Kubernetes need. */}}
{{- define "weir.config" -}}
{{- $admin := dict "address" "127.0.0.1:9901" }}
{{- $drain := .Values.drain }}
{{- $own := dict "workers" (int .Values.workers) "admin" $admin
    "drain_delay" (printf "%ds" (int $drain.delaySeconds))
    "drain_timeout" (printf "%ds" (int $drain.timeoutSeconds)) }}
{{- $config := mergeOverwrite $own (deepCopy .Values.config) }}
{{- $routes := list }}
{{- range list "/ready" "/live" "/stats/prometheus" }}
{{- $routes = append $routes (dict "match" (dict "path" .) "cluster" "admin") }}
{{- end }}
{{- $operations := dict "name" "operations"
    "address" (printf "0.0.0.0:%d" (int .Values.operationsPort)) "routes" $routes }}
{{- $cluster := dict "name" "admin" "endpoints" (list $config.admin.address) }}
{{- $listeners := append ($config.listeners | default list) $operations }}
{{- $clusters := append ($config.clusters | default list) $cluster }}
{{- toYaml (merge (dict "listeners" $listeners "clusters" $clusters) $config) }}
{{- end }}
