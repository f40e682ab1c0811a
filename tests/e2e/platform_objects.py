"""Objects of a platform as the API server takes them; all pods pass Pod Security `restricted`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.e2e.namespaces import PRIORITY
from tests.e2e.pods import USER, container, pod

POSTGRES: Final = """
import os, pathlib, shutil, subprocess, sys, time
programs, data = sys.argv[1], pathlib.Path("/tmp/data")
if not (data / "made").exists():  # a container that is started again finds what the one before it kept
    shutil.rmtree(data, ignore_errors=True)
    made = [f"{programs}/initdb", "--no-sync", "--encoding=UTF8", "--auth=trust", "--username=platform", "-D", data]
    subprocess.run(made, check=True)
    with open(data / "pg_hba.conf", "a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\\n")
    (data / "made").touch()
(data / "postmaster.pid").unlink(missing_ok=True)
if (data / "away").exists():
    time.sleep(float((data / "away").read_text()))
server = f"{programs}/postgres"
os.execv(server, [server, "-D", data, "-k", "/tmp", "-c", "listen_addresses=*", "-c", "fsync=off",
                                  "-c", "max_connections=200", "-c", "shared_buffers=32MB"])
"""

SCRIPTED: Final = """
import asyncio, sys
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
async def serve():
    async with ModelEndpoint(host="0.0.0.0", port=8080) as endpoint:
        for words in sys.argv[1:]:
            name, _, seconds = words.partition("=")
            endpoint.script(name, Script(latency=float(seconds)))
        told = 0
        while True:
            await asyncio.sleep(0.1)
            calls = endpoint.calls
            for call in calls[told:]:
                print(call.script, call.turn_call, flush=True)
            told = len(calls)
asyncio.run(serve())
"""

SMOLLM2: Final = """
import importlib.util, pathlib, sys, threading
folder = pathlib.Path(importlib.util.find_spec("orchestrator_resources").origin).parent / "embedded_model"
sys.path.insert(0, str(folder))
import server, front, xllamacpp
from http.server import ThreadingHTTPServer
model = xllamacpp.Server(server.parameters(folder / "chat_template.jinja", 2, "not-a-secret"))
door = front.serve(model.listening_address)
ThreadingHTTPServer(("0.0.0.0", 8080), door.RequestHandlerClass).serve_forever()
"""


def deployment(
    name: str,
    image: str,
    command: Sequence[str] | None,
    *,
    port: int | None = None,
    cpu: str = "20m",
    memory: str = "1Gi",
    account: str | None = None,
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    secrets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a deployment of one pod, labelled `app: NAME`, that is ready when its port takes connections.

    Args:
        name: Of the deployment and its container.
        image: Of the container.
        command: What it runs; None runs what the image says.
        port: Where it listens; None for nowhere.
        cpu: What it gets where others want it, too.
        memory: Its limit.
        account: Service account whose token it has; None for none.
        volumes: Sources of volumes by path; `/tmp` is there in any case.
        secrets: Names of secrets that are its variables.
        environment: Its further variables.
    """
    paths: dict[str, Any] = {"/tmp": {"emptyDir": {}}, **(volumes or {})}
    numbered = {path: f"volume-{number}" for number, path in enumerate(paths)}
    ready = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 180}
    main = container(
        name,
        image,
        "",
        resources={"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"memory": memory}},
        volumeMounts=[{"name": volume, "mountPath": path} for path, volume in numbered.items()],
        envFrom=[{"secretRef": {"name": secret}} for secret in secrets],
        env=[{"name": key, "value": value} for key, value in (environment or {}).items()],
        **({"readinessProbe": ready} if port else {}),
    )
    main.pop("command")
    if command is not None:
        main["command"] = list(command)
    security = {"runAsNonRoot": True, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}}
    template = pod(
        name,
        main,
        labels={"app": name},
        restartPolicy="Always",
        automountServiceAccountToken=account is not None,
        serviceAccountName=account or "default",
        enableServiceLinks=False,
        priorityClassName=PRIORITY,
        securityContext=security,  # the user is the image's own
        volumes=[{"name": volume, **paths[path]} for path, volume in numbered.items()],
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }


def service_of(name: str, port: int) -> dict[str, Any]:
    """Return the service of a deployment at its own port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def config_map(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Return a config map of files."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(files)}


def secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a secret of texts."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}


def launcher_account(name: str) -> list[dict[str, Any]]:
    """Return a service account that may start, see and end runs in its namespace, and what makes it so."""
    rules = [
        {
            "apiGroups": ["batch"],
            "resources": ["jobs", "jobs/status"],
            "verbs": ["create", "delete", "get", "list"],
        },
        {
            "apiGroups": [""],
            "resources": ["pods", "pods/status"],
            "verbs": ["delete", "get", "list", "patch"],
        },
        {"apiGroups": [""], "resources": ["pods/log", "events"], "verbs": ["get", "list"]},
    ]
    rights = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": f"{rights}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{rights}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
            "roleRef": {"apiGroup": rights, "kind": "Role", "name": name},
        },
    ]
