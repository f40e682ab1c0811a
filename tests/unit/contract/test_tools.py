"""A portable tool behaves the same in every framework: its arguments, its failures, and what a retry repeats."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pytest

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import ToolCall
from orchestrator_runtimes.execution import CURRENT, Execution, ExecutionStopped
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Done, Limits, Step, StepLookup, StepRecord
from orchestrator_runtimes.tools import (
    RESULT_CHARACTERS,
    PortableTool,
    ToolFailure,
    as_text,
    function_tool,
)
from tests.unit.contract.executions import Clock, Told, execution

T = TypeVar("T")


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario(), 30)

    return asyncio.run(bounded())


def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Further words are for people.
    """
    return f"sunny in {city} for {days}"


def events(told: Told) -> list[ToolCall]:
    found = [event for event in told.events if isinstance(event, ToolCall)]
    assert len(found) == len(told.events)
    return found


def tool_of(call: Callable[[Mapping[str, Json]], Awaitable[object]], *, once: bool = False) -> PortableTool:
    return PortableTool(name="t", description="d", parameters={"type": "object"}, call=call, once=once)


def begin(told: Told | None = None, **run: Any) -> Execution:
    one = execution(told or Told(), **run)
    CURRENT.set(one)
    return one


class Bad:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        (None, "null"),
        (True, "true"),
        ((1, 2), "[1,2]"),
        ({1, 2}, "{1, 2}"),
        (float("nan"), "nan"),
        ("half \ud83d", "half \N{REPLACEMENT CHARACTER}"),
        ("x" * RESULT_CHARACTERS, "x" * RESULT_CHARACTERS),
        (
            "x" * (RESULT_CHARACTERS + 1),
            "x" * RESULT_CHARACTERS + f"… [cut: the result has {RESULT_CHARACTERS + 1} characters]",
        ),
    ],
    ids=lambda value: str(value)[:12].encode("ascii", "replace").decode(),
)
def test_results_become_text(result: object, text: str) -> None:
    assert as_text(result) == text


def test_a_functions_name_words_and_parameters_are_its_own() -> None:
    made = function_tool(weather, once=True)
    assert (made.name, made.description, made.once) == ("weather", "Tell the weather.", True)
    assert made.parameters["required"] == ["city"]
    assert function_tool(lambda: None).description == "<lambda>"


def test_a_call_is_counted_and_told() -> None:
    async def scenario() -> None:
        told = Told()
        one = begin(told)
        assert await function_tool(weather).run({"city": "Oslo"}) == "sunny in Oslo for 1"
        assert one.usage.tool_calls == 1
        (event,) = events(told)
        assert (event.name, event.error, event.replayed) == ("weather", None, False)

    run(scenario)


def test_synchronous_functions_run_in_a_thread_and_asynchronous_ones_on_the_loop() -> None:
    loop_thread = threading.get_ident()

    def where() -> int:
        assert CURRENT.get() is not None
        return threading.get_ident()

    async def where_async() -> int:
        return threading.get_ident()

    def later() -> Awaitable[int]:
        return where_async()

    async def scenario() -> None:
        begin()
        assert await function_tool(where).run({}) != str(loop_thread)
        assert await function_tool(where_async).run({}) == str(loop_thread)
        assert await function_tool(later).run({}) == str(loop_thread)

    run(scenario)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no station"), "error: ValueError: no station"),
        (ToolFailure("as the server says"), "error: as the server says"),
        (TimeoutError("its own"), "error: TimeoutError: its own"),
    ],
)
def test_what_a_tool_raises_is_told_to_the_model(error: Exception, text: str) -> None:
    async def fails(_arguments: Mapping[str, Json]) -> object:
        raise error

    async def scenario() -> None:
        told = Told()
        one = begin(told)
        assert await tool_of(fails).run({}) == text
        assert events(told)[0].error == one.failed_tools["t"] == text.removeprefix("error: ")

    run(scenario)


def test_a_result_that_has_no_words_is_the_tools_fault() -> None:
    async def bad(_arguments: Mapping[str, Json]) -> object:
        return Bad()

    async def scenario() -> None:
        begin()
        assert await tool_of(bad).run({}) == "error: RuntimeError: no words"

    run(scenario)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'city' is missing"),
        ({"city": 1}, "arguments.city: expected string"),
        ({"city": "x", "days": float("inf")}, "arguments.days: expected integer"),
    ],
)
def test_wrong_arguments_are_told_and_the_function_is_not_called(
    arguments: dict[str, Json], words: str
) -> None:
    async def scenario() -> None:
        told = Told()
        begin(told)
        text = await function_tool(weather).run(arguments)
        assert text.startswith("error: wrong arguments, arguments") and words in text
        assert events(told)[0].error is not None

    run(scenario)


def test_outside_of_any_execution_a_tool_is_refused() -> None:
    async def scenario() -> None:
        with pytest.raises(AgentError, match="outside of any execution"):
            await function_tool(weather).run({"city": "x"})

    run(scenario)


def test_a_stopped_execution_calls_no_tool_and_time_that_is_over_ends_one() -> None:
    async def scenario() -> None:
        one = begin()
        one.stop(AgentError(ErrorCode.CANCELLED, "c"))
        with pytest.raises(ExecutionStopped):
            await function_tool(weather).run({"city": "x"})
        clock = Clock()
        begin(clock=clock, limits=Limits(seconds=0.05))

        async def slow(_arguments: Mapping[str, Json]) -> object:
            clock.now += 1
            await asyncio.sleep(30)
            return "never"

        with pytest.raises(ExecutionStopped) as caught:
            await tool_of(slow).run({})
        assert caught.value.error.code is ErrorCode.TIMEOUT

    run(scenario)


def _journaled(
    step: Step | AgentError, *, once: bool = False, fails: bool = False
) -> tuple[Told, str | BaseException, int]:
    calls = 0

    async def count(_arguments: Mapping[str, Json]) -> object:
        nonlocal calls
        calls += 1
        if fails:
            raise ValueError("no")
        return "fresh"

    async def scenario() -> tuple[Told, str | BaseException, int]:
        told = Told(answers={"step.lookup": step, "step.record": Done()})
        execution = begin(told, journal=True)
        try:
            return told, await tool_of(count, once=once).run({"b": 1, "a": [2]}), calls
        except ExecutionStopped:
            assert execution.stopped is not None, "no later call of the execution goes on"
            return told, execution.stopped, calls

    return run(scenario)


def test_a_new_step_is_called_and_recorded() -> None:
    told, text, calls = _journaled(Step(state="new"))
    assert (text, calls) == ("fresh", 1)
    (_, lookup), (_, record) = told.asked
    assert isinstance(lookup, StepLookup) and isinstance(record, StepRecord)
    assert (lookup.step, lookup.occurrence, lookup.once) == (record.step, record.occurrence, False)
    assert record.result == "fresh"


def test_a_finished_step_is_not_called_again() -> None:
    told, text, calls = _journaled(Step(state="finished", result="stored"))
    assert (text, calls) == ("stored", 0)
    assert events(told)[0].replayed
    assert [method for method, _ in told.asked] == ["step.lookup"]


def test_a_started_step_is_called_again_unless_it_may_run_only_once() -> None:
    assert _journaled(Step(state="started"))[1:] == ("fresh", 1)
    told, error, calls = _journaled(Step(state="started"), once=True)
    assert isinstance(error, AgentError) and calls == 0
    assert (error.code, error.detail) == (ErrorCode.TOOL_FAILED, {"tool": "t", "state": "started"})
    assert [params.once for _, params in told.asked if isinstance(params, StepLookup)] == [True]


def test_a_step_that_failed_is_not_recorded() -> None:
    told, text, calls = _journaled(Step(state="new"), fails=True)
    assert (text, calls) == ("error: ValueError: no", 1)
    assert [method for method, _ in told.asked] == ["step.lookup"]


def test_a_step_that_may_run_only_once_has_ended_with_its_failure() -> None:
    told, text, calls = _journaled(Step(state="new"), fails=True, once=True)
    (_, lookup), (_, record) = told.asked
    assert isinstance(lookup, StepLookup) and isinstance(record, StepRecord)
    assert (record.step, record.result, calls) == (lookup.step, text, 1)


def test_a_journal_that_is_gone_ends_the_execution_before_the_tool_is_called() -> None:
    _, error, calls = _journaled(AgentError(ErrorCode.RUNTIME_CRASHED, "gone"))
    assert isinstance(error, AgentError) and error.code is ErrorCode.RUNTIME_CRASHED and calls == 0


def test_equal_calls_are_told_apart_by_their_number_and_the_order_of_keys_does_not_count() -> None:
    async def scenario() -> list[tuple[str, int]]:
        told = Told(answers={"step.lookup": Step(state="finished", result="r")})
        begin(told, journal=True)
        one = function_tool(weather)
        given: list[dict[str, Json]] = [
            {"city": "a", "days": 1},
            {"days": 1, "city": "a"},
            {"city": "b"},
            {"city": "a", "days": 1},
        ]
        for arguments in given:
            await one.run(arguments)
        return [
            (params.step, params.occurrence) for _, params in told.asked if isinstance(params, StepLookup)
        ]

    first, second, other, third = run(scenario)
    assert (first[0], first[0]) == (second[0], third[0]) and other[0] != first[0]
    assert [first[1], second[1], other[1], third[1]] == [0, 1, 0, 2]
