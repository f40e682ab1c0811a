{{- /* The values of `tls` with their defaults, as JSON; an empty mapping where there is none. */ -}}
{{- define "orchestrator.tls" -}}
{{- with .Values.tls -}}
{{- mergeOverwrite (include "orchestrator.defaults.tls" $ | fromJson) (deepCopy .) | toJson -}}
{{- else -}}
{"secrets": {}}
{{- end -}}
{{- end -}}

{{- define "orchestrator.caFile" -}}
/etc/orchestrator-ca/ca.crt
{{- end -}}

{{- /* What verifies the others. Each is empty without `tls`. */ -}}
{{- define "orchestrator.caMount" -}}
{{- if .Values.tls -}}
- {name: ca, mountPath: /etc/orchestrator-ca, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "orchestrator.caVolume" -}}
{{- if .Values.tls -}}
- {name: ca, configMap: {name: {{ include "orchestrator.name" (list . "ca") }}}}
{{- end -}}
{{- end -}}

{{- define "orchestrator.caChecksum" -}}
{{- with .Values.tls -}}
checksum/ca: {{ .ca | sha256sum }}
{{- end -}}
{{- end -}}

{{- /* Of whoever calls code servers. */ -}}
{{- define "orchestrator.codeServerAuthorities" -}}
{{- if .Values.tls -}}
- {name: GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, value: {{ include "orchestrator.caFile" . }}}
{{- end -}}
{{- end -}}

{{- /* A certificate that a pod shows, with its key. Takes the name of a Secret; empty without one. */ -}}
{{- define "orchestrator.certificateMount" -}}
{{- if . -}}
- {name: certificate, mountPath: /run/secrets/orchestrator-tls, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "orchestrator.certificateVolume" -}}
{{- with . -}}
- {name: certificate, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end -}}
{{- end -}}

{{- /* The words of a command before those of a server that speaks no TLS. Takes a list of a port, ALPN's name of what
the server speaks, and where it listens. */ -}}
{{- define "orchestrator.tlsFront" -}}
- python
- -m
- orchestrator_cluster.tls_front
- --certificate=/run/secrets/orchestrator-tls/tls.crt
- --key=/run/secrets/orchestrator-tls/tls.key
- --port={{ index . 0 }}
- --protocol={{ index . 1 }}
- --to={{ index . 2 }}
- --
{{- end -}}

{{- define "orchestrator.tlsOptions" -}}
- --tls-certificate=/run/secrets/orchestrator-tls/tls.crt
- --tls-key=/run/secrets/orchestrator-tls/tls.key
{{- end -}}
