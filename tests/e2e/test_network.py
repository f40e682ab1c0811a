"""Services have names, and network policies hold."""

from typing import Any

import pytest

from tests.e2e.kubectl import Namespace
from tests.e2e.pods import caller, container, pod, policy, server, service

RESOLVE = "import socket, sys; print(*(socket.gethostbyname(name) for name in sys.argv[1:]))"
TO_DNS: Any = {
    "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


@pytest.fixture
def servers(namespace: Namespace, image: str) -> Namespace:
    """A namespace with two services, `red` and `blue`, that answer."""
    for name in ("red", "blue"):
        namespace.create(server(name, image), service(name))
    for name in ("red", "blue"):
        namespace.wait(f"pod/{name}", "condition=Ready")
    return namespace


def outcome(namespace: Namespace, image: str, name: str, labels: dict[str, str], **expected: str) -> str:
    """Return what a caller with labels says of services: `open` or `closed` as expected, or `not` so."""
    urls = {f"http://{service_name}/": state for service_name, state in expected.items()}
    namespace.create(caller(name, image, urls, labels))
    return namespace.finish(name)


def test_the_name_of_a_service_resolves_and_leads_to_its_pod(servers: Namespace, image: str) -> None:
    names = ("red", f"red.{servers.name}.svc.cluster.local")
    servers.create(pod("resolve", container("main", image, RESOLVE, *names)))
    address = servers.get("service", "red")["spec"]["clusterIP"]
    assert servers.finish("resolve").split() == [address, address]
    assert outcome(servers, image, "call", {}, red="open") == "open http://red/\n"


def test_only_allowed_pods_come_in(servers: Namespace, image: str) -> None:
    allowed = [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]
    servers.create(policy("friends", {"app": "red"}, "ingress", allowed))
    assert outcome(servers, image, "friend", {"role": "friend"}, red="open") == "open http://red/\n"
    said = outcome(servers, image, "stranger", {"role": "stranger"}, red="closed", blue="open")
    assert said == "closed http://red/\nopen http://blue/\n"


def test_a_closed_pod_goes_out_to_what_is_named_and_nothing_else(servers: Namespace, image: str) -> None:
    to_blue = {"to": [{"podSelector": {"matchLabels": {"app": "blue"}}}]}
    servers.create(policy("guests", {"role": "guest"}, "egress", [to_blue, TO_DNS]))
    said = outcome(servers, image, "guest", {"role": "guest"}, blue="open", red="closed")
    assert said == "open http://blue/\nclosed http://red/\n"
    assert outcome(servers, image, "other", {"role": "other"}, red="open") == "open http://red/\n"
