"""Dagster's web server."""

from typing import Any

import pytest

from tests.helm.charts import ONE_TEAM, TEAMS, TLS, Refused, render


def container(*more: dict[str, Any]) -> Any:
    (found,) = render(TEAMS, *more).of("web-server-deployment.yaml")
    (main,) = found["spec"]["template"]["spec"]["containers"]
    return main


MOUNTS = {"/opt/dagster/home", "/opt/dagster/home/dagster.yaml", "/etc/orchestrator", "/tmp"}


def test_it_serves_the_instance() -> None:
    main = container(ONE_TEAM)
    assert main["command"] == [
        "dagster-webserver",
        "--host=0.0.0.0",
        "--port=3000",
        "--workspace=/etc/orchestrator/workspace.yaml",
    ]
    assert {mount["mountPath"] for mount in main["volumeMounts"]} == MOUNTS
    assert main["readinessProbe"]["httpGet"] == {"path": "/server_info", "port": "http"}


def test_many_teams_sign_in() -> None:
    main = container()
    assert main["command"] == [
        "orchestrator",
        "web",
        "--sign-in=/etc/orchestrator-sign-in/sign-in.yaml",
        "--host=0.0.0.0",
        "--port=3000",
        "--workspace=/etc/orchestrator/workspace.yaml",
    ]
    assert {mount["mountPath"] for mount in main["volumeMounts"]} == {*MOUNTS, "/etc/orchestrator-sign-in"}
    assert main["readinessProbe"]["httpGet"] == {"path": "/sign-in/ready", "port": "http"}
    assert main["envFrom"] == [{"secretRef": {"name": "sign-in"}}]
    (url,) = [one for one in main["env"] if one["name"] == "ORCHESTRATOR_CONTROL_URL"]
    assert url["valueFrom"] == {"secretKeyRef": {"name": "control", "key": "url"}}


@pytest.mark.parametrize(("values", "ready"), [(ONE_TEAM, "/server_info"), ({}, "/sign-in/ready")])
def test_below_another_path(values: dict[str, Any], ready: str) -> None:
    main = container({"webServer": {"pathPrefix": "/agents/dagster"}}, values)
    assert "--path-prefix=/agents/dagster" in main["command"]
    for probe in ("startupProbe", "readinessProbe"):
        assert main[probe]["httpGet"]["path"] == f"/agents/dagster{ready}"


@pytest.mark.parametrize("wrong", ["agents", "/agents/", "/a b"])
def test_a_path_that_is_none(wrong: str) -> None:
    with pytest.raises(Refused, match="webServer/pathPrefix"):
        container({"webServer": {"pathPrefix": wrong}})


def test_read_only() -> None:
    assert "--read-only" in container(ONE_TEAM, {"webServer": {"readOnly": True}})["command"]
    with pytest.raises(Refused, match="follows from people's roles"):
        container({"webServer": {"readOnly": True}})


def test_several() -> None:
    (found,) = render(TEAMS, {"webServer": {"replicas": 3}}).of("web-server-deployment.yaml")
    assert found["spec"]["replicas"] == 3


CERTIFICATE = "/run/secrets/orchestrator-tls/tls.crt"


def test_with_tls_it_shows_a_certificate() -> None:
    main = container(TLS)
    assert f"--tls-certificate={CERTIFICATE}" in main["command"] and "--port=3000" in main["command"]
    assert main["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    roots = {"name": "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "value": "/etc/orchestrator-ca/ca.crt"}
    assert roots in main["env"] and roots not in container()["env"]


def test_of_one_team_what_speaks_no_tls_is_behind_what_does() -> None:
    words = container(ONE_TEAM, TLS)["command"]
    front, behind = words[: words.index("--")], words[words.index("--") + 1 :]
    assert front[:3] == ["python", "-m", "orchestrator_cluster.tls_front"]
    assert {f"--certificate={CERTIFICATE}", "--port=3000", "--to=3001"} <= set(front)
    assert behind[:3] == ["dagster-webserver", "--host=127.0.0.1", "--port=3001"]


def test_it_shows_people_what_runs_sealed_for_them() -> None:
    entry = {"name": "tenant-keys", "key": "keys.json"}
    (web,) = render(TEAMS, {"gateway": {"tenantKeysSecret": entry}}).of("web-server-deployment.yaml")
    found = web["spec"]["template"]["spec"]
    (main,) = found["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    (volume,) = [one for one in found["volumes"] if one["name"] == mounted["/run/secrets/orchestrator-keys"]]
    assert "--keys=/run/secrets/orchestrator-keys/keys.json" in main["command"]
    assert volume["secret"]["secretName"] == "tenant-keys"
