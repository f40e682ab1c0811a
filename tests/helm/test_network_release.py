"""Who may call whom among the pods of the release."""

from typing import Any

import pytest

from tests.helm.charts import LEAST, NAMESPACE, TEAMS, Manifest, merged, render
from tests.helm.network import End, allowed, component

GATEWAY = component("gateway", ports={"http": 8_900, "metrics": 9_464})
DAEMON, POSTGRESQL = component("daemon"), component("postgresql", ports={"postgresql": 5_432})
MARKETPLACE = component("marketplace", ports={"http": 8_940})
WEB = component("web-server", ports={"http": 3_000})
CODE = component(
    "code-server", "agents-acme", labels={"orchestrator/location": "reviews"}, ports={"grpc": 4_000}
)
RUN = End(namespace="agents-acme", labels={"orchestrator/tenant": "acme"})
DNS = End(namespace="kube-system", labels={"k8s-app": "kube-dns"})
MODELS = End(namespace="models", labels={"app": "vllm"})
ELSEWHERE = End(address="203.0.113.7")
API_SERVER = End(address="10.96.0.1")
CONTROL = End(namespace="control", labels={"app": "postgresql"})
STRANGER = End(namespace="other", labels={"app": "other"})


def manifests(*more: dict[str, Any]) -> list[Manifest]:
    return list(render(TEAMS, *more).manifests)


@pytest.mark.parametrize(
    ("source", "target", "port", "protocol"),
    [
        (GATEWAY, POSTGRESQL, 5_432, "TCP"),
        (GATEWAY, ELSEWHERE, 443, "TCP"),
        (GATEWAY, MODELS, 8_000, "TCP"),
        (GATEWAY, DNS, 53, "UDP"),
        (DAEMON, POSTGRESQL, 5_432, "TCP"),
        (DAEMON, API_SERVER, 443, "TCP"),
        (DAEMON, CODE, 4_000, "TCP"),
        (DAEMON, DNS, 53, "TCP"),
        (WEB, POSTGRESQL, 5_432, "TCP"),
        (WEB, API_SERVER, 443, "TCP"),
        (WEB, CODE, 4_000, "TCP"),
        (DAEMON, CONTROL, 5_432, "TCP"),
        (WEB, CONTROL, 443, "TCP"),
        (RUN, GATEWAY, 8_900, "TCP"),
        (End(namespace="ingress"), WEB, 3_000, "TCP"),
        (End(namespace="ingress"), MARKETPLACE, 8_940, "TCP"),
        (CODE, MARKETPLACE, 8_940, "TCP"),
        (DAEMON, MARKETPLACE, 8_940, "TCP"),
        (RUN, MARKETPLACE, 8_940, "TCP"),
        (MARKETPLACE, ELSEWHERE, 443, "TCP"),
        (MARKETPLACE, ELSEWHERE, 5_432, "TCP"),
        (MARKETPLACE, DNS, 53, "UDP"),
        (End(namespace="monitoring"), GATEWAY, 9_464, "TCP"),
    ],
)
def test_what_is_needed_is_allowed(source: End, target: End, port: int, protocol: str) -> None:
    assert allowed(manifests(), source, target, port, protocol)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (GATEWAY, API_SERVER, 6_443),
        (GATEWAY, CONTROL, 5_432),
        (CODE, CONTROL, 5_432),
        (RUN, CONTROL, 5_432),
        (GATEWAY, ELSEWHERE, 80),
        (GATEWAY, MODELS, 22),
        (GATEWAY, DAEMON, 3_000),
        (GATEWAY, CODE, 4_000),
        (DAEMON, ELSEWHERE, 443),
        (DAEMON, GATEWAY, 8_900),
        (DAEMON, CODE, 22),
        (DAEMON, End(namespace="agents-acme", labels={"app": "other"}), 4_000),
        (POSTGRESQL, ELSEWHERE, 443),
        (POSTGRESQL, DNS, 53),
        (STRANGER, GATEWAY, 8_900),
        (STRANGER, POSTGRESQL, 5_432),
        (STRANGER, WEB, 3_000),
        (STRANGER, MARKETPLACE, 8_940),
        (MARKETPLACE, GATEWAY, 8_900),
        (MARKETPLACE, POSTGRESQL, 8_900),
        (MARKETPLACE, CODE, 4_000),
        (MARKETPLACE, API_SERVER, 6_443),
        (STRANGER, DAEMON, 3_000),
        (RUN, WEB, 3_000),
        (RUN, GATEWAY, 9_464),
        (End(namespace="monitoring"), GATEWAY, 8_900),
        (End(namespace=NAMESPACE, labels={"app": "other"}), GATEWAY, 8_900),
    ],
)
def test_what_is_not_needed_is_refused(source: End, target: End, port: int) -> None:
    assert not allowed(manifests(), source, target, port)


def test_nobody_calls_the_web_server_unless_it_is_said_who() -> None:
    closed = list(render(LEAST).manifests)
    assert not allowed(closed, End(namespace="ingress"), WEB, 3_000)


def test_nobody_reads_metrics_that_there_are_not() -> None:
    changes = {"gateway": {"configuration": {"telemetry": {"prometheus": None}}}}
    assert not allowed(manifests(changes), End(namespace="monitoring"), GATEWAY, 9_464)


def test_an_external_database_is_anybody_at_its_port_or_who_is_named() -> None:
    database = End(address="10.1.2.3")
    open_one = list(render(LEAST, {"postgresql": {"port": 6_432}}).manifests)
    assert allowed(open_one, GATEWAY, database, 6_432) and not allowed(open_one, GATEWAY, database, 5_432)
    named = list(render(LEAST, {"postgresql": {"peers": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}}).manifests)
    assert allowed(named, GATEWAY, database, 5_432)
    assert not allowed(named, GATEWAY, End(address="10.2.0.1"), 5_432)


def test_the_api_server_is_anybody_at_its_ports_or_who_is_named() -> None:
    assert allowed(list(render(LEAST).manifests), DAEMON, ELSEWHERE, 6_443)
    assert not allowed(manifests(), DAEMON, ELSEWHERE, 6_443)


def test_names_are_asked_of_whom_the_operator_says() -> None:
    node = {"network": {"dns": [{"ipBlock": {"cidr": "169.254.20.10/32"}}]}}
    found = list(render(merged(TEAMS, node)).manifests)
    assert allowed(found, GATEWAY, End(address="169.254.20.10"), 53, "UDP")
    assert not allowed(found, GATEWAY, DNS, 53, "UDP")
