"""Agent assets whose guests run in another container: the conformance suite, kills and retries, and what is refused."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from orchestrator_assets import agent_asset
from orchestrator_assets.execution_specs import GpuSpec, RetrySpec
from orchestrator_resources.environments import lock_digest
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.guest_server_messages import server_name, server_socket
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.agent_materializations import failure, fake_agent, materialize
from tests.integration.guest_servers import free_port, guest_server, image
from tests.integration.processes import wait_until


@pytest.fixture
def short(place: Path) -> Path:
    """A folder with a short path."""
    return place.parent


@pytest.mark.timeout(400)
@pytest.mark.parametrize("framework", ["fake", "langgraph"])
def test_the_conformance_suite_passes_over_a_locked_guest_server(framework: str, short: Path) -> None:
    python, path = Path(sys.executable), None
    if framework != "fake":
        python, path = image(short, installed_frameworks()[framework])
    port = str(free_port())
    most = ("--most", "2", "--gateway-port", port)
    with guest_server(short, framework, *most, python=python, path=path) as served:
        suite = [sys.executable, "-m", "orchestrator_runtimes.conformance", "-p", "no:cacheprovider"]
        asked = [*suite, "--framework", framework, "--guest-server", str(served.socket)]
        asked += ["--guest-python", str(python)]  # the suite's MCP server needs the environment, too
        asked += ["--model-address", f"127.0.0.2:{port}"]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=short, timeout=380, check=False)
        assert done.returncode == 0, done.stdout[-3_000:]
        assert int(done.stdout.splitlines()[-1].split()[0]) > 90
        wait_until(lambda: not served.guests(), "every guest has ended")


@pytest.mark.usefixtures("fake_framework")
@pytest.mark.parametrize("victim", ["guest", "guardian"])
def test_an_asset_whose_served_guest_is_killed_repeats_no_model_call(
    victim: str, short: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = agent_asset(fake_agent(retries=RetrySpec(max=2)), asset=dg.AssetSpec("mine"))
    with guest_server(short) as served:
        monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(served.guests_folder))
        monkeypatch.setenv("ORCHESTRATOR_HOME", str(short / "no-environments"))

        def kill() -> None:
            wait_until(lambda: endpoint.count > 0, "the model is asked")
            ((above, below),) = served.guests().items()
            os.kill(below if victim == "guest" else above, signal.SIGKILL)

        endpoint.reset()
        killing = threading.Thread(target=kill)
        killing.start()
        result = materialize([asset], endpoint, Script(latency=1.5))
        killing.join()
        assert result.success
        assert endpoint.count == 1, "the gateway answers the second try from its journal"
        assert not (short / "no-environments" / "environments").exists()
        wait_until(lambda: not served.guests(), "no guest is left, and none was kept for the next run")


@pytest.mark.usefixtures("fake_framework")
def test_an_asset_waits_for_a_guest_server_that_is_still_to_start(
    short: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("mine"))
    (short / "sockets" / "fake").mkdir(parents=True)
    monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(short / "sockets"))
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(materialize, [asset], endpoint)
        with pytest.raises(TimeoutError):
            made.result(3)
        with guest_server(short):
            assert made.result(60).success


@pytest.mark.usefixtures("fake_framework")
def test_an_asset_whose_guest_server_is_killed_fails_and_succeeds_with_the_next(
    short: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("mine"))
    with guest_server(short) as served:
        monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(served.guests_folder))
        served.process.kill()
        served.process.wait(30)
        monkeypatch.setattr("orchestrator_runtimes.guest_server_connections.START_SECONDS", 0.5)
        code, why = failure(materialize([asset], endpoint))
        assert code == "runtime_crashed"
        assert "no guest server of 'fake' answers at" in why and "ConnectionRefusedError" in why
    with guest_server(short):
        assert materialize([asset], endpoint).success


@pytest.mark.usefixtures("fake_framework")
def test_a_framework_without_a_guest_server_is_named(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(tmp_path))
    code, why = failure(materialize([agent_asset(fake_agent(), asset=dg.AssetSpec("mine"))], endpoint))
    assert code == "agent_load_failed"
    assert f"'{tmp_path}' has no folder fake-" in why
    assert " or fake of a guest server of 'fake': this run needs a container of it" in why


@pytest.mark.usefixtures("fake_framework")
def test_of_several_servers_of_a_framework_the_one_of_the_environment_is_taken(
    short: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = server_name("fake", lock_digest(FAKE.lock()))
    with guest_server(short, name=name) as served, socket.socket(socket.AF_UNIX) as other:
        assert served.check() == 0
        plain = served.guests_folder / "fake"
        plain.mkdir()
        other.bind(str(server_socket(plain)))
        monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(served.guests_folder))
        assert materialize([agent_asset(fake_agent(), asset=dg.AssetSpec("mine"))], endpoint).success


@pytest.mark.usefixtures("fake_framework")
def test_gpus_of_guests_elsewhere_are_not_looked_for_here(
    short: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = agent_asset(fake_agent(gpu=GpuSpec(type="H100")), asset=dg.AssetSpec("mine"))
    with guest_server(short) as served:
        monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(served.guests_folder))
        assert materialize([asset], endpoint).success
