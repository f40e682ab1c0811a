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


def outcome(
    namespace: Namespace, image: str, labels: dict[str, str], expected: dict[str, str]
) -> dict[str, str]:
    """Return what a caller with labels finds of addresses: `open` or `closed` as expected, or `not` so."""
    name = labels["role"]
    namespace.create(caller(name, image, expected, labels))
    lines = (line.rpartition(" ") for line in namespace.finish(name).splitlines())
    return {address: state for state, _, address in lines}


def test_the_name_of_a_service_resolves_and_leads_to_its_pod(servers: Namespace, image: str) -> None:
    names = ("red", f"red.{servers.name}.svc.cluster.local")
    servers.create(pod("resolve", container("main", image, RESOLVE, *names)))
    address = servers.get("service", "red")["spec"]["clusterIP"]
    assert servers.finish("resolve").split() == [address, address]
    expected = {"red:80": "open", "kubernetes.default:443": "open"}
    assert outcome(servers, image, {"role": "anybody"}, expected) == expected


def test_only_allowed_pods_come_in(servers: Namespace, image: str) -> None:
    allowed = [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]
    servers.create(policy("friends", {"app": "red"}, "ingress", allowed))
    expected = {"red:80": "open"}
    assert outcome(servers, image, {"role": "friend"}, expected) == expected
    expected = {"red:80": "closed", "blue:80": "open"}
    assert outcome(servers, image, {"role": "stranger"}, expected) == expected


def test_a_closed_pod_goes_out_to_what_is_named_and_nothing_else(servers: Namespace, image: str) -> None:
    to_blue = {"to": [{"podSelector": {"matchLabels": {"app": "blue"}}}]}
    servers.create(policy("guests", {"role": "guest"}, "egress", [to_blue, TO_DNS]))
    expected = {"blue:80": "open", "red:80": "closed", "kubernetes.default:443": "closed"}
    assert outcome(servers, image, {"role": "guest"}, expected) == expected
    expected = {"red:80": "open", "kubernetes.default:443": "open"}
    assert outcome(servers, image, {"role": "other"}, expected) == expected
