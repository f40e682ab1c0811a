"""Whom the pods of a tenant may call: runs, the guests beside them, code servers, and whatever else is there."""

from typing import Any

import pytest

from tests.helm.charts import TEAMS, Manifest, Refused, render
from tests.helm.network import End, allowed, component

RUN = End(namespace="rival-agents", labels={"orchestrator/tenant": "rival"})
UNKNOWN = End(namespace="rival-agents", labels={"app": "made-by-hand"})
CODE = component(
    "code-server", "rival-agents", labels={"orchestrator/location": "support"}, ports={"grpc": 4_000}
)
GATEWAY = component("gateway", ports={"http": 8_900, "metrics": 9_464})
POSTGRESQL = component("postgresql", ports={"postgresql": 5_432})
DNS = End(namespace="kube-system", labels={"k8s-app": "kube-dns"})
OTHER_RUN = End(namespace="agents-acme", labels={"orchestrator/tenant": "acme"})
OTHER_CODE = component(
    "code-server", "agents-acme", labels={"orchestrator/location": "reviews"}, ports={"grpc": 4_000}
)


def manifests(*more: dict[str, Any]) -> list[Manifest]:
    return list(render(TEAMS, *more).manifests)


@pytest.mark.parametrize("source", [RUN, UNKNOWN, CODE])
def test_gateway_database_and_names(source: End) -> None:
    found = manifests()
    assert allowed(found, source, GATEWAY, 8_900)
    assert allowed(found, source, POSTGRESQL, 5_432)
    assert allowed(found, source, DNS, 53, "UDP") and allowed(found, source, DNS, 53, "TCP")


@pytest.mark.parametrize("source", [RUN, UNKNOWN, CODE])
@pytest.mark.parametrize(
    ("target", "port"),
    [
        (End(address="203.0.113.7"), 443),
        (End(address="10.96.0.1"), 443),
        (End(address="169.254.169.254"), 80),
        (End(address="10.244.0.1"), 10_250),
        (GATEWAY, 9_464),
        (component("web-server", ports={"http": 3_000}), 3_000),
        (component("daemon"), 3_000),
        (POSTGRESQL, 22),
        (DNS, 443),
        (OTHER_RUN, 4_000),
        (OTHER_CODE, 4_000),
        (RUN, 8_000),
        (CODE, 4_000),
    ],
)
def test_nobody_else(source: End, target: End, port: int) -> None:
    assert not allowed(manifests(), source, target, port)


def test_nobody_calls_runs() -> None:
    for source in (OTHER_RUN, RUN, GATEWAY, component("daemon"), End(address="203.0.113.7")):
        assert not allowed(manifests(), source, RUN, 4_000)


@pytest.mark.parametrize("calls", [{"to": []}, {"ports": [443, 8_900]}])
def test_guests_are_locked_to_a_port_that_is_the_gateways_alone(calls: dict[str, Any]) -> None:
    why = r"tenants\.rival\.calls\[1\]\.ports: name ports, and not 8900"
    with pytest.raises(Refused, match=why):
        render(TEAMS, {"tenants": {"rival": {"calls": [{"ports": [443]}, calls]}}})
    assert not allowed(manifests(), RUN, End(address="203.0.113.7"), 8_900)


def test_more_only_where_it_is_said() -> None:
    store = End(address="10.7.7.7")
    calls = [{"to": [{"ipBlock": {"cidr": "10.7.0.0/16", "except": ["10.7.8.0/24"]}}], "ports": [9_000]}]
    found = manifests({"tenants": {"rival": {"calls": calls}}})
    assert allowed(found, RUN, store, 9_000) and not allowed(found, RUN, store, 22)
    assert not allowed(found, RUN, End(address="10.7.8.1"), 9_000)
    assert not allowed(found, OTHER_RUN, store, 9_000)
