"""A PostgreSQL that the chart brings."""

from typing import Any

import pytest

from tests.helm.charts import LEAST, Refused, merged, render

OWN = {"postgresql": {"host": None, "own": {"image": "docker.io/library/postgres:17"}}}


def stateful_set(*more: dict[str, Any]) -> Any:
    return render(merged(LEAST, OWN, *more)).get("StatefulSet", "postgresql")["spec"]


def test_there_is_none_where_there_is_another() -> None:
    assert render(LEAST).of("postgresql.yaml") == []


def test_it_is_told_as_the_official_image_is() -> None:
    (main,) = stateful_set()["template"]["spec"]["containers"]
    found = {one["name"]: one.get("value", one.get("valueFrom")) for one in main["env"]}
    assert found["POSTGRES_DB"] == found["POSTGRES_USER"] == "orchestrator"
    assert found["POSTGRES_PASSWORD"] == {"secretKeyRef": {"name": "postgresql", "key": "password"}}
    mounts = [mount["mountPath"] for mount in main["volumeMounts"]]
    assert found["PGDATA"].startswith("/var/lib/postgresql/data/") and "/var/lib/postgresql/data" in mounts
    assert "/var/run/postgresql" in mounts, "its socket, on a file system that is read-only"


def test_its_volume() -> None:
    changes = {"postgresql": {"own": {"storage": "100Gi", "storageClass": "fast", "userId": 70}}}
    found = stateful_set(changes)
    (claim,) = found["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "100Gi"}
    assert claim["spec"]["storageClassName"] == "fast"
    assert found["template"]["spec"]["securityContext"]["runAsUser"] == 70
    (plain,) = stateful_set()["volumeClaimTemplates"]
    assert (
        plain["spec"]["resources"]["requests"] == {"storage": "10Gi"}
        and "storageClassName" not in plain["spec"]
    )


def test_data_may_go_with_the_pod() -> None:
    found = stateful_set({"postgresql": {"own": {"ephemeral": True, "storage": "1Gi", "command": ["serve"]}}})
    assert "volumeClaimTemplates" not in found
    pod = found["template"]["spec"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}} in pod["volumes"]
    assert pod["containers"][0]["command"] == ["serve"]
    assert "command" not in stateful_set()["template"]["spec"]["containers"][0]


def test_everybody_is_told_its_address() -> None:
    rendered = render(merged(LEAST, OWN))
    service = rendered.get("Service", "postgresql")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert f"hostname: {host}" in rendered.get("ConfigMap", "instance")["data"]["dagster.yaml"]
    (main,) = rendered.get("Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    url = f"postgresql://orchestrator@{host}:5432/orchestrator?sslmode=disable"
    assert {"name": "JOURNAL_URL", "value": url} in main["env"]


def test_neither_or_both() -> None:
    with pytest.raises(
        Refused, match=r"postgresql\.host: set it to the address of a server, or set postgresql\.own"
    ):
        render(LEAST, {"postgresql": {"host": None}})
    with pytest.raises(Refused, match="postgresql: host and own are both set"):
        render(LEAST, {"postgresql": {"own": {"image": "a"}}})
