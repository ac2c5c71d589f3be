{{/*
Containers for `initContainers` of a pod, the first ones there: rules of iptables, if it is
this pod that applies them, and the sidecar itself. It is an init container that goes on
(`restartPolicy: Always`): it is ready before the application starts, and ends after it.

The words of Weir's command line stand in this file and nowhere else.
*/}}
{{- define "weir-sidecar.initContainers" -}}
{{- $values := index .Values "weir-sidecar" }}
{{- $by := $values.interception.by }}
{{- if not (has $by (list "init" "external" "none")) }}
{{- fail (printf "weir-sidecar.interception.by is %q: it has to be init, external or none" $by) }}
{{- end }}
{{- $mode := $values.interception.mode }}
{{- if not (has $mode (list "REDIRECT" "TPROXY")) }}
{{- fail (printf "weir-sidecar.interception.mode is %q: it has to be REDIRECT or TPROXY" $mode) }}
{{- end }}
{{- if eq $by "init" -}}
- name: weir-init
  image: "{{ $values.init.repository }}:{{ $values.init.tag }}"
  imagePullPolicy: {{ $values.init.pullPolicy }}
  args:
    - sidecar
    - iptables
    - --apply
    - --proxy-uid={{ $values.user }}
    - --proxy-gid={{ $values.user }}
    - --istio-inbound-interception-mode={{ $mode }}
    - --istio-local-exclude-ports={{ $values.ports.status }},{{ $values.ports.prometheus }}
    {{- with $values.interception.args }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  resources:
    {{- toYaml $values.init.resources | nindent 4 }}
  securityContext:
    runAsUser: 0
    runAsGroup: 0
    runAsNonRoot: false
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: [ALL], add: [NET_ADMIN, NET_RAW] }
  volumeMounts:
    # The lock of iptables.
    - { name: weir-init-run, mountPath: /run }
{{ end -}}
- name: weir
  image: "{{ $values.image.repository }}:{{ $values.image.tag }}"
  imagePullPolicy: {{ $values.image.pullPolicy }}
  restartPolicy: Always
  args:
    - sidecar
    - --discovery-address={{ $values.discovery.address }}
    - --xds={{ $values.discovery.xds }}
    {{- if $values.discovery.caConfigMap }}
    - --discovery-ca=/etc/weir/discovery/root-cert.pem
    {{- end }}
    {{- with $values.discovery.san }}
    - --discovery-san={{ . }}
    {{- end }}
    {{- if $values.discovery.clientSecret }}
    - --discovery-cert=/etc/weir/discovery-client/tls.crt
    - --discovery-key=/etc/weir/discovery-client/tls.key
    {{- end }}
    {{- if $values.identity.volume }}
    - --sds-socket=/run/weir/identity/{{ $values.identity.socket }}
    {{- end }}
    - --labels=/etc/weir/pod/labels
    - --admin-port={{ $values.ports.admin }}
    - --status-port={{ $values.ports.status }}
    - --prometheus-port={{ $values.ports.prometheus }}
    - --log-format=json
    {{- with $values.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
    - name: POD_NAMESPACE
      valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
    - name: INSTANCE_IP
      valueFrom: { fieldRef: { fieldPath: status.podIP } }
    - name: SERVICE_ACCOUNT
      valueFrom: { fieldRef: { fieldPath: spec.serviceAccountName } }
    - name: ISTIO_META_INTERCEPTION_MODE
      value: {{ ternary "NONE" $mode (eq $by "none") }}
    {{- range $name, $value := $values.meta }}
    - name: ISTIO_META_{{ $name }}
      value: {{ $value | quote }}
    {{- end }}
  ports:
    - { name: weir-status, containerPort: {{ $values.ports.status }} }
    - { name: weir-prom, containerPort: {{ $values.ports.prometheus }} }
  startupProbe:
    httpGet: { path: /healthz/ready, port: weir-status }
    {{- toYaml $values.startupProbe | nindent 4 }}
  readinessProbe:
    httpGet: { path: /healthz/ready, port: weir-status }
    {{- toYaml $values.readinessProbe | nindent 4 }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    {{- if and (eq $mode "TPROXY") (ne $by "none") }}
    # Capabilities come to no other user; what it sends is known by its group.
    runAsUser: 0
    runAsNonRoot: false
    {{- else }}
    runAsUser: {{ $values.user }}
    runAsNonRoot: true
    {{- end }}
    runAsGroup: {{ $values.user }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      {{- if and (eq $mode "TPROXY") (ne $by "none") }}
      add: [NET_ADMIN]
      {{- end }}
  volumeMounts:
    - { name: weir-pod, mountPath: /etc/weir/pod, readOnly: true }
    - { name: weir-cache, mountPath: /tmp }
    {{- if $values.discovery.caConfigMap }}
    - { name: weir-discovery, mountPath: /etc/weir/discovery, readOnly: true }
    {{- end }}
    {{- if $values.discovery.clientSecret }}
    - { name: weir-discovery-client, mountPath: /etc/weir/discovery-client, readOnly: true }
    {{- end }}
    {{- if $values.identity.volume }}
    - { name: weir-identity, mountPath: /run/weir/identity, readOnly: true }
    {{- end }}
    {{- with $values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* What those need, for `volumes` of the pod. */}}
{{- define "weir-sidecar.volumes" -}}
{{- $values := index .Values "weir-sidecar" -}}
- name: weir-pod
  downwardAPI:
    items:
      - { path: labels, fieldRef: { fieldPath: metadata.labels } }
- name: weir-cache
  emptyDir: { sizeLimit: 256Mi }
{{- if eq $values.interception.by "init" }}
- name: weir-init-run
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
{{- with $values.discovery.caConfigMap }}
- name: weir-discovery
  configMap: { name: {{ . }} }
{{- end }}
{{- with $values.discovery.clientSecret }}
- name: weir-discovery-client
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with $values.identity.volume }}
- name: weir-identity
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* For `annotations` of the pod: scrapes of Prometheus. */}}
{{- define "weir-sidecar.annotations" -}}
{{- $values := index .Values "weir-sidecar" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ $values.ports.prometheus | quote }}
prometheus.io/path: /stats/prometheus
{{- end }}

{{/*
For `labels` of the pod: Istio's injector leaves it alone, and with an identity, clients in
the mesh are told to speak mTLS with it.
*/}}
{{- define "weir-sidecar.labels" -}}
{{- $values := index .Values "weir-sidecar" -}}
sidecar.istio.io/inject: "false"
security.istio.io/tlsMode: {{ ternary "istio" "disabled" (not (empty $values.identity.volume)) }}
{{- end }}
