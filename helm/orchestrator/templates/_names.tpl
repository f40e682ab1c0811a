{{- /* The name of an object: of the release and a word. Takes a list of the root and the word. */ -}}
{{- define "orchestrator.name" -}}
{{- $root := index . 0 -}}
{{- $name := printf "%s-%s" $root.Release.Name (index . 1) -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "the name %q would have more than 52 characters: choose a shorter one for the release, tenant or location" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /* Labels that pods are selected by. Takes a list of the root and the component. */ -}}
{{- define "orchestrator.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: orchestrator
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "orchestrator.labels" -}}
{{- $root := index . 0 -}}
{{ include "orchestrator.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- /* A tenant with its defaults and its namespace, as JSON. Takes a list of the root and the tenant's name. */ -}}
{{- define "orchestrator.tenant" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $tenant := mergeOverwrite (include "orchestrator.defaults.tenant" $root | fromJson) (deepCopy (get $root.Values.tenants $name)) -}}
{{- if not $tenant.namespace -}}
{{- $_ := set $tenant "namespace" (include "orchestrator.name" (list $root $name)) -}}
{{- end -}}
{{- if eq $tenant.namespace $root.Release.Namespace -}}
{{- fail (printf "tenants.%s.namespace: %q is the release's own: runs would be beside the gateway's keys" $name $tenant.namespace) -}}
{{- end -}}
{{- range $other, $more := $root.Values.tenants -}}
{{- $theirs := $more.namespace | default (printf "%s-%s" $root.Release.Name $other) -}}
{{- if and (ne $other $name) (eq $theirs $tenant.namespace) -}}
{{- fail (printf "tenants.%s.namespace: %q is that of the tenant %q, too" $name $tenant.namespace $other) -}}
{{- end -}}
{{- end -}}
{{- range $number, $call := $tenant.calls -}}
{{- if or (not $call.ports) (has "8900" (toStrings ($call.ports | default list))) -}}
{{- fail (printf "tenants.%s.calls[%d].ports: name ports, and not 8900: guests are locked to it, so whoever listens there is theirs to call" $name $number) -}}
{{- end -}}
{{- end -}}
{{- toJson $tenant -}}
{{- end -}}

{{- /* A code location with its defaults and its namespace, as JSON. Takes a list of the root and its name. */ -}}
{{- define "orchestrator.location" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $location := mergeOverwrite (include "orchestrator.defaults.location" $root | fromJson) (deepCopy (get $root.Values.locations $name)) -}}
{{- if not (hasKey $root.Values.tenants $location.tenant) -}}
{{- fail (printf "locations.%s.tenant: no tenant is named %q; there are %s" $name $location.tenant (keys $root.Values.tenants | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- $kinds := list -}}
{{- range $root.Values.gpus -}}{{- $kinds = append $kinds .name -}}{{- end -}}
{{- range $location.gpuTypes -}}
{{- if not (has . $kinds) -}}
{{- fail (printf "locations.%s.gpuTypes: %q is not among gpus; there are %s" $name . (join ", " $kinds | default "none")) -}}
{{- end -}}
{{- end -}}
{{- $tenant := include "orchestrator.tenant" (list $root $location.tenant) | fromJson -}}
{{- $_ := set $location "namespace" $tenant.namespace -}}
{{- if not $location.serviceAccount -}}
{{- $_ := set $location "serviceAccount" (include "orchestrator.name" (list $root "runs")) -}}
{{- end -}}
{{- toJson $location -}}
{{- end -}}
