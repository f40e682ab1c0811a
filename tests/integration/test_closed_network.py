"""Without a network but its loopback, an agent of every framework runs, calls nobody else, and writes nowhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.profiles import installed_frameworks

FOLDER: Final = Path(__file__).with_name("closed_network")
NAMESPACE: Final = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-Urn")
SECONDS: Final = 110


def _python(framework: str) -> str:
    if framework == "fake":
        return sys.executable
    environment = EnvironmentStore(home_folder()).find(installed_frameworks()[framework].lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {framework}"
    return str(environment.python)


def _run(framework: str, folder: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """Run the driver in a namespace; return what it printed and what the guest's processes noted."""
    try:
        made = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)
        refusal = made.stderr if made.returncode else ""
    except OSError as error:
        refusal = str(error)
    if refusal:
        pytest.fail(
            f"{' '.join(NAMESPACE)} makes no network namespace here ({refusal.strip()}): allow it, or be root"
        )
    audit, notes = folder / "audit", folder / "notes"
    audit.mkdir()
    (audit / "sitecustomize.py").symlink_to(FOLDER / "sitecustomize.py")
    notes.touch()
    words = [
        *NAMESPACE,
        sys.executable,
        str(FOLDER / "driver.py"),
        framework,
        _python(framework),
        str(audit),
        str(notes),
    ]
    run = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stderr[-3_000:]
    noted: list[list[str]] = [json.loads(line) for line in notes.read_text().splitlines()]
    return json.loads(run.stdout.splitlines()[-1]), noted


@pytest.mark.parametrize("framework", sorted({*installed_frameworks()} - {"fake"}))
def test_a_framework_needs_no_network_and_writes_only_to_its_folder(framework: str, tmp_path: Path) -> None:
    told, noted = _run(framework, tmp_path)
    assert told["interfaces"] == ["lo"]
    assert len(told["answers"]) >= 3
    for name, answer in told["answers"].items():
        assert "EXEC-" in answer, f"{name}: {answer}"
    assert ["began"] in [note[:1] for note in noted], "nobody watched"
    assert [note for note in noted if note[0] != "began"] == []


def test_what_a_tool_does_outside_is_seen(tmp_path: Path) -> None:
    told, noted = _run("fake", tmp_path)
    assert told["answers"]["misdeeds"].startswith("It is sunny")
    seen = {(kind, what) for kind, what in noted if kind != "began"}
    assert {
        ("called", "('192.0.2.1', 80)"),
        ("asked for", "telemetry.example"),
        ("wrote", "/tmp/closed-network-misdeed"),
        ("os.remove", "/tmp/closed-network-misdeed"),
    } <= seen
