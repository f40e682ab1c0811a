"""`orchestrator runtimes doctor` on a machine where things are right, and where they are not."""

import re
import socket
from pathlib import Path

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.command_lines import offer_frameworks, refused, run, succeeds

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which the fake framework is installed, and nothing else."""
    point = "orchestrator_runtimes.conformance.fake:PROFILE"
    environment = {
        "ORCHESTRATOR_HOME": str(tmp_path / "home"),
        "ORCHESTRATOR_MODEL_URL": "",
        "PYTHONPATH": offer_frameworks(tmp_path / "offered", fake=point),
    }
    succeeds("orchestrator", "runtimes", "install", "fake", folder=tmp_path, **environment)
    return environment


def doctor(folder: Path, environment: dict[str, str]) -> tuple[int, dict[str, tuple[bool, str]], str]:
    """Return the status, what was found by name of check, and the last line."""
    done = run("orchestrator", "runtimes", "doctor", folder=folder, **environment)
    assert "Traceback" not in done.stderr, done.stderr[-3_000:]
    *lines, last = done.stdout.splitlines()
    found = [re.fullmatch(r"(ok |BAD)  ([^:]+): (.*)", line) for line in lines]
    return done.returncode, {one[2]: (one[1] == "ok ", one[3]) for one in found if one}, last


def test_what_is_installed_is_started_and_what_is_not_is_no_fault(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    status, found, last = doctor(tmp_path, machine)
    assert (status, last) == (0, "nothing to mend")
    assert found["fake"][0] and re.match(r"Fake 1 starts, on Python 3\.", found["fake"][1])
    assert found["agno"] == (True, "not installed; `orchestrator runtimes install agno`")
    assert found["embedded model"][0] and "not installed" in found["embedded model"][1]
    assert found["home"][1].startswith(f"{tmp_path / 'home'}, ")


def test_the_endpoint_that_is_named_is_asked(
    tmp_path: Path, machine: dict[str, str], endpoint: ModelEndpoint
) -> None:
    machine["ORCHESTRATOR_MODEL_URL"] = endpoint.script("doctor", Script())
    status, found, _ = doctor(tmp_path, machine)
    assert status == 0
    assert found["model"] == (True, f"{machine['ORCHESTRATOR_MODEL_URL']} answers with status 200")
    assert "embedded model" not in found


def test_everything_that_is_wrong_is_told_and_counted(tmp_path: Path, machine: dict[str, str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        machine["ORCHESTRATOR_MODEL_URL"] = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        store = EnvironmentStore(Path(machine["ORCHESTRATOR_HOME"]))
        environment = store.find(FAKE.lock())
        assert environment is not None
        environment.python.unlink()
        environment.path.with_name("f" * 64).mkdir()
        status, found, last = doctor(tmp_path, machine)
    assert (status, last) == (1, "3 to mend")
    assert (
        not found["fake"][0]
        and "`orchestrator runtimes remove fake` and install it again" in found["fake"][1]
    )
    assert found["environments"] == (
        False,
        "an install was cut off: `orchestrator runtimes remove ffffffffffff`, or install it again",
    )
    assert not found["model"][0] and "does not answer as a model endpoint" in found["model"][1]
    for name in ("fake", "ffffffffffff"):
        succeeds("orchestrator", "runtimes", "remove", name, folder=tmp_path, **machine)
    machine["ORCHESTRATOR_MODEL_URL"] = ""
    assert doctor(tmp_path, machine)[2] == "nothing to mend", "what it says to do helps"


def test_an_address_that_is_none_is_told(tmp_path: Path, machine: dict[str, str]) -> None:
    machine["ORCHESTRATOR_MODEL_URL"] = "model.example"
    status, found, _ = doctor(tmp_path, machine)
    assert status == 1 and not found["model"][0] and "unknown url type" in found["model"][1]


def test_two_plug_ins_of_one_name_are_refused_by_name(tmp_path: Path, machine: dict[str, str]) -> None:
    point = "orchestrator_runtimes.conformance.fake:PROFILE"
    machine["PYTHONPATH"] = offer_frameworks(tmp_path / "more", agno=point)
    said = refused("orchestrator", "runtimes", "list", folder=tmp_path, **machine)
    assert "entry point 'agno'" in said
