"""Whatever an adapter does, its execution ends with a result or a named error, and the worker goes on."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.client import RuntimeClient
from orchestrator_runtimes.conformance.fake import FakeAdapter
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.connection import RequestFailed
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, Failed, Finished, Log
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, Limits, Run, Usage
from orchestrator_runtimes.worker import make_adapter
from tests.contract.guests import SOURCE, bounded, marked, run_marked, serving


class Acting(FakeAdapter):
    """Does what the test says, for executions whose input is `act`."""

    def __init__(self, act: Callable[[Execution], object]) -> None:
        self._act = act

    async def run(self, agent: Any, execution: Execution) -> Outcome:
        """Act, or run as the fake does."""
        if execution.run.inputs != "act":
            return await super().run(agent, execution)
        result = self._act(execution)
        if isinstance(result, BaseException):
            raise result
        return result if isinstance(result, Outcome) else Outcome(output=result)


def act(
    tmp_path: Path, endpoint: ModelEndpoint, what: Callable[[Execution], object], **run: Any
) -> tuple[Json, AgentError | None, list[Event]]:
    """Run one execution that acts, then a good one, which must work."""

    async def scenario() -> tuple[Json, AgentError | None, list[Event]]:
        events: list[Event] = []

        async def on_event(event: Event) -> None:
            events.append(event)

        async with serving(tmp_path, adapter=Acting(what)) as address:
            client = await RuntimeClient.connect(address)
            agent = (await client.load(SOURCE)).agent or ""
            output, error = None, None
            try:
                output = (
                    await client.run(Run(execution="e", agent=agent, inputs="act", **run), on_event)
                ).output
            except AgentError as raised:
                error = raised
            await run_marked(client, marked(endpoint), "EXEC-1")
            await client.close()
        return output, error, events

    return bounded(scenario)


@pytest.mark.parametrize("output", [None, "", 0, [], {"a": [1.5, None]}, "é\N{GRINNING FACE}"])
def test_any_json_is_an_output(tmp_path: Path, endpoint: ModelEndpoint, output: Json) -> None:
    got, error, events = act(tmp_path, endpoint, lambda _: output)
    assert (got, error) == (output, None)
    assert events[-1] == Finished(finish_reason=FinishReason.COMPLETED, usage=Usage())


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (SystemExit(3), ErrorCode.FRAMEWORK_ERROR, "tried to end the process (SystemExit: 3)"),
        (KeyboardInterrupt(), ErrorCode.FRAMEWORK_ERROR, "tried to end the process (KeyboardInterrupt"),
        (asyncio.CancelledError(), ErrorCode.FRAMEWORK_ERROR, "cancelled its own task"),
        (RecursionError("deep"), ErrorCode.FRAMEWORK_ERROR, "RecursionError: deep"),
        (AgentError(ErrorCode.INVALID_INPUT, "no city"), ErrorCode.INVALID_INPUT, "no city"),
        (object(), ErrorCode.OUTPUT_SCHEMA_MISMATCH, "is not JSON"),
        (float("nan"), ErrorCode.OUTPUT_SCHEMA_MISMATCH, "is not JSON"),
        ({"a": 1, 1: 2}.keys(), ErrorCode.OUTPUT_SCHEMA_MISMATCH, "is not JSON"),
        ("x" * 1_000, ErrorCode.LIMIT_EXCEEDED, "limits.output_bytes of 100"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_output_is_an_error_with_a_name(
    tmp_path: Path, endpoint: ModelEndpoint, result: object, code: ErrorCode, words: str
) -> None:
    _, error, events = act(tmp_path, endpoint, lambda _: result, limits=Limits(output_bytes=100))
    assert isinstance(error, RequestFailed) and error.usage == Usage()
    assert error.code is code and words in str(error)
    last = events[-1]
    assert isinstance(last, Failed) and last.code is code


def test_halves_of_characters_in_an_output_are_made_whole(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    got, _, _ = act(tmp_path, endpoint, lambda _: {"text": "\ud83d" + "\ude00", "half": "\ud83d"})
    assert got == {"text": "\N{GRINNING FACE}", "half": "\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize(
    "schema", [{"type": "integer"}, {"required": ["a"], "type": "object"}, {"enum": [True]}]
)
def test_an_output_must_match_the_schema_of_its_run(
    tmp_path: Path, endpoint: ModelEndpoint, schema: dict[str, Json]
) -> None:
    _, error, _ = act(tmp_path, endpoint, lambda _: "text", output_schema=schema)
    assert error is not None and error.code is ErrorCode.OUTPUT_SCHEMA_MISMATCH


def test_a_fault_of_the_model_that_the_agent_kept_to_itself_is_told(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    fault = AgentError(ErrorCode.MODEL_UNAVAILABLE, "down", cause="503")

    def swallow(execution: Execution) -> object:
        began = execution.begin_model_call()
        execution.end_model_call(began, model="m", seconds=0.1, usage=None, error=fault)
        return "sorry"

    _, error, _ = act(tmp_path, endpoint, swallow)
    assert isinstance(error, RequestFailed) and (error.code, error.cause) == (
        ErrorCode.MODEL_UNAVAILABLE,
        "503",
    )
    assert error.usage == Usage(model_calls=1)

    def fail_too(execution: Execution) -> object:
        swallow(execution)
        return KeyError("choices")

    _, error, _ = act(tmp_path, endpoint, fail_too)
    assert error is not None and error.code is ErrorCode.MODEL_UNAVAILABLE


def test_what_was_printed_without_a_lines_end_is_told_before_the_last_event(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    def talk(execution: Execution) -> object:
        for line in execution.add_text("whole\nhalf"):
            execution.log(line)
        return "done"

    _, _, events = act(tmp_path, endpoint, talk)
    assert [event.text for event in events if isinstance(event, Log)] == ["whole", "half"]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:Adapter", "ModuleNotFoundError"),
        ("json:no_such_class", "AttributeError"),
        ("json:JSONDecoder", "is no adapter"),
        ("orchestrator_runtimes.adapter:Adapter", "TypeError"),
    ],
)
def test_what_is_no_adapter_is_named(name: str, words: str) -> None:
    with pytest.raises(AgentError, match=words) as caught:
        make_adapter(name)
    assert caught.value.code is ErrorCode.FRAMEWORK_ERROR and name in str(caught.value)
    assert isinstance(make_adapter("orchestrator_runtimes.conformance.fake:FakeAdapter"), FakeAdapter)
    assert "no_such_module" not in sys.modules


def test_resume_reaches_the_adapter_with_its_decision(tmp_path: Path) -> None:
    class Asking(FakeAdapter):
        async def run(self, agent: Any, execution: Execution) -> Outcome:
            return Outcome(output={"question": "pay?"}, finish_reason=FinishReason.INTERRUPTED)

        async def resume(self, agent: Any, execution: Execution, decision: Json) -> Outcome:
            return Outcome(output={"decided": decision})

    class AskingNobody(FakeAdapter):
        resume = Adapter.resume

    async def scenario() -> None:
        events: list[str] = []

        async def on_event(event: Event) -> None:
            events.append(event.kind)

        async with serving(tmp_path, adapter=Asking()) as address:
            client = await RuntimeClient.connect(address)
            run = Run(execution="e", agent=(await client.load(SOURCE)).agent or "", session="s")
            asked = await client.run(run, on_event)
            assert (asked.finish_reason, asked.output) == (FinishReason.INTERRUPTED, {"question": "pay?"})
            assert events == ["started", "approval_requested", "finished"]
            assert (await client.resume(run, {"yes": True})).output == {"decided": {"yes": True}}
            await client.close()
        async with serving(tmp_path, adapter=AskingNobody()) as address:
            client = await RuntimeClient.connect(address)
            run = Run(execution="e", agent=(await client.load(SOURCE)).agent or "")
            with pytest.raises(AgentError, match="declares no approvals"):
                await client.resume(run, None)
            await client.close()

    bounded(scenario)
