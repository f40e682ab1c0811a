{{- /* Peers by their component in the release's namespace. Takes a list of the root and components. */ -}}
{{- define "orchestrator.peers" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ $root.Release.Namespace }}}
  podSelector:
    matchLabels: {{- include "orchestrator.selector" (list $root .) | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "orchestrator.toDns" -}}
- to: {{ toJson .Values.network.dns }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- define "orchestrator.toDatabase" -}}
- to:
  {{- if .Values.postgresql.own }}
  {{- include "orchestrator.peers" (list . "postgresql") | nindent 4 }}
  {{- else }} {{ toJson .Values.postgresql.peers }}
  {{- end }}
  ports:
    - {port: {{ .Values.postgresql.port }}}
{{- end -}}

{{- define "orchestrator.toApiServer" -}}
- to: {{ toJson .Values.network.apiServer }}
  ports:
    - {port: 443}
    - {port: 6443}
{{- end -}}

{{- define "orchestrator.toGateway" -}}
- to: {{- include "orchestrator.peers" (list . "gateway") | nindent 4 }}
  ports:
    - {port: 8900}
{{- end -}}

{{- /* Calls that values allow. */ -}}
{{- define "orchestrator.calls" -}}
{{- range . }}
- to: {{ toJson (.to | default list) }}
  {{- with .ports }}
  ports:
    {{- range . }}
    - {port: {{ . }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
