"""Managed locations as the platform runs them: from a folder of YAML to a code server, and to runs."""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_resources.approvals import Asker
from orchestrator_resources.instance_state import state_folder, state_url
from orchestrator_resources.run_state import RunState
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.messages import ApprovalAsk
from orchestrator_tenancy import managed_definitions
from orchestrator_tenancy.checked_locations import CheckedCodeLocation
from orchestrator_tenancy.managed.guest_runtimes import TRUST_VARIABLE
from orchestrator_tenancy.managed.refusals import NotManaged
from tests.integration.hostile_code_servers import origin_at

AGENT = """
type: orchestrator_assets.AgentComponent
attributes:
  framework: fake
  portable: {instructions: Help., tools: [{function: "tools:order"}]}
  prompt: EXEC-1
  retries: {max: 0}
  asset: {key: reviews}
---
type: orchestrator_assets.ApprovalsComponent
"""
TOOLS = """
import pathlib
import sys
pathlib.Path("IMPORTED").write_text(repr(sorted(sys.modules)))

def order(what: str) -> str:
    "Order something."
    return what
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_framework: None) -> Path:
    root = tmp_path / "location"
    (root / "one").mkdir(parents=True)
    (root / "one" / "defs.yaml").write_text(AGENT)
    (root / "one" / "tools.py").write_text(TOOLS.replace("IMPORTED", str(tmp_path / "imported")))
    monkeypatch.setenv("ORCHESTRATOR_TENANT", "acme")
    monkeypatch.setenv("ORCHESTRATOR_DEFINITIONS", str(root))
    return root


@pytest.fixture
def instance(tmp_path: Path) -> Generator[dg.DagsterInstance]:
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), {"telemetry": {"enabled": False}}) as made:
        yield made


def definitions() -> Any:
    loaded: Any = managed_definitions.defs
    return loaded()


def run(instance: dg.DagsterInstance, job: str = "__ASSET_JOB", **more: Any) -> dg.ExecuteInProcessResult:
    result: dg.ExecuteInProcessResult = (
        definitions().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **more)
    )
    return result


def test_the_agents_code_is_imported_by_its_guest_and_by_nobody_else(
    folder: Path,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    endpoint: ModelEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_MODEL_URL", endpoint.script("managed", Script(echo=r"EXEC-\w+")))
    definitions()
    refused = run(instance)
    assert not refused.success
    said = [str(event.event_specific_data) for event in refused.all_events if event.is_failure]
    assert any(
        "agents of managed locations run in guests of containers of their own" in text for text in said
    )
    assert not (tmp_path / "imported").exists(), "neither loading nor a refused run imports it"
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    done = run(instance)
    assert done.success
    (event,) = done.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey(["acme", "reviews"])
    assert "'dagster'" not in (tmp_path / "imported").read_text(), "it was imported, by a guest"
    assert "tools" not in sys.modules


def test_a_decision_is_about_the_tenants_own_requests(folder: Path, instance: dg.DagsterInstance) -> None:
    state = RunState(state_folder(instance), state_url())
    try:
        asked = {}
        for asset in ("acme/reviews", "globex/reviews"):
            asking = ApprovalAsk(execution=asset, step="s", occurrence=0, tool="order", arguments={})
            whose = Asker(asset=asset, partition=None, item="one", run="r", seconds=100.0)
            asked[asset] = state.approvals.ask(asking, whose).id

        def decide(asset: str) -> bool:
            config = {"approval": asked[asset], "decision": "approve"}
            return run(
                instance, "acme__approval_decision", run_config={"ops": {"decide": {"config": config}}}
            ).success

        assert decide("acme/reviews")
        assert not decide("globex/reviews")
        assert [request.asker.asset for request in state.approvals.list(waiting=True)] == ["globex/reviews"]
    finally:
        state.close()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_code_server_of_a_managed_location_serves_names_of_its_tenant(
    folder: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "dagster",
        "api",
        "grpc",
        "-m",
        "orchestrator_tenancy.managed_definitions",
        "--location-name=acme",
    ]
    log = (tmp_path / "log").open("w")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "plugin"),
        "DAGSTER_HOME": str(tmp_path / "instance"),
    }
    (tmp_path / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    server = subprocess.Popen(
        [sys.executable, "-m", *command, f"--port={port}"],
        cwd=tmp_path,
        stdout=log,
        stderr=log,
        env=environment,
    )
    try:
        origin = origin_at(port, "acme")
        until = time.monotonic() + 100
        while not answers(port) and server.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        location = CheckedCodeLocation(origin, instance, "acme")
        repository: Any = location.get_repository("__repository__")
        assert [node.asset_key.path for node in repository.repository_snap.asset_nodes] == [
            ["acme", "reviews"]
        ]
        assert {job.name for job in repository.get_all_jobs()} == {"__ASSET_JOB", "acme__approval_decision"}
        assert not (tmp_path / "imported").exists()
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # Dagster's own may hang at its end
            server.kill()
            server.wait(30)
        log.close()


def test_a_location_of_nobody_or_of_no_folder_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_TENANT")
    with pytest.raises(ValueError, match="ORCHESTRATOR_TENANT is '', which is no tenant's name"):
        definitions()
    monkeypatch.setenv("ORCHESTRATOR_TENANT", "acme")
    monkeypatch.delenv("ORCHESTRATOR_DEFINITIONS")
    with pytest.raises(NotManaged, match="there is no folder '/opt/location': set ORCHESTRATOR_DEFINITIONS"):
        definitions()
