"""The demo's messages, the instance, and the locks that are resolved again."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator_tools.demo import message
from orchestrator_tools.instances import INSTANCE, instance_environment, prepare_instance
from orchestrator_tools.locks import EXACT, lock_steps
from orchestrator_tools.steps import BIN, CHECKOUT


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-01-01 10:00:00 +0000 - dagster - INFO - reviews: 4 of 4 done\n", "reviews: 4 of 4 done"),
        ("2026-01-01 10:00:00 +0000 - dagster - WARNING - a - INFO - b\n", "b"),
        ("2026-01-01 10:00:00 +0000 - dagster - ERROR - it failed - badly\n", "it failed - badly"),
        ("2026-01-01 10:00:00 +0000 - dagster - DEBUG - STEP_START\n", None),
        ("Traceback (most recent call last):\n", None),
        ("", None),
    ],
)
def test_people_are_shown_what_is_meant_for_them(line: str, said: str | None) -> None:
    assert message(line) == said


def test_an_instance_is_made_once_and_its_settings_are_its_owners(tmp_path: Path) -> None:
    folder = prepare_instance(tmp_path / "new" / "instance")
    assert "enabled: false" in (folder / "dagster.yaml").read_text()
    (folder / "dagster.yaml").write_text("retention: {}\n")
    assert prepare_instance(folder) == folder
    assert (folder / "dagster.yaml").read_text() == "retention: {}\n"


def test_dg_finds_the_programs_of_this_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/elsewhere")
    environment = instance_environment()
    assert environment["PATH"].split(os.pathsep) == [str(BIN), "/elsewhere"]
    assert environment["DAGSTER_HOME"] == str(INSTANCE)


def test_every_lock_of_the_repository_is_resolved_again() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.in"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    steps = lock_steps()
    assert len(tracked) > 8
    assert {step.command[-1] for step in steps} >= set(tracked)
    for step in steps:
        assert (CHECKOUT / step.name).is_file(), f"{step.name} is no lock"
        assert {"--universal", "--generate-hashes"} <= set(step.command)
    exact = [step.command[-1] for step in steps if "--no-deps" in step.command]
    assert exact == [str(EXACT)] and exact[0] in tracked
