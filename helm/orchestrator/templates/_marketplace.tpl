{{- /* The values of `marketplace` with their defaults, as JSON. */ -}}
{{- define "orchestrator.marketplace" -}}
{{- mergeOverwrite (include "orchestrator.defaults.marketplace" . | fromJson) (deepCopy .Values.marketplace) | toJson -}}
{{- end -}}

{{- define "orchestrator.marketplaceUrl" -}}
{{ ternary "https" "http" (not (empty .Values.tls)) }}://{{ include "orchestrator.name" (list . "marketplace") }}.{{ .Release.Namespace }}.svc:8940
{{- end -}}
