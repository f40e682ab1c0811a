"""Pods and policies of tests, as the API server takes them; all pass Pod Security `restricted`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

USER: Final = 10_001

SERVE: Final = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Answer).serve_forever()
"""

CALL: Final = """
import socket, sys, time
def reaches(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        return True
    except OSError:
        return False
# rules follow a pod's start: what is asked for must hold within the time, three times in a row
for words in sys.argv[1:]:
    expected, address = words.split("=", 1)
    until, right = time.monotonic() + 45, 0
    while right < 3 and time.monotonic() < until:
        right = right + 1 if reaches(address) == (expected == "open") else 0
        time.sleep(0.2)
    print(expected if right == 3 else "not " + expected, address, flush=True)
"""


def container(name: str, image: str, code: str, *arguments: str, **further: Any) -> dict[str, Any]:
    """Return a container that runs Python code."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code, *arguments],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi", "cpu": "500m"}},
    } | further


def pod(
    name: str, *containers: Mapping[str, Any], labels: Mapping[str, str] | None = None, **further: Any
) -> dict[str, Any]:
    """Return a pod that is not started again and ends at once when it is deleted."""
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": spec | further,
    }


def server(name: str, image: str, port: int = 8080) -> dict[str, Any]:
    """Return a pod that answers HTTP on a port, labelled `app: NAME`."""
    ready = {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1}
    return pod(name, container("main", image, SERVE, str(port), readinessProbe=ready), labels={"app": name})


def caller(name: str, image: str, expected: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a pod that prints for each `HOST:PORT` whether it is `open` or `closed`, as expected or `not`."""
    words = [f"{state}={address}" for address, state in expected.items()]
    return pod(name, container("main", image, CALL, *words), labels=labels)


def service(name: str) -> dict[str, Any]:
    """Return a service of the server of the same name, at port 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def policy(name: str, selected: Mapping[str, str], direction: str, rules: Sequence[Any]) -> dict[str, Any]:
    """Return a network policy for pods with labels; `direction` is `ingress` or `egress`."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": dict(selected)},
            "policyTypes": [direction.capitalize()],
            direction: list(rules),
        },
    }
