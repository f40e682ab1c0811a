{{- /* The bindings of the run launcher, in its own words: see orchestrator_cluster/bindings.py. */ -}}
{{- define "orchestrator.bindings" -}}
{{- $locations := dict -}}
{{- range $name, $_ := .Values.locations -}}
{{- $binding := dict "gateway_url" (include "orchestrator.gatewayUrl" $) -}}
{{- if $.Values.tls }}{{ $_ := set $binding "ca_config_map" (include "orchestrator.name" (list $ "ca")) }}{{ end -}}
{{- with $.Values.gateway.tenantKeysSecret }}{{ $_ := set $binding "tenant_keys_secret" (pick . "name" "key") }}{{ end -}}
{{- $location := include "orchestrator.location" (list $ $name) | fromJson -}}
{{- /* where the code server names the image, a new one must not change what the daemon reads */ -}}
{{- range $key, $value := omit $location "module" "server" (ternary "image" "repositories" (not (empty $location.repositories))) -}}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $binding (snakecase $key) $value }}{{ end -}}
{{- end -}}
{{- $_ := set $locations $name $binding -}}
{{- end -}}
{{- $gpus := list -}}
{{- range .Values.gpus -}}
{{- $gpu := dict -}}
{{- range $key, $value := . }}{{ $_ := set $gpu (snakecase $key) $value }}{{ end -}}
{{- $gpus = append $gpus $gpu -}}
{{- end -}}
{{- dict "locations" $locations "gpus" $gpus | toJson -}}
{{- end -}}

{{- /* dagster.yaml of everything that is no run. */ -}}
{{- define "orchestrator.instance" -}}
{{ include "orchestrator.commonInstance" . }}
run_coordinator:
  {{- with .Values.control }}
  module: orchestrator_tenancy.queue.seam_coordinator
  class: FairRunCoordinator
  config:
    {{- include "orchestrator.dequeue" . | nindent 4 }}
    {{- if not (kindIs "invalid" .gpus) }}
    gpus: {{ int .gpus }}
    {{- end }}
  {{- else }}
  {{- include "orchestrator.stockCoordinator" . | nindent 2 }}
  {{- end }}
run_launcher:
  module: orchestrator_cluster.run_launcher
  class: AgentRunLauncher
  config:
    dagster_home: /opt/dagster/home
    instance_config_map: {{ include "orchestrator.name" (list . "instance") }}
    service_account_name: {{ include "orchestrator.name" (list . "runs") }}
    image_pull_policy: {{ .Values.imagePullPolicy }}
    {{- with .Values.imagePullSecrets }}
    image_pull_secrets:
      {{- range . }}
      - {name: {{ . }}}
      {{- end }}
    {{- end }}
    env_secrets: {{ toJson .Values.runs.environmentSecrets }}
    run_k8s_config:
      container_config:
        env: {{- include "orchestrator.runVariables" . | nindent 10 }}
      job_spec_config:
        ttl_seconds_after_finished: {{ int .Values.runs.keepSeconds }}
    bindings: {{- include "orchestrator.bindings" . | fromJson | toYaml | nindent 6 }}
{{- end -}}

{{- /* dagster.yaml of runs, which launch none and need to know nothing of other tenants. */ -}}
{{- define "orchestrator.runInstance" -}}
{{ include "orchestrator.commonInstance" . }}
run_coordinator:
  {{- include "orchestrator.stockCoordinator" . | nindent 2 }}
{{- end -}}

{{- define "orchestrator.stockCoordinator" -}}
module: dagster.core.run_coordinator
class: QueuedRunCoordinator
config:
  {{- include "orchestrator.dequeue" . | nindent 2 }}
{{- end -}}

{{- define "orchestrator.dequeue" -}}
# one at a time would hold up the queue while each pod is asked for
dequeue_use_threads: true
dequeue_num_workers: 4
dequeue_interval_seconds: 1
{{- end -}}

{{- define "orchestrator.commonInstance" -}}
storage:
  custom:
    module: orchestrator_cluster.patient_storage
    class: PatientPostgresStorage
    config:
      postgres_db:
        hostname: {{ include "orchestrator.databaseHost" . }}
        port: {{ .Values.postgresql.port }}
        db_name: {{ .Values.postgresql.database | quote }}
        username: {{ .Values.postgresql.user | quote }}
        password: {env: PGPASSWORD}
        params:
          sslmode: {{ include "orchestrator.databaseSslMode" . }}
          {{- if include "orchestrator.databaseIsVerified" . }}
          sslrootcert: {{ include "orchestrator.caFile" . }}
          {{- end }}
# of one pod: outputs that others read need an IO manager of their own
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config: {base_dir: /tmp/dagster}
compute_logs:
{{- with .Values.runs.computeLogs }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  module: dagster.core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
{{- end }}
concurrency:
  runs:
    max_concurrent_runs: {{ .Values.runs.maxConcurrent }}
    {{- with .Values.runs.maxConcurrentPerLocation }}
    tag_concurrency_limits:
      - key: dagster/code_location
        value: {applyLimitPerUniqueValue: true}
        limit: {{ . }}
    {{- end }}
run_monitoring:
  enabled: true
  start_timeout_seconds: {{ .Values.runs.startSeconds }}
  cancel_timeout_seconds: {{ .Values.runs.cancelSeconds }}
  {{- with .Values.runs.maxSeconds }}
  max_runtime_seconds: {{ int . }}
  {{- end }}
  poll_interval_seconds: {{ .Values.runs.pollSeconds }}
run_retries:
  enabled: true
  max_retries: {{ .Values.runs.maxRetries }}
telemetry:
  enabled: false
# the web server would ask whoever comes first to join its maker's community
nux:
  enabled: false
{{- end -}}
