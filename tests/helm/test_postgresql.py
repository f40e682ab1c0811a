"""A PostgreSQL that the chart brings."""

import ipaddress
import secrets
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.helm.charts import LEAST, TLS, Refused, merged, render
from tests.integration.postgres_servers import postgres_server

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


def test_with_tls_it_takes_no_plain_connection() -> None:
    pod = stateful_set(TLS)["template"]["spec"]
    (main,) = pod["containers"]
    assert main["args"][0] == "postgres" and "command" not in main, (
        "what follows is the image's to begin with"
    )
    settings = dict(word.split("=", 1) for word in main["args"][2::2])
    assert settings["ssl"] == "on" and main["args"][1::2] == ["-c"] * len(settings)
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for setting in ("ssl_cert_file", "ssl_key_file", "hba_file"):
        assert settings[setting].rpartition("/")[0] in mounted, setting
    certificate = volumes[mounted["/run/secrets/orchestrator-tls"]]["secret"]
    assert certificate == {"secretName": "postgresql-tls", "defaultMode": 0o440}
    (rules,) = [
        one for one in render(merged(LEAST, OWN, TLS)).of("postgresql.yaml") if one["kind"] == "ConfigMap"
    ]
    assert volumes[mounted["/etc/orchestrator-postgresql"]]["configMap"] == {
        "name": rules["metadata"]["name"]
    }
    kinds = [line.split()[0] for line in rules["data"]["pg_hba.conf"].splitlines()]
    assert kinds == ["local", "hostssl"]
    assert "args" not in stateful_set()["template"]["spec"]["containers"][0]


def test_a_server_with_these_rules_refuses_who_speaks_no_tls() -> None:
    """The real server; the one of the tests is built without TLS, so nobody gets in from elsewhere."""
    (found,) = [
        one for one in render(merged(LEAST, OWN, TLS)).of("postgresql.yaml") if one["kind"] == "ConfigMap"
    ]
    address = str(ipaddress.ip_address("127.64.0.0") + secrets.randbelow(2**20))
    word = secrets.token_hex(16)
    with postgres_server(address) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"ALTER USER gateway PASSWORD '{word}'".encode())
            rules = Path(connection.execute("SHOW hba_file").fetchall()[0][0])
            rules.write_text(found["data"]["pg_hba.conf"])
            connection.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + 10
        while "no pg_hba.conf entry" not in (told := refused(address, word)):
            assert time.monotonic() < until, told
            time.sleep(0.1)
        psycopg.connect(server.url(), password=word).close()


def refused(address: str, word: str) -> str:
    """Return why a server refuses a plain connection; empty where it takes it."""
    try:
        psycopg.connect(f"postgresql://gateway:{word}@{address}/postgres?sslmode=disable").close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""
