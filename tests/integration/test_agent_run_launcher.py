"""Runs launched by Dagster's own command line: the job that the API server is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api_servers import BINDINGS, LOCATION, ApiServer, Platform, api_server


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


@pytest.fixture
def platform(tmp_path: Path, api: ApiServer) -> Platform:
    return Platform(tmp_path, api, BINDINGS)


def test_a_run_is_one_pod_with_a_guest_server_for_each_runtime_of_its_plan(platform: Platform) -> None:
    status, said = platform.launch("agents")
    assert status == 0, said
    pod = platform.pod()
    (container,) = pod["containers"]
    assert container["image"] == "acme:1" and pod["serviceAccountName"] == "acme-runner"
    assert container["args"][:4] == ["dagster", "api", "execute_run", container["args"][3]]
    assert {"name": "ORCHESTRATOR_GUESTS", "value": "/guests"} in container["env"]
    servers = {server["image"]: server for server in pod["initContainers"]}
    assert servers.keys() == {"langgraph:1", "agno:1"}
    assert servers["agno:1"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert servers["langgraph:1"]["restartPolicy"] == "Always"
    assert servers["langgraph:1"]["command"][-2:] == ["--gateway-port", "8900"]
    assert pod["automountServiceAccountToken"] is False


def test_only_the_runtimes_of_what_is_selected_are_started(platform: Platform) -> None:
    assert platform.launch("one_agent")[0] == 0
    assert [server["image"] for server in platform.pod()["initContainers"]] == ["langgraph:1"]


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ("tagged", "the run has the tag 'dagster-k8s/config', which is not taken"),
        ("wished", "the step 'wishes' has the tag 'dagster-k8s/config', which is not taken"),
    ],
)
def test_who_writes_the_code_does_not_say_where_it_runs(
    platform: Platform, api: ApiServer, job: str, why: str
) -> None:
    _, said = platform.launch(job)
    assert why in said and api.jobs == []


def test_a_container_context_of_the_location_is_not_taken(platform: Platform, api: ApiServer) -> None:
    _, said = platform.launch(
        "one_agent", DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT='{"k8s": {"namespace": "other"}}'
    )
    assert "the code location asks for k8s in its container context" in said and api.jobs == []


def test_a_location_that_is_not_bound_runs_nothing(tmp_path: Path, api: ApiServer) -> None:
    platform = Platform(tmp_path, api, {"locations": {"other": LOCATION}, "gpus": BINDINGS["gpus"]})
    _, said = platform.launch("one_agent")
    assert "the code location 'definitions.py' is bound to no namespace; there are other" in said
    assert api.jobs == []


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("registry.example/acme/agents:7", None),
        ("registry.example/other/agents:7", "the location may have those of registry.example/acme/agents"),
    ],
)
def test_the_image_that_a_code_server_names_is_taken_from_an_own_repository_alone(
    tmp_path: Path, api: ApiServer, named: str, why: str | None
) -> None:
    location = {**LOCATION, "image": None, "repositories": ["registry.example/acme/agents"]}
    platform = Platform(tmp_path, api, {**BINDINGS, "locations": {"definitions.py": location}})
    _, said = platform.launch("one_agent", DAGSTER_CURRENT_IMAGE=named)
    if why is None:
        (container,) = platform.pod()["containers"]
        assert container["image"] == named
    else:
        assert why in said and api.jobs == []
