"""What a guest is started with: its whole environment, and only the packages of ours that it needs."""

import asyncio
import sys
from pathlib import Path

import pytest

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import (
    MODEL_ENVIRONMENT,
    PASSED_ENVIRONMENT,
    GuestCommand,
    guest_environment,
)
from orchestrator_runtimes.launch import GuestProcess

COMMAND = GuestCommand(
    framework="fake", python=Path(sys.executable), adapter="a:B", packages=(), environment={"SWITCH": "off"}
)


def test_the_environment_is_what_passes_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (
        "OPENAI_API_KEY",
        "HTTP_PROXY",
        "http_proxy",
        "LD_PRELOAD",
        "PYTHONHOME",
        "DAGSTER_HOME",
        "PGPASSWORD",
    ):
        monkeypatch.setenv(name, "of the trusted side")
    monkeypatch.setenv("TZ", "UTC")
    environment = guest_environment(COMMAND, tmp_path)
    assert "of the trusted side" not in environment.values()
    own = {"HOME", "TMPDIR", "PYTHONPATH", "PYTHONUNBUFFERED", "SWITCH"}
    assert set(environment) <= {*PASSED_ENVIRONMENT, *MODEL_ENVIRONMENT, *own}
    assert own <= set(environment) and environment["TZ"] == "UTC" and environment["SWITCH"] == "off"
    for name in ("HOME", "TMPDIR"):
        assert Path(environment[name]).parent == tmp_path


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (
            GuestCommand(framework="f", python=Path(sys.executable), adapter="a:B", packages=("no_such_package",)),
            ErrorCode.AGENT_LOAD_FAILED,
            "no_such_package",
        ),
        (
            GuestCommand(framework="f", python=Path("/nowhere/python"), adapter="a:B", packages=()),
            ErrorCode.RUNTIME_CRASHED,
            "/nowhere/python",
        ),
        (
            GuestCommand(
                framework="f", python=Path(sys.executable), adapter="json:dumps", packages=("orchestrator_runtimes",)
            ),
            ErrorCode.RUNTIME_CRASHED,
            "json:dumps",
        ),
    ],
    ids=["package", "python", "adapter"],
)  # fmt: skip
def test_a_guest_that_cannot_start_is_named_and_leaves_nothing(
    command: GuestCommand, code: ErrorCode, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def scenario() -> AgentError:
        with pytest.raises(AgentError) as caught:
            await GuestProcess.start(command, timeout=60)
        return caught.value

    error = asyncio.run(scenario())
    assert error.code is code and words in str(error)
    assert list(tmp_path.iterdir()) == []
