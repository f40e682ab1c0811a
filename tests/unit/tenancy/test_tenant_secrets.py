"""Which Secrets a tenant is given, and of them which entries."""

from typing import Any

import pytest

from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.platform_files import Release
from orchestrator_tenancy.tenant_secrets import given, tenant_namespaces, wanted_secrets

VALUES: dict[str, Any] = {
    "gateway": {"secret": {"name": "gateway", "key": "secret"}, "environmentSecrets": ["model-keys"]},
    "postgresql": {
        "passwordSecret": {"name": "postgresql", "key": "password"},
        "journalUrlSecret": {"name": "postgresql", "key": "journal"},
        "stateUrlSecret": {"name": "state", "key": "url"},
    },
    "control": {"urlSecret": {"name": "control", "key": "url"}, "environmentSecrets": ["sign-in"]},
    "runs": {"environmentSecrets": ["buckets"]},
    "imagePullSecrets": ["registry"],
    "tenants": {"red": {}, "blue": {"namespace": "blues", "createNamespace": False}},
}


def test_what_pods_of_tenants_read_and_nothing_of_the_gateways_or_the_control_planes() -> None:
    assert wanted_secrets(VALUES) == {
        "gateway": {"secret"},
        "postgresql": {"password"},
        "state": {"url"},
        "buckets": None,
        "registry": None,
    }
    assert wanted_secrets({}) == {}


def test_two_entries_of_one_secret() -> None:
    one = {"gateway": {"secret": {"name": "all", "key": "a"}}}
    assert wanted_secrets({**one, "postgresql": {"passwordSecret": {"name": "all", "key": "b"}}}) == {
        "all": {"a", "b"}
    }


def test_where_they_are_given() -> None:
    release = Release(name="agents", namespace="platform", chart="chart", values=VALUES)
    assert tenant_namespaces(release) == {"agents-red": True, "blues": False}


def test_entries_that_nobody_named_stay_where_they_are() -> None:
    found = {
        "metadata": {"name": "postgresql", "namespace": "platform", "uid": "1"},
        "type": "Opaque",
        "data": {"password": "cA==", "admin": "YQ=="},
    }
    made = given(found, {"password"}, "agents")
    assert made["data"] == {"password": "cA=="} and made["metadata"].keys() == {"name", "labels"}
    assert given(found, None, "agents")["data"] == found["data"]
    with pytest.raises(AgentError, match="the Secret 'postgresql' in platform has no entry 'user'"):
        given(found, {"user"}, "agents")
