"""Namespaces of tenants."""

import pytest

from tests.helm.charts import LEAST, TEAMS, Refused, render


def test_a_tenant_has_one_that_takes_restricted_pods_only() -> None:
    (namespace,) = render(TEAMS).of("tenant-namespaces.yaml")
    assert namespace["metadata"]["name"] == "agents-acme"
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "warn", "audit"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert labels["orchestrator/tenant"] == "acme"


def test_it_stays_with_the_secrets_that_are_in_it() -> None:
    (namespace,) = render(TEAMS).of("tenant-namespaces.yaml")
    assert namespace["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_one_that_is_there_is_not_made() -> None:
    assert render(TEAMS, {"tenants": {"acme": {"createNamespace": False}}}).of("tenant-namespaces.yaml") == []
    assert render(LEAST).of("tenant-namespaces.yaml") == []


def test_two_tenants_never_share_one() -> None:
    for other in ("rival-agents", "agents-rival"):
        with pytest.raises(Refused, match=r"tenants\..*\.namespace: .* is that of the tenant"):
            render(TEAMS, {"tenants": {"acme": {"namespace": other}, "rival": {"namespace": other}}})
    with pytest.raises(
        Refused, match=r"tenants\.acme\.namespace: \"agents-rival\" is that of the tenant \"rival\""
    ):
        render(LEAST, {"tenants": {"acme": {"namespace": "agents-rival"}, "rival": {}}})


def test_none_is_where_the_gateways_keys_are() -> None:
    with pytest.raises(Refused, match=r"tenants\.acme\.namespace: \"platform\" is the release's own"):
        render(TEAMS, {"tenants": {"acme": {"namespace": "platform"}}})
