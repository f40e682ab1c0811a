"""Which Secrets a tenant is given, and of them which entries."""

import base64
from typing import Any

import pytest

from orchestrator_gateway.resolution import LEAST_SECRET_CHARACTERS
from orchestrator_gateway.tokens import BadToken, check_trusted, issue_trusted
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.platform_files import Release
from orchestrator_tenancy.tenant_secrets import given, given_to_tenant, wanted_secrets

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


def found_secret(**entries: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
    return {"metadata": {"name": "gateway", "namespace": "platform"}, "data": data}


def entries(secret: Any) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def release_of(**tenants: Any) -> Release:
    gateway = {"secret": {"name": "gateway", "key": "secret"}}
    return Release(
        name="agents", namespace="platform", chart="chart", values={"gateway": gateway, "tenants": tenants}
    )


def test_in_place_of_the_gateways_secret_a_tenant_has_its_own_which_is_good_for_nobody_else() -> None:
    release, gateways = release_of(red={}, blue={}), "s" * 32
    found = {"gateway": found_secret(secret=f"{gateways}\n", other="x")}
    ((red,), (blue,)) = (given_to_tenant(release, tenant, found) for tenant in ("red", "blue"))
    assert entries(red).keys() == {"secret"} and entries(red) != entries(blue)
    of_red = entries(red)["secret"].encode()
    assert len(of_red) >= LEAST_SECRET_CHARACTERS, "runs take no shorter one"
    assert check_trusted(gateways.encode(), issue_trusted(of_red, "red")) == "red"
    for whose in ("blue", None):
        with pytest.raises(BadToken):
            check_trusted(gateways.encode(), issue_trusted(of_red, whose))
    assert given_to_tenant(release, "red", found) == [red], "the same each time"


def test_a_tenant_beside_the_release_reads_what_is_there_and_nothing_is_replaced() -> None:
    assert given_to_tenant(release_of(red={"namespace": "platform"}), "red", {}) == []


def test_a_gateways_secret_that_is_no_text_is_told() -> None:
    broken = {**found_secret(), "data": {"secret": base64.b64encode(b"\xff\xfe").decode()}}
    with pytest.raises(AgentError, match="the Secret 'gateway' in platform: 'secret' is no text"):
        given_to_tenant(release_of(red={}), "red", {"gateway": broken})


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
