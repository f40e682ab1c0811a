"""The suite through its public door: the shipped fake passes it, and an adapter that breaks a promise does not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.conformance.fake import PROFILE

DOOR: Final = (
    sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "orchestrator_runtimes.conformance.plugin",
    "--pyargs", "orchestrator_runtimes.conformance",
)  # fmt: skip

ADAPTERS: Final = '''
"""Frameworks that break their promises."""

from dataclasses import replace

from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.conformance.fake import FakeAdapter
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Token
from orchestrator_runtimes.execution import Execution


class Leaking(FakeAdapter):
    """Adds what the execution before was asked."""

    last = ""

    async def run(self, agent, execution):
        before, Leaking.last = Leaking.last, execution.run.execution
        outcome = await super().run(agent, execution)
        return replace(outcome, output=f"{outcome.output} {before}")


class Silent(FakeAdapter):
    """Declares `stream`, and streams nothing."""

    async def run(self, agent, execution):
        emit = execution.emit_from_thread
        execution.emit_from_thread = lambda event: None if isinstance(event, Token) else emit(event)
        return await super().run(agent, execution)


class Forgiving(FakeAdapter):
    """Takes a failure for an answer."""

    async def run(self, agent, execution):
        try:
            return await super().run(agent, execution)
        except AgentError:
            execution._fault = None
            return type(self).outcome("sorry")

    @staticmethod
    def outcome(text):
        from orchestrator_runtimes.adapter import Outcome

        return Outcome(output=text)


class Retrying(FakeAdapter):
    """Tries everything twice."""

    async def run(self, agent, execution):
        try:
            return await super().run(agent, execution)
        except AgentError:
            return await super().run(agent, execution)


def _profile(name):
    return replace(
        FAKE, name=name.lower(), package="broken_frameworks", adapter=f"broken_frameworks:{name}", lock_file="lock"
    )


LEAKING, SILENT, FORGIVING, RETRYING = map(_profile, ("Leaking", "Silent", "Forgiving", "Retrying"))
'''


def _suite(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [*DOOR, *words], capture_output=True, text=True, env=environment, cwd=path, timeout=200, check=False
    )


def _row(matrix: Path) -> dict[str, Any]:
    (line,) = matrix.read_text().splitlines()
    row: dict[str, Any] = json.loads(line)
    return row


@pytest.mark.timeout(240)
def test_the_fake_passes_the_whole_suite(tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.jsonl"
    run = _suite(f"--matrix={matrix}", path=tmp_path)
    assert run.returncode == 0, run.stdout[-3_000:]
    row = _row(matrix)
    assert (row["framework"], row["version"]) == ("fake", "1")
    for capability in Capability:
        told = row["capabilities"][capability.value]
        assert told["failed"] == 0
        assert (told["proofs"] > 0) is told["supported"] is PROFILE.capabilities[capability].supported
        assert told["supported"] or told["reason"]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    package, plug_in = tmp_path / "broken_frameworks", tmp_path / "broken-1.dist-info"
    package.mkdir()
    plug_in.mkdir()
    (package / "__init__.py").write_text(ADAPTERS)
    (package / "lock").write_text("")
    cases = [{"name": "plain", "entrypoint": "agents:assistant"}]
    (package / "native_agents").mkdir()
    (package / "native_agents" / "cases.json").write_text(json.dumps(cases))
    (package / "native_agents" / "agents.py").write_text(
        "from orchestrator_runtimes.conformance.fake import FakeAgent\nassistant = FakeAgent(instructions='i')\n"
    )
    (plug_in / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    points = "\n".join(
        f"{name.lower()} = broken_frameworks:{name}"
        for name in ("LEAKING", "SILENT", "FORGIVING", "RETRYING")
    )
    (plug_in / "entry_points.txt").write_text(f"[orchestrator.frameworks]\n{points}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "chosen", "failing"),
    [
        ("leaking", "every_call_belongs", "isolation"),
        ("silent", "test_stream", "stream"),
        ("forgiving", "faulty_model and status", "errors"),
        ("retrying", "faulty_model and status", "errors"),
    ],
)
def test_an_adapter_that_breaks_a_promise_fails_the_suite(
    broken: Path, name: str, chosen: str, failing: str
) -> None:
    matrix = broken / "matrix.jsonl"
    run = _suite(f"--framework={name}", f"--matrix={matrix}", "-k", chosen, path=broken)
    assert run.returncode == 1, run.stdout[-3_000:] + run.stderr[-2_000:]
    assert _row(matrix)["capabilities"][failing]["failed"] > 0


def test_a_framework_that_is_not_installed_is_named(tmp_path: Path) -> None:
    run = _suite("--framework=no_such_framework", path=tmp_path)
    assert run.returncode == 4
    assert "no framework 'no_such_framework' is installed; there are" in run.stderr + run.stdout
