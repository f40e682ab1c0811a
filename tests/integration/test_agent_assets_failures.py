"""Whatever an agent or its model does, the asset fails with a code and what to do, and nothing finished is lost."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import ForEachSpec, InputSpec, LimitsSpec, agent_asset
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_resources.guest_pool import ATTEMPTS
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.agent_materializations import failure, fake_agent, materialize, metadata

pytestmark = pytest.mark.usefixtures("fake_framework")

FAKE = "from orchestrator_runtimes.conformance.fake import FakeAgent\n"
TOOL = (
    FAKE
    + 'def deed(city: str) -> str:\n    """Do it."""\n{body}\nagent = FakeAgent(instructions="x", tools=[deed])\n'
)


def run(
    tmp_path: Path, endpoint: ModelEndpoint, text: str, *, entrypoint: str = "mine:agent", script: Script | None = None,
    memory_mb: int | None = None, **changes: Any,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    code = tmp_path / "code"
    code.mkdir(exist_ok=True)
    (code / "mine.py").write_text(text)
    agent = fake_agent(entrypoint=entrypoint, **{"limits": LimitsSpec(seconds=20), **changes})
    return materialize(
        [agent_asset(agent, asset=dg.AssetSpec("mine"), code=code)], endpoint, script, memory_mb=memory_mb
    )


@pytest.mark.parametrize(
    ("text", "entrypoint", "code", "why"),
    [
        (
            "agent = 1",
            "mine:agents",
            "agent_not_found",
            "entrypoint 'mine:agents': 'mine' has no attribute 'agents'",
        ),
        ("agent = 1", "mine:agent", "agent_load_failed", "a int is none of FakeAgent, FakeTeam"),
        (
            "1 / 0",
            "mine:agent",
            "agent_load_failed",
            "raised while loading at mine.py:1 (ZeroDivisionError: division",
        ),
        ("import nothing_such", "mine:agent", "agent_load_failed", "No module named 'nothing_such'"),
        ("def f(:", "mine:agent", "agent_load_failed", "SyntaxError"),
        ("import sys; sys.exit(3)", "mine:agent", "agent_load_failed", "SystemExit: 3"),
        ("import os; os._exit(3)", "mine:agent", "runtime_crashed", "it ended with status 3"),
        ("import os; os.kill(os.getpid(), 11)", "mine:agent", "runtime_crashed", "it was ended by SIGSEGV"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_entrypoint_that_cannot_be_loaded_is_named(
    text: str, entrypoint: str, code: str, why: str, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    found, description = failure(run(tmp_path, endpoint, text, entrypoint=entrypoint))
    assert found == code
    assert why in description
    assert endpoint.count == 0


def test_what_an_agent_prints_is_in_the_event_log(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    text = TOOL.format(body="    print('a word of mine')\n    return 'done'")
    with dg.DagsterInstance.ephemeral() as instance:
        code = tmp_path / "code"
        code.mkdir()
        (code / "mine.py").write_text(text)
        asset = agent_asset(fake_agent(entrypoint="mine:agent"), asset=dg.AssetSpec("mine"), code=code)
        result = materialize([asset], endpoint, instance=instance)
        assert result.success
        assert any("log: a word of mine" in event.user_message for event in instance.all_logs(result.run_id))


def test_an_agent_that_blocks_the_loop_ends_at_its_limit(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    text = TOOL.replace("def deed", "async def deed").format(body="    import time; time.sleep(600)")
    began = time.monotonic()
    code, _ = failure(run(tmp_path, endpoint, text, limits=LimitsSpec(seconds=1)))
    assert code == "timeout"
    assert time.monotonic() - began < 60


def test_an_agent_that_forks_or_starts_processes_leaves_none(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    child = tmp_path / "child"
    body = f"""
    import os, subprocess
    if os.fork() == 0:
        os._exit(0)
    with open({str(child)!r}, "w") as file:
        file.write(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))
    return "done"
"""
    result = run(tmp_path, endpoint, TOOL.format(body=body))
    assert result.success
    assert not Path("/proc", child.read_text()).exists(), "the resource ends what the agent left behind"


def test_an_agent_that_exits_or_eats_memory_fails_alone(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    code, _ = failure(run(tmp_path, endpoint, TOOL.format(body="    import sys; sys.exit(3)")))
    assert code in ("framework_error", "tool_failed")
    hoard = "    hoard = [bytearray(64 * 2**20) for _ in range(10_000)]"
    code, description = failure(run(tmp_path, endpoint, TOOL.format(body=hoard), memory_mb=512))
    assert code == "tool_failed"
    assert "MemoryError" in description


def test_an_output_that_is_too_large_names_the_limit(endpoint: ModelEndpoint) -> None:
    huge = Script(faults=(Fault(kind=FaultKind.HUGE, size=100 * 2**20),))
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("huge"))
    code, description = failure(materialize([asset], endpoint, huge))
    assert code in ("limit_exceeded", "model_bad_output", "model_unavailable")  # wherever it was measured
    assert "bytes" in description
    asset = agent_asset(fake_agent(limits=LimitsSpec(output_bytes=1_000)), asset=dg.AssetSpec("large"))
    large = Script(faults=(Fault(kind=FaultKind.HUGE, size=2_000),))
    code, description = failure(materialize([asset], endpoint, large))
    assert code == "limit_exceeded"
    assert "output_bytes" in description


@pytest.mark.parametrize("made", ["object()", "float('nan')", "{1, 2}", "b'bytes'"])
def test_an_output_that_is_no_json_says_so(made: str, tmp_path: Path, endpoint: ModelEndpoint) -> None:
    text = FAKE + f"agent = FakeAgent(instructions='x', finish=lambda _: {made})\n"
    code, description = failure(run(tmp_path, endpoint, text))
    assert code == "output_schema_mismatch"
    assert "is not JSON; return text, numbers, lists and objects only" in description


def test_an_output_that_breaks_its_schema_says_where(endpoint: ModelEndpoint) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asset = agent_asset(fake_agent(output_schema=schema), asset=dg.AssetSpec("odd"))
    code, description = failure(materialize([asset], endpoint))
    assert code == "output_schema_mismatch"
    assert "output: expected object, got" in description


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(kind=FaultKind.STATUS, status=503), "model_unavailable"),
        (Fault(kind=FaultKind.STATUS, status=429), "model_rate_limited"),
        (Fault(kind=FaultKind.STATUS, status=401), "model_rejected"),
        (Fault(kind=FaultKind.DISCONNECT), "model_unavailable"),
        (Fault(kind=FaultKind.HTML), "model_bad_output"),
        (Fault(kind=FaultKind.TRUNCATED_JSON), "model_bad_output"),
        (Fault(kind=FaultKind.NO_CHOICES), "model_bad_output"),
        (Fault(kind=FaultKind.EMPTY_CONTENT), "model_bad_output"),
        (Fault(kind=FaultKind.HANG), "timeout"),
        (Fault(kind=FaultKind.SLOW_BODY, seconds=60), "timeout"),
    ],
    ids=lambda value: str(getattr(value, "kind", value)),
)
def test_a_model_that_is_down_slow_or_lying_has_its_code(
    fault: Fault, code: str, endpoint: ModelEndpoint
) -> None:
    asset = agent_asset(fake_agent(limits=LimitsSpec(seconds=2)), asset=dg.AssetSpec("asks"))
    found, description = failure(materialize([asset], endpoint, Script(faults=(fault,))))
    assert found == code
    assert description.startswith(f"{code}: ")
    assert "\n" not in description.partition(" (")[0], "one line says what is wrong"


def test_a_model_that_nobody_serves_is_unavailable(endpoint: ModelEndpoint) -> None:
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("asks"))
    code, description = failure(materialize([asset], endpoint, url="http://127.0.0.1:9/v1"))
    assert code == "model_unavailable"
    assert "Connection refused" in description


def test_what_one_item_does_to_its_guest_does_not_cost_the_others(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    body = "    import os\n    os._exit(9) if city == 'EXEC-3' else None\n    return 'sunny'"
    words = InputSpec(value=[f"EXEC-{n}" for n in range(6)])
    result = run(
        tmp_path, endpoint, TOOL.format(body=body), prompt="{word}", inputs={"word": words},
        for_each=ForEachSpec(input="word", on_failure="keep", in_flight=1), retries=RetrySpec(max=0),
        script=Script(echo=r"EXEC-\d+", arguments={"city": "{echo}"}),
    )  # fmt: skip
    rows = result.output_for_node("mine", "result")
    assert [row["error_code"] for row in rows] == [None, None, None, "runtime_crashed", None, None]
    assert metadata(result, "mine")["failed"] == 1


def test_items_that_may_pass_are_retried_before_they_are_kept(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    """The last item kills every guest of the first try of the step."""
    deeds = tmp_path / "deeds"
    body = (
        "    import os\n"
        f"    with open({str(deeds)!r}, 'a+') as file:\n"
        "        file.write(city + '\\n')\n"
        "        file.seek(0)\n"
        f"        crashes = file.read().count('EXEC-2') <= {ATTEMPTS}\n"
        "    os._exit(9) if city == 'EXEC-2' and crashes else None\n"
        "    return 'sunny'"
    )
    words = InputSpec(value=[f"EXEC-{n}" for n in range(3)])
    result = run(
        tmp_path, endpoint, TOOL.format(body=body), prompt="{word}", inputs={"word": words},
        for_each=ForEachSpec(input="word", on_failure="keep", in_flight=1), retries=RetrySpec(max=1, delay_seconds=0),
        script=Script(echo=r"EXEC-\d+", arguments={"city": "{echo}"}),
    )  # fmt: skip
    assert [row["error_code"] for row in result.output_for_node("mine", "result")] == [None, None, None]
    assert deeds.read_text().split() == ["EXEC-0", "EXEC-1"] + ["EXEC-2"] * (ATTEMPTS + 1)


def test_a_full_disk_below_the_instance_is_named(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        agents = Path(instance.storage_directory()) / "agents"
        agents.mkdir(parents=True)
        (agents / "finished_executions.db").symlink_to("/dev/full")
        asset = agent_asset(fake_agent(), asset=dg.AssetSpec("asks"))
        code, description = failure(materialize([asset], endpoint, instance=instance))
    assert code == "state_unavailable"
    assert "finished executions cannot be kept in" in description
    assert "make room on its disk" in description


def test_a_session_that_cannot_be_stored_fails_with_its_code(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        asset = agent_asset(fake_agent(session="talk"), asset=dg.AssetSpec("talks"))
        assert materialize([asset], endpoint, instance=instance).success
        file = Path(instance.storage_directory()) / "agents" / "sessions.db"
        for one in file.parent.glob("sessions.db*"):
            one.unlink()
        file.mkdir()
        code, description = failure(materialize([asset], endpoint, instance=instance))
    assert code == "state_unavailable"
    assert "session" in description
