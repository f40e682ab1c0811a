{{- /* The values of `marketplace` with their defaults, as JSON. */ -}}
{{- define "orchestrator.marketplace" -}}
{{- mergeOverwrite (include "orchestrator.defaults.marketplace" . | fromJson) (deepCopy .Values.marketplace) | toJson -}}
{{- end -}}

{{- /* Whom its clients verify it by; empty without `tls`. */ -}}
{{- define "orchestrator.marketplaceAuthority" -}}
{{- if .Values.tls -}}
- {name: ORCHESTRATOR_MARKETPLACE_CA_FILE, value: {{ include "orchestrator.caFile" . }}}
{{- end -}}
{{- end -}}

{{- define "orchestrator.marketplaceUrl" -}}
{{ ternary "https" "http" (not (empty .Values.tls)) }}://{{ include "orchestrator.name" (list . "marketplace") }}.{{ .Release.Namespace }}.svc:8940
{{- end -}}
