"""Dagster's web server."""

from typing import Any

import pytest

from tests.helm.charts import TEAMS, Refused, render


def container(*more: dict[str, Any]) -> Any:
    (found,) = render(TEAMS, *more).of("web-server-deployment.yaml")
    (main,) = found["spec"]["template"]["spec"]["containers"]
    return main


def test_it_serves_the_instance() -> None:
    main = container()
    assert main["command"] == [
        "dagster-webserver",
        "--host=0.0.0.0",
        "--port=3000",
        "--workspace=/etc/orchestrator/workspace.yaml",
    ]
    mounts = {mount["mountPath"] for mount in main["volumeMounts"]}
    assert {"/opt/dagster/home", "/opt/dagster/home/dagster.yaml", "/etc/orchestrator", "/tmp"} == mounts
    assert main["readinessProbe"]["httpGet"] == {"path": "/server_info", "port": "http"}


def test_below_another_path() -> None:
    main = container({"webServer": {"pathPrefix": "/agents/dagster"}})
    assert "--path-prefix=/agents/dagster" in main["command"]
    for probe in ("startupProbe", "readinessProbe"):
        assert main[probe]["httpGet"]["path"] == "/agents/dagster/server_info"


@pytest.mark.parametrize("wrong", ["agents", "/agents/", "/a b"])
def test_a_path_that_is_none(wrong: str) -> None:
    with pytest.raises(Refused, match="webServer/pathPrefix"):
        container({"webServer": {"pathPrefix": wrong}})


def test_read_only() -> None:
    assert "--read-only" in container({"webServer": {"readOnly": True}})["command"]


def test_several() -> None:
    (found,) = render(TEAMS, {"webServer": {"replicas": 3}}).of("web-server-deployment.yaml")
    assert found["spec"]["replicas"] == 3
