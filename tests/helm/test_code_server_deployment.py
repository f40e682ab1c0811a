"""Code servers: one for each location, in the namespace of its tenant."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helm.charts import LEAST, TEAMS, TLS, Refused, render


def deployment(name: str, *more: dict[str, Any]) -> Any:
    (found,) = [
        one
        for one in render(TEAMS, *more).of("code-server-deployment.yaml")
        if one["metadata"]["name"] == f"agents-code-{name}"
    ]
    return found


def container(name: str, *more: dict[str, Any]) -> Any:
    (found,) = deployment(name, *more)["spec"]["template"]["spec"]["containers"]
    return found


def test_each_is_in_the_namespace_of_its_tenant() -> None:
    assert deployment("reviews")["metadata"]["namespace"] == "agents-acme"
    assert deployment("support")["metadata"]["namespace"] == "rival-agents"
    assert render(LEAST).of("code-server-deployment.yaml") == []


def test_it_serves_the_module_of_its_image() -> None:
    main = container("reviews")
    assert main["image"] == "registry.example/acme-reviews:7"
    assert (
        "--module-name=reviews.definitions" in main["command"]
        and "--location-name=reviews" in main["command"]
    )
    assert main["readinessProbe"]["grpc"] == {"port": 4_000, "service": "DagsterApi"}
    assert main["ports"] == [{"name": "grpc", "containerPort": 4_000}]


def test_one_whose_definitions_do_not_load_ends_and_says_why(tmp_path: Path) -> None:
    """Else it would take the place of the one that serves."""
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "definitions.py").write_text("import nothing_of_this_name\n")
    _dagster, *words = container("reviews")["command"]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "No module named 'nothing_of_this_name'" in done.stderr


def test_the_old_one_serves_until_the_new_one_does() -> None:
    assert deployment("reviews")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_what_is_another_teams_starts_it_not_anew() -> None:
    before = deployment("reviews")
    changes: list[dict[str, Any]] = [
        {"locations": {"support": {"image": "registry.example/rival-support:3"}}},
        {"gateway": {"replicas": 5}},
        {"tenants": {"third": {}}},
    ]
    for change in changes:
        assert deployment("reviews", change) == before
    assert deployment("reviews", {"postgresql": {"port": 6_432}}) != before


def test_it_says_no_word_of_where_runs_go() -> None:
    names = {one["name"] for one in container("reviews")["env"]}
    assert (
        not {"DAGSTER_CONTAINER_CONTEXT", "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT", "DAGSTER_CURRENT_IMAGE"}
        & names
    )


def test_it_has_what_runs_have() -> None:
    changes = {
        "runs": {
            "environment": {"STORE": "s3://here", "ODD": 'a "b" {{c}}'},
            "environmentSecrets": ["team-keys"],
        },
        "postgresql": {"stateUrlSecret": {"name": "state", "key": "url"}},
    }
    main = container("support", changes)
    found = {one["name"]: one.get("value", one.get("valueFrom")) for one in main["env"]}
    assert (found["STORE"], found["ODD"], found["ORCHESTRATOR_TENANT"]) == (
        "s3://here",
        'a "b" {{c}}',
        "rival",
    )
    assert found["ORCHESTRATOR_STATE_URL"] == {"secretKeyRef": {"name": "state", "key": "url"}}
    assert found["ORCHESTRATOR_GATEWAY_SECRET"] == {"secretKeyRef": {"name": "gateway", "key": "secret"}}
    assert main["envFrom"] == [{"secretRef": {"name": "team-keys"}}]


def test_a_tenant_that_is_none() -> None:
    why = r"locations\.reviews\.tenant: no tenant is named \"other\"; there are acme, rival"
    with pytest.raises(Refused, match=why):
        render(TEAMS, {"locations": {"reviews": {"tenant": "other"}}})


def test_a_kind_of_gpu_that_is_none() -> None:
    with pytest.raises(
        Refused, match=r"locations\.reviews\.gpuTypes: \"A100\" is not among gpus; there are H100"
    ):
        render(TEAMS, {"locations": {"reviews": {"gpuTypes": ["A100"]}}})


def test_a_name_that_is_too_long() -> None:
    name = "a" * 60
    with pytest.raises(Refused, match="would have more than 52 characters: choose a shorter one"):
        render(TEAMS, {"locations": {name: {"tenant": "acme", "image": "a", "module": "a"}}})


def test_it_has_the_keys_of_its_tenant_where_there_are_some() -> None:
    entry = {"name": "tenant-keys", "key": "keys.json"}
    pod = deployment("reviews", {"gateway": {"tenantKeysSecret": entry}})["spec"]["template"]["spec"]
    (main,) = pod["containers"]
    variables = {one["name"]: one.get("value") for one in main["env"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    (volume,) = [one for one in pod["volumes"] if one["name"] == mounted["/run/secrets/orchestrator-keys"]]
    assert variables["ORCHESTRATOR_TENANT_KEYS_FILE"] == "/run/secrets/orchestrator-keys/keys.json"
    assert volume["secret"]["secretName"] == "tenant-keys"


def test_with_tls_it_is_reached_by_no_other_way() -> None:
    main = container("reviews", TLS)
    words = main["command"]
    front, behind = words[: words.index("--")], words[words.index("--") + 1 :]
    assert front[:3] == ["python", "-m", "orchestrator_cluster.tls_front"] and "--port=4000" in front
    assert behind[:3] == ["dagster", "api", "grpc"]
    (own,) = [word.removeprefix("--socket=") for word in behind if word.startswith("--socket=")]
    assert f"--to=unix:{own}" in front and not any(word.startswith("--port") for word in behind)
    for probe in ("startupProbe", "readinessProbe"):
        assert main[probe]["tcpSocket"] == {"port": "grpc"}, "the kubelet's gRPC knows no TLS"
    found = {one["name"]: one.get("value") for one in main["env"]}
    assert found["ORCHESTRATOR_GATEWAY_CA_FILE"] == "/etc/orchestrator-ca/ca.crt"
    assert found["ORCHESTRATOR_GATEWAY_URL"].startswith("https://")
    volumes = deployment("support", TLS)["spec"]["template"]["spec"]["volumes"]
    (certificate,) = [one["secret"] for one in volumes if one["name"] == "certificate"]
    assert certificate["secretName"] == "code-servers-tls"


def test_what_is_published_is_found_where_the_release_has_a_marketplace() -> None:
    def told(*more: dict[str, Any]) -> dict[str, str]:
        return {one["name"]: one.get("value") for one in container("reviews", *more)["env"]}

    assert told()["ORCHESTRATOR_MARKETPLACE"] == "http://agents-marketplace.platform.svc:8940"
    assert "ORCHESTRATOR_MARKETPLACE_CA_FILE" not in told()
    managed = "http://agents-marketplace.platform.svc:8940 registry.example/agents"
    assert told()["ORCHESTRATOR_MANAGED_SOURCES"] == managed
    own = {"runs": {"environment": {"ORCHESTRATOR_MANAGED_SOURCES": "registry.example"}}}
    assert told(own)["ORCHESTRATOR_MANAGED_SOURCES"] == "registry.example"
    assert told(TLS)["ORCHESTRATOR_MARKETPLACE"].startswith("https://")
    assert told(TLS)["ORCHESTRATOR_MARKETPLACE_CA_FILE"] == "/etc/orchestrator-ca/ca.crt"
    assert "ORCHESTRATOR_MARKETPLACE" not in told({"marketplace": None})
