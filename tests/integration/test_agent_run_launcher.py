"""Runs launched by Dagster's own command line: the job that the API server is asked for."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.command_lines import BIN

SECONDS = 100
DEFINITIONS = """\
import dagster as dg
from orchestrator_assets import AgentSpec, PortableSpec, agent_asset
from orchestrator_assets.agent_specs import GpuSpec
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES

def agent(key, framework, **more):
    spec = AgentSpec(framework=framework, portable=PortableSpec(instructions="Help."), prompt="hello", **more)
    return agent_asset(spec, asset=dg.AssetSpec(key))

@dg.asset(op_tags={"dagster-k8s/config": {"container_config": {"image": "mine"}}})
def wishes() -> None: ...

defs = dg.Definitions(
    assets=[agent("one", "langgraph"), agent("two", "agno", gpu=GpuSpec(type="H100")), wishes],
    jobs=[
        dg.define_asset_job("agents", ["one", "two"]),
        dg.define_asset_job("one_agent", ["one"]),
        dg.define_asset_job("tagged", ["one"], tags={"dagster-k8s/config": {"container_config": {"image": "mine"}}}),
        dg.define_asset_job("wished", ["wishes"]),
    ],
    resources={"agent_runtimes": AGENT_RUNTIMES},
)
"""
LOCATION = {
    "tenant": "acme",
    "namespace": "acme-runs",
    "service_account": "acme-runner",
    "image": "acme:1",
    "images": {"langgraph": "langgraph:1", "agno": "agno:1"},
    "max_gpus": 1,
    "gpu_types": ["H100"],
}
BINDINGS = {
    "locations": {"definitions.py": LOCATION},
    "gpus": [{"name": "H100", "memory_mb": 81_559}],
}


class ApiServer(ThreadingHTTPServer):
    """Takes jobs as an API server does, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, ApiServer)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.jobs.append((self.path, json.loads(body)))
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Platform:
    """An instance whose runs go to a cluster."""

    def __init__(self, folder: Path, api: ApiServer, bindings: Mapping[str, Any]) -> None:
        self._folder, self._api = folder, api
        (folder / "definitions.py").write_text(DEFINITIONS)
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_address[1]}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        (folder / "kubeconfig").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [cluster],
                    "contexts": [context],
                    "users": [{"name": "u", "user": dict[str, str]()}],
                    "current-context": "c",
                }
            )
        )
        config = {
            "service_account_name": "unused",
            "instance_config_map": "instance",
            "dagster_home": "/opt/dagster",
            "load_incluster_config": False,
            "kubeconfig_file": str(folder / "kubeconfig"),
            "bindings": dict(bindings),
        }
        launcher = {
            "module": "orchestrator_cluster.run_launcher",
            "class": "AgentRunLauncher",
            "config": config,
        }
        (folder / "home").mkdir()
        (folder / "home" / "dagster.yaml").write_text(
            yaml.safe_dump(
                {
                    "run_launcher": launcher,
                    "run_coordinator": {
                        "module": "dagster.core.run_coordinator",
                        "class": "DefaultRunCoordinator",
                    },  # no daemon here
                    "telemetry": {"enabled": False},
                }
            )
        )

    def launch(self, job: str, **environment: str) -> tuple[int, str]:
        """Launch a job; return the exit status and what was printed."""
        done = subprocess.run(
            [BIN / "dagster", "job", "launch", "-f", "definitions.py", "-j", job],
            check=False,
            cwd=self._folder,
            env={**os.environ, "DAGSTER_HOME": str(self._folder / "home"), **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def pod(self) -> Any:
        """Return the spec of the pod of the only job."""
        ((path, job),) = self._api.jobs
        assert path == "/apis/batch/v1/namespaces/acme-runs/jobs"
        return job["spec"]["template"]["spec"]


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
