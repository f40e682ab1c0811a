"""A container that is locked to a port, beside one that is not, in a pod whose policy says where the port leads."""

from pathlib import Path

from orchestrator_runtimes import network_locks
from tests.e2e.kubectl import Namespace
from tests.e2e.pods import CALL, container, pod, policy, server, service
from tests.e2e.test_network import TO_DNS

GATEWAY = 8080
DATABASE = 5432
LOCKED = f"{Path(network_locks.__file__).read_text()}\nlock({GATEWAY})\n"
NO_OTHER_SOCKET = """
import socket
for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
    try:
        socket.socket(socket.AF_INET, kind)
        print("open", kind)
    except PermissionError:
        print("closed", kind)
"""


def test_a_locked_guest_goes_to_the_gateway_alone_and_the_run_beside_it_where_the_policy_lets_it(
    namespace: Namespace, image: str
) -> None:
    ports = {"gateway": GATEWAY, "stranger": GATEWAY, "database": DATABASE}
    for name, port in ports.items():
        namespace.create(server(name, image, port))
    namespace.create(service("gateway"))
    for name in ports:
        namespace.wait(f"pod/{name}", "condition=Ready")
    place = {name: f"{namespace.get('pod', name)['status']['podIP']}:{port}" for name, port in ports.items()}
    namespace.create(
        policy(
            "runs",
            {"role": "run"},
            "egress",
            [
                {
                    "to": [{"podSelector": {"matchLabels": {"app": name}}}],
                    "ports": [{"port": ports[name], "protocol": "TCP"}],
                }
                for name in ("gateway", "database")
            ]
            + [TO_DNS],
        )
    )
    run = {
        place["gateway"]: "open",
        place["database"]: "open",
        place["stranger"]: "closed",
        "gateway:80": "open",
    }
    guest = {
        place["gateway"]: "open",
        place["database"]: "closed",
        place["stranger"]: "closed",
        "gateway:80": "closed",
        "127.0.0.1:80": "closed",
    }
    words = {
        name: [f"{state}={address}" for address, state in expected.items()]
        for name, expected in (("run", run), ("guest", guest))
    }
    namespace.create(
        pod(
            "run",
            container("run", image, CALL, *words["run"]),
            container("guest", image, LOCKED + NO_OTHER_SOCKET + CALL, *words["guest"]),
            labels={"role": "run"},
        )
    )
    namespace.finish("run")
    said = {name: namespace.ask("logs", "run", f"--container={name}").splitlines() for name in words}
    assert said["run"] == [f"{state} {address}" for address, state in run.items()]
    assert said["guest"] == [
        "closed 2",
        "closed 3",
        *(f"{state} {address}" for address, state in guest.items()),
    ]
