"""Pods as agents' runs will be: restricted, with a sidecar on a socket, with limits that are reported."""

import json

import pytest

from tests.e2e.kubectl import Namespace, Refused, kubectl
from tests.e2e.pods import container, pod

LISTEN = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.socket(socket.AF_UNIX)
listener.bind("/run/runtime/new")
listener.listen()
os.rename("/run/runtime/new", "/run/runtime/socket")
while True:
    connection, _ = listener.accept()
    connection.sendall(b"answer to " + connection.recv(99))
    connection.close()
"""
CONNECT = """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/runtime/socket")
connection.sendall(b"run")
print(connection.recv(99).decode())
"""


def test_every_node_is_ready() -> None:
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    assert nodes
    for node in nodes:
        conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
        assert conditions["Ready"] == "True", node["metadata"]["name"]


def test_a_restricted_pod_runs_and_succeeds(namespace: Namespace, image: str) -> None:
    namespace.create(pod("hello", container("main", image, "import os; print('user', os.getuid())")))
    assert namespace.finish("hello") == "user 10001\n"


def test_a_pod_that_may_be_root_is_refused(namespace: Namespace, image: str) -> None:
    with pytest.raises(Refused, match='violates PodSecurity "restricted:latest"'):
        namespace.create(pod("root", container("main", image, "pass"), securityContext={}))


def test_a_native_sidecar_serves_a_unix_socket_of_the_pod(namespace: Namespace, image: str) -> None:
    mounts = [{"name": "runtime", "mountPath": "/run/runtime"}]
    exists = "import os, sys; sys.exit(not os.path.exists('/run/runtime/socket'))"
    probe = {"exec": {"command": ["python3", "-c", exists]}, "periodSeconds": 1, "failureThreshold": 60}
    sidecar = container(
        "runtime", image, LISTEN, restartPolicy="Always", startupProbe=probe, volumeMounts=mounts
    )
    namespace.create(
        pod(
            "run",
            container("run", image, CONNECT, volumeMounts=mounts),
            initContainers=[sidecar],
            volumes=[{"name": "runtime", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}],
            terminationGracePeriodSeconds=30,
        )
    )
    assert namespace.finish("run") == "answer to run\n"


def test_a_container_beyond_its_memory_is_reported_as_such(namespace: Namespace, image: str) -> None:
    namespace.create(pod("greedy", container("main", image, "print(len(bytearray(200 * 2**20)))")))
    namespace.wait("pod/greedy", "jsonpath={.status.phase}=Failed")
    (status,) = namespace.get("pod", "greedy")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_commands_run_in_a_running_container(namespace: Namespace, image: str) -> None:
    namespace.create(pod("waiting", container("main", image, "import signal; signal.pause()")))
    namespace.wait("pod/waiting", "condition=Ready")
    assert namespace.ask("exec", "waiting", "--", "python3", "-c", "print('inside')") == "inside\n"
