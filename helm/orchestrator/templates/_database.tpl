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
{{- $mode := .Values.postgresql.sslMode -}}
{{- if .Values.tls -}}
{{- $mode = $mode | default "verify-full" -}}
{{- if has $mode (list "disable" "allow" "prefer") -}}
{{- fail (printf "postgresql.sslMode: %q may be a plain connection, and tls is set: leave it out, or take require, verify-ca or verify-full" $mode) -}}
{{- end -}}
{{- end -}}
{{- $mode | default (ternary "disable" "require" (not (empty .Values.postgresql.own))) -}}
{{- end -}}

{{- /* Whether the database is verified by tls.ca: with `require` libpq would take a file of authorities for verify-ca. */ -}}
{{- define "orchestrator.databaseIsVerified" -}}
{{- if and .Values.tls (hasPrefix "verify-" (include "orchestrator.databaseSslMode" .)) }}true{{ end -}}
{{- end -}}

{{- /* How libpq connects by itself: for addresses of databases that say nothing of it, such as those of Secrets. */ -}}
{{- define "orchestrator.databaseTls" -}}
{{- if .Values.tls -}}
- {name: PGSSLMODE, value: {{ include "orchestrator.databaseSslMode" . }}}
{{- if include "orchestrator.databaseIsVerified" . }}
- {name: PGSSLROOTCERT, value: {{ include "orchestrator.caFile" . }}}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* Without a password: libpq reads it from PGPASSWORD. */ -}}
{{- define "orchestrator.databaseUrl" -}}
{{- with .Values.postgresql -}}
postgresql://{{ .user }}@{{ include "orchestrator.databaseHost" $ }}:{{ .port }}/{{ .database }}?sslmode={{ include "orchestrator.databaseSslMode" $ }}
{{- if include "orchestrator.databaseIsVerified" $ }}&sslrootcert={{ include "orchestrator.caFile" $ }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* A variable from an entry of a Secret. Takes a list of the variable's name and the Secret's name and key. */ -}}
{{- define "orchestrator.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {{ pick (index . 1) "name" "key" | toJson }}
{{- end -}}

{{- define "orchestrator.databasePassword" -}}
{{- include "orchestrator.secretVariable" (list "PGPASSWORD" .Values.postgresql.passwordSecret) }}
{{- /* libpq waits without end for who accepts a connection and says nothing, and Dagster sets no limit */}}
- {name: PGCONNECT_TIMEOUT, value: "10"}
{{- with include "orchestrator.databaseTls" . }}
{{ . }}
{{- end -}}
{{- end -}}

{{- define "orchestrator.gatewayUrl" -}}
{{ ternary "https" "http" (not (empty .Values.tls)) }}://{{ include "orchestrator.name" (list . "gateway") }}.{{ .Release.Namespace }}.svc:8900
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
{{- if .Values.marketplace }}
- name: ORCHESTRATOR_MARKETPLACE
  value: {{ include "orchestrator.marketplaceUrl" . }}
{{- with include "orchestrator.marketplaceAuthority" . }}
{{ . }}
{{- end }}
{{- if not (hasKey .Values.runs.environment "ORCHESTRATOR_MANAGED_SOURCES") }}
- name: ORCHESTRATOR_MANAGED_SOURCES
  value: {{ prepend .Values.marketplace.configuration.registries (include "orchestrator.marketplaceUrl" .) | join " " | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.runs.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
