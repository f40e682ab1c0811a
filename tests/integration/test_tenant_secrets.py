"""Secrets of tenants on a cluster: handed out, told of when somebody changed them, taken back when a tenant is gone."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_gateway.tokens import check_trusted, issue_trusted
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.platform_files import Release
from orchestrator_tenancy.secret_drift import secret_drifts, take_back
from orchestrator_tenancy.tenant_secrets import hand_out
from tests.integration.secret_servers import SecretServer, secret_server

GATEWAYS = "g" * 40
VALUES: dict[str, Any] = {
    "gateway": {"secret": {"name": "gateway", "key": "secret"}},
    "postgresql": {"passwordSecret": {"name": "postgresql", "key": "password"}},
}


def release(*tenants: str, name: str = "agents") -> Release:
    values: dict[str, Any] = {**VALUES, "tenants": {tenant: dict[str, Any]() for tenant in tenants}}
    return Release(name=name, namespace=f"{name}-platform", chart="chart", values=values)


def entry(name: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": name}, "data": encoded}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SecretServer]:
    with secret_server(tmp_path) as running:
        for namespace in ("agents-platform", "agents-green-platform"):
            running.put(namespace, entry("gateway", secret=GATEWAYS))
            running.put(namespace, entry("postgresql", password="p", admin="not for tenants"))
        yield running


def given(server: SecretServer, namespace: str) -> dict[str, dict[str, str]]:
    return {
        name: {key: base64.b64decode(value).decode() for key, value in one["data"].items()}
        for (where, name), one in server.secrets.items()
        if where == namespace
    }


def test_each_has_its_own_of_the_gateways_and_again_changes_nothing(server: SecretServer) -> None:
    hand_out(release("red", "blue"))
    red, blue = given(server, "agents-red"), given(server, "agents-blue")
    assert red["postgresql"] == blue["postgresql"] == {"password": "p"}
    token = issue_trusted(red["gateway"]["secret"].encode(), "red")
    assert check_trusted(GATEWAYS.encode(), token) == "red" and red["gateway"] != blue["gateway"]
    before = dict(server.secrets)
    hand_out(release("red", "blue"))
    assert server.secrets == before and secret_drifts([release("red", "blue")]) == []
    labels = server.namespaces["agents-red"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_somebody_changed_or_deleted_is_told_without_the_secret_and_made_anew(
    server: SecretServer,
) -> None:
    every = [release("red", "blue")]
    hand_out(every[0])
    server.put("agents-red", {**server.secrets["agents-red", "gateway"], **entry("gateway", secret="evil")})
    kept = server.secrets["agents-blue", "gateway"]
    changed = {**kept, "data": {**kept["data"], "secret": base64.b64encode(b"evil").decode()}}
    server.put("agents-blue", changed)
    del server.secrets["agents-red", "postgresql"]
    assert secret_drifts(every) == [
        "Secret agents-red/gateway: is not there, or not as `reconcile` made it",
        "Secret agents-red/postgresql: is not there, or not as `reconcile` made it",
        "Secret agents-blue/gateway: secret is another one",
    ]
    hand_out(every[0])
    assert secret_drifts(every) == []


def test_of_a_tenant_that_is_gone_the_secrets_go_and_nothing_of_others(server: SecretServer) -> None:
    hand_out(release("red", "blue"))
    hand_out(release("green", name="agents-green"))
    server.put("agents-red", entry("theirs", own="made by the team"))
    now = [release("blue")]
    assert secret_drifts(now) == [
        "Secret agents-red/gateway: is of no tenant",
        "Secret agents-red/postgresql: is of no tenant",
        "release agents-green: is of no tenant; when its database is not needed any more: helm uninstall agents-green",
    ]
    assert take_back(now) == ["Secret agents-red/gateway", "Secret agents-red/postgresql"]
    assert given(server, "agents-red").keys() == {"theirs"}
    assert given(server, "agents-blue").keys() == given(server, "agents-green-green").keys()
    assert take_back(now) == [] and len(secret_drifts(now)) == 1
    assert secret_drifts([release("blue"), release("green", name="agents-green")]) == []


def test_another_platform_of_the_same_cluster_is_left_alone(server: SecretServer) -> None:
    hand_out(release("blue"))
    for name in ("other", "agents-2"):
        labels = {"app.kubernetes.io/managed-by": "orchestrator", "app.kubernetes.io/instance": name}
        theirs = entry("gateway", secret="x")
        server.put(f"{name}-red", {**theirs, "metadata": {**theirs["metadata"], "labels": labels}})
    assert secret_drifts([release("blue")]) == [] and take_back([release("blue")]) == []


def test_a_secret_that_the_operator_did_not_make_is_named(server: SecretServer) -> None:
    del server.secrets["agents-platform", "postgresql"]
    with pytest.raises(AgentError, match="there is no Secret 'postgresql' in the namespace agents-platform"):
        hand_out(release("red"))


def test_an_api_server_that_is_away_is_told(server: SecretServer) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(ClusterAway):
        take_back([release("red")])
