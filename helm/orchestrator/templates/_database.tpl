{{- define "orchestrator.databaseHost" -}}
{{- if and .Values.postgresql.host .Values.postgresql.own -}}
{{- fail "postgresql: host and own are both set: choose an external server or the chart's own" -}}
{{- else if .Values.postgresql.own -}}
{{- include "orchestrator.name" (list . "postgresql") }}.{{ .Release.Namespace }}.svc
{{- else -}}
{{- required "postgresql.host: set it to the address of a server, or set postgresql.own for one that the chart brings" .Values.postgresql.host -}}
{{- end -}}
{{- end -}}

{{- define "orchestrator.databaseSslMode" -}}
{{- .Values.postgresql.sslMode | default (ternary "disable" "require" (not (empty .Values.postgresql.own))) -}}
{{- end -}}

{{- /* Without a password: libpq reads it from PGPASSWORD. */ -}}
{{- define "orchestrator.databaseUrl" -}}
{{- with .Values.postgresql -}}
postgresql://{{ .user }}@{{ include "orchestrator.databaseHost" $ }}:{{ .port }}/{{ .database }}?sslmode={{ include "orchestrator.databaseSslMode" $ }}
{{- end -}}
{{- end -}}

{{- /* A variable from an entry of a Secret. Takes a list of the variable's name and the Secret's name and key. */ -}}
{{- define "orchestrator.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {{ pick (index . 1) "name" "key" | toJson }}
{{- end -}}

{{- define "orchestrator.databasePassword" -}}
{{- include "orchestrator.secretVariable" (list "PGPASSWORD" .Values.postgresql.passwordSecret) -}}
{{- end -}}

{{- define "orchestrator.gatewayUrl" -}}
http://{{ include "orchestrator.name" (list . "gateway") }}.{{ .Release.Namespace }}.svc:8900
{{- end -}}

{{- /* Variables of what runs definitions: runs and code servers. */ -}}
{{- define "orchestrator.runVariables" -}}
{{ include "orchestrator.databasePassword" . }}
{{- with .Values.postgresql.stateUrlSecret }}
{{ include "orchestrator.secretVariable" (list "ORCHESTRATOR_STATE_URL" .) }}
{{- else }}
- name: ORCHESTRATOR_STATE_URL
  value: {{ include "orchestrator.databaseUrl" . | quote }}
{{- end }}
{{ include "orchestrator.secretVariable" (list "ORCHESTRATOR_GATEWAY_SECRET" .Values.gateway.secret) }}
{{- range $name, $value := .Values.runs.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
