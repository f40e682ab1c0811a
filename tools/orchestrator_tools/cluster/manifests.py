"""What runs in the cluster itself: its DNS, as a pod with the labels that network policies everywhere name."""

from typing import Any, Final

from orchestrator_tools.cluster.places import DNS_SERVICE, DOMAIN

DNS_NAMESPACE: Final = "kube-system"
DNS_NAME: Final = "coredns"
DNS_LABELS: Final = {"k8s-app": "kube-dns"}
READ_ONLY: Final = ["list", "watch"]

_COREFILE: Final = f"""\
.:53 {{
    errors
    ready
    cache 30
    kubernetes {DOMAIN} in-addr.arpa
}}
"""


def dns_objects(image: str) -> dict[str, Any]:
    """Return the objects of the DNS as one list; `image` holds the program `/coredns`."""
    account = {"name": DNS_NAME, "namespace": DNS_NAMESPACE}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": READ_ONLY},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ_ONLY},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", **account}],
    }
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": account,
        "data": {"Corefile": _COREFILE},
    }
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
            role,
            binding,
            settings,
            _dns_deployment(image),
            _dns_service(),
        ],
    }


def _dns_service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": DNS_NAMESPACE, "labels": DNS_LABELS},
        "spec": {
            "clusterIP": DNS_SERVICE,
            "selector": DNS_LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    }


def _dns_deployment(image: str) -> dict[str, Any]:
    container = {
        "name": DNS_NAME,
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/coredns", "-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/coredns", "readOnly": True}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DNS_NAME, "namespace": DNS_NAMESPACE},
        "spec": {
            "selector": {"matchLabels": DNS_LABELS},
            "template": {
                "metadata": {"labels": DNS_LABELS},
                "spec": {
                    "serviceAccountName": DNS_NAME,
                    "dnsPolicy": "Default",
                    "priorityClassName": "system-cluster-critical",
                    "containers": [container],
                    "volumes": [{"name": "settings", "configMap": {"name": DNS_NAME}}],
                },
            },
        },
    }
