{{- /* What all pods of the chart have. Takes a dictionary: root, pods (their values), account, token, user. */ -}}
{{- define "orchestrator.pod" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .user | default 10001 }}
  fsGroup: 10000
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .pods.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .pods.tolerations }}
tolerations:
{{- range . }}
  - {{ mergeOverwrite (dict "operator" "Exists") . | toJson }}
{{- end }}
{{- end }}
{{- with .pods.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- /* What all containers of the chart have. Takes a dictionary: root, image, resources. */ -}}
{{- define "orchestrator.container" -}}
image: {{ .image | quote }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
resources:
  requests: {{ pick .resources "cpu" "memory" | toJson }}
  limits: {{ pick .resources "memory" | toJson }}
{{- end -}}

{{- /* The file that gateway.tenantKeysSecret names, which is replaced when the Secret is. */ -}}
{{- define "orchestrator.tenantKeysMount" -}}
- {name: tenant-keys, mountPath: /run/secrets/orchestrator-keys, readOnly: true}
{{- end -}}

{{- define "orchestrator.tenantKeysVolume" -}}
- name: tenant-keys
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - {key: {{ .key }}, path: {{ .key }}}
{{- end -}}

{{- /* A pod of Dagster's own has its instance here, and what it may write. */ -}}
{{- define "orchestrator.dagsterMounts" -}}
- {name: home, mountPath: /opt/dagster/home}
- {name: instance, mountPath: /opt/dagster/home/dagster.yaml, subPath: dagster.yaml, readOnly: true}
- {name: scratch, mountPath: /tmp}
{{- end -}}

{{- define "orchestrator.dagsterVolumes" -}}
- {name: home, emptyDir: {sizeLimit: 64Mi}}
- {name: instance, configMap: {name: {{ include "orchestrator.name" (list . "instance") }}}}
- {name: scratch, emptyDir: {sizeLimit: 1Gi}}
{{- end -}}
