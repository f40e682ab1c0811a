"""Tools of portable agents behave the same in every framework."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import MARKER, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import ToolCall
from orchestrator_runtimes.messages import Limits, McpServer, ToolSource

pytestmark = pytest.mark.capability("tools")

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def _calls(target: Target, execution: str) -> list[str]:
    return [str(call.body) for call in target.endpoint.calls if call.execution == execution]


def test_the_model_gets_name_description_parameters_and_result(target: Target) -> None:
    execution = target.next_execution()
    target.run(target.portable("weather"), execution=execution).ok  # noqa: B018  # it must succeed
    first, second = _calls(target, execution)
    for words in ("'weather'", "Tell the weather in a city.", "'city'"):
        assert words in first
    assert "sunny in Paris" in second


def test_only_the_agents_tools_are_offered(target: Target) -> None:
    execution = target.next_execution()
    target.run(target.portable("weather", "population"), execution=execution)
    body = next(call.body for call in target.endpoint.calls if call.execution == execution)
    assert body is not None
    tools: Any = body["tools"]
    offered = [tool["function"]["name"] for tool in tools]
    assert sorted(offered) == ["population", "weather"]


@both_ways
def test_tools_called_in_parallel_all_run(target: Target, stream: bool) -> None:
    script = Script(tool=("weather", "population"), strict=True)
    outcome = target.run(target.portable("weather", "population"), script, stream=stream)
    assert sorted(event.name for event in outcome.events if isinstance(event, ToolCall)) == [
        "population",
        "weather",
    ]
    assert outcome.ok.usage.tool_calls == 2


def test_an_asynchronous_tool_runs_with_its_default_argument(target: Target) -> None:
    execution = target.next_execution()
    script = Script(arguments={"city": "Oslo", "year": 2000})
    target.run(target.portable("population"), script, execution=execution).ok  # noqa: B018  # it must succeed
    assert "2004" in _calls(target, execution)[-1]


@both_ways
def test_a_tool_that_raises_is_told_to_the_model(target: Target, stream: bool) -> None:
    execution = target.next_execution()
    outcome = target.run(target.portable("broken"), execution=execution, stream=stream)
    assert outcome.ok.usage.model_calls == 2
    assert "no station in Paris" in _calls(target, execution)[-1]
    (event,) = [event for event in outcome.events if isinstance(event, ToolCall)]
    assert event.error is not None and "no station in Paris" in event.error


def test_wrong_arguments_are_told_to_the_model_or_named(target: Target) -> None:
    script = Script(faults=(Fault(kind=FaultKind.WRONG_TOOL_ARGUMENTS, calls=(1,)),), echo=MARKER)
    outcome = target.run(target.portable("weather"), script, limits=Limits(steps=5, seconds=20))
    assert outcome.error is None or outcome.error.code is ErrorCode.MODEL_BAD_OUTPUT
    assert not [e for e in outcome.events if isinstance(e, ToolCall) and e.error is None]


def test_a_tool_that_nobody_offered_is_told_to_the_model_or_named(target: Target) -> None:
    script = Script(faults=(Fault(kind=FaultKind.UNKNOWN_TOOL, calls=(1,)),), echo=MARKER)
    outcome = target.run(target.portable("weather"), script, limits=Limits(steps=5, seconds=20))
    assert outcome.error is None or outcome.error.code in (
        ErrorCode.MODEL_BAD_OUTPUT,
        ErrorCode.FRAMEWORK_ERROR,
    )


def test_a_slow_synchronous_tool_blocks_no_other_execution(target: Target) -> None:
    import asyncio
    import time

    async def scenario() -> float:
        began = time.monotonic()
        await asyncio.gather(*(target.execute(target.portable("slow")) for _ in range(10)))
        return time.monotonic() - began

    assert target.call(scenario()) < 6, "ten tools of one second each ran one after the other"


def test_a_finished_tool_call_is_not_repeated_by_a_retry(target: Target) -> None:
    execution = target.next_execution()
    script = Script(faults=(Fault(kind=FaultKind.STATUS, status=500, calls=(2,), first=1),))
    first = target.run(target.portable("weather"), script, execution=execution, journal=True)
    assert first.failure.code is ErrorCode.MODEL_UNAVAILABLE
    again = target.run(target.portable("weather"), script, execution=execution, journal=True)
    assert [event.replayed for event in again.events if isinstance(event, ToolCall)] == [True]
    assert again.ok.usage.tool_calls == 1


@pytest.fixture(params=["stdio", "http"])
def mcp_server(request: pytest.FixtureRequest, target: Target) -> Iterator[McpServer]:
    command = (str(target.command.python), str(Path(__file__).with_name("mcp_server.py")))
    if request.param == "stdio":
        yield McpServer(command=command)
    elif target.profile.name == "fake":
        yield McpServer(url="http://127.0.0.1:9/mcp")
    else:
        model = urlsplit(target.endpoint.base_url)
        # a guest that is locked to the model's port reaches a server of another host at the same one
        port = 0 if model.hostname == "127.0.0.1" else model.port
        with subprocess.Popen([*command, "--http", str(port)], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None  # it is a pipe
                yield McpServer(url=process.stdout.readline().strip())
            finally:
                process.terminate()


def test_tools_of_an_mcp_server_work_like_functions(target: Target, mcp_server: McpServer) -> None:
    execution = target.next_execution()
    source = target.portable(tools=(ToolSource(mcp=mcp_server),))
    if target.profile.name == "fake":
        assert "mcp" in target.run(source).failure.message.lower(), f"{sys.executable} has no MCP SDK"
        return
    outcome = target.run(source, execution=execution)
    assert [event.name for event in outcome.events if isinstance(event, ToolCall)] == ["tide"]
    assert outcome.ok.usage.tool_calls == 1
    assert "high tide in Paris" in _calls(target, execution)[-1]
