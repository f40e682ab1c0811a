{{- /* Written by `make format`. */ -}}
{{- define "orchestrator.defaults.tenant" -}}
{"createNamespace": true, "quota": {"pods": 50, "gpus": {}}, "deployers": [], "calls": []}
{{- end -}}
{{- define "orchestrator.defaults.location" -}}
{"server": {"cpu": "100m", "memory": "512Mi"}, "repositories": [], "network": "gateway", "images": {}, "run": {"cpu": "500m", "memory": "1Gi"}, "guest": {"cpu": "500m", "memory": "1Gi"}, "maxGpus": 0, "gpuTypes": [], "nodeSelector": {}, "tolerations": [], "warm": {"size": 0, "seconds": 3600}}
{{- end -}}
{{- define "orchestrator.defaults.marketplace" -}}
{"resources": {"cpu": "100m", "memory": "512Mi"}, "nodeSelector": {}, "tolerations": [], "replicas": 1, "configuration": {"limits": {"submissions_a_day": 100, "open_submissions": 50, "subscriptions": 20, "events_days": 400}, "webhooks": {"hosts": [], "tries": 20}, "bus_events": 10000}, "environmentSecrets": [], "callers": [], "calls": [{"to": [], "ports": [443, 5432]}]}
{{- end -}}
{{- define "orchestrator.defaults.ownPostgresql" -}}
{"resources": {"cpu": "100m", "memory": "512Mi"}, "nodeSelector": {}, "tolerations": [], "command": [], "userId": 999, "ephemeral": false, "storage": "10Gi"}
{{- end -}}
{{- define "orchestrator.defaults.tls" -}}
{"secrets": {"gateway": "gateway-tls", "webServer": "web-server-tls", "marketplace": "marketplace-tls", "postgresql": "postgresql-tls", "codeServers": "code-servers-tls"}}
{{- end -}}
