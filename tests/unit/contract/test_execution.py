"""An execution counts exactly, stops when a limit is crossed, and knows which model fault is the last word."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import LOG_CHARACTERS, Log, Message, Started, StateSaved, Token
from orchestrator_runtimes.execution import LOG_LINES, Execution, ExecutionStopped
from orchestrator_runtimes.messages import Done, Limits, State, StatePut, Usage
from tests.unit.contract.executions import Clock, Told, execution

T = TypeVar("T")
FAULT = AgentError(ErrorCode.MODEL_UNAVAILABLE, "down")


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario(), 30)

    return asyncio.run(bounded())


def call(
    one: Execution, *, usage: Usage | None = None, error: AgentError | None = None, began: int | None = None
) -> int:
    moment = one.begin_model_call() if began is None else began
    one.end_model_call(moment, model="m", seconds=0.1, usage=usage, error=error)
    return moment


def stopped_by(act: Callable[[], object]) -> AgentError:
    with pytest.raises(ExecutionStopped) as caught:
        act()
    return caught.value.error


@pytest.mark.parametrize("steps", [1, 3])
def test_one_model_call_more_than_allowed_stops_the_execution(steps: int) -> None:
    async def scenario() -> None:
        one = execution(limits=Limits(steps=steps))
        for _ in range(steps):
            call(one)
        error = stopped_by(one.begin_model_call)
        assert (error.code, error.detail) == (
            ErrorCode.LIMIT_EXCEEDED,
            {"limit": "steps", "allowed": steps},
        )
        assert one.usage.model_calls == steps
        assert one.stopped is error and stopped_by(lambda: one.begin_tool_call("t")) is error

    run(scenario)


def test_tool_calls_are_counted_and_none_may_be_allowed() -> None:
    async def scenario() -> None:
        one = execution(limits=Limits(tool_calls=1))
        one.begin_tool_call("first")
        error = stopped_by(lambda: one.begin_tool_call("second"))
        assert error.detail == {"limit": "tool_calls", "allowed": 1} and "'second'" in error.message
        assert one.usage.tool_calls == 1
        none = execution(limits=Limits(tool_calls=0))
        assert (
            stopped_by(lambda: none.begin_tool_call("t")).detail["allowed"] == 0
            and none.usage.tool_calls == 0
        )

    run(scenario)


def test_tokens_stop_the_next_call_and_not_the_one_that_used_them() -> None:
    async def scenario() -> None:
        one = execution(limits=Limits(tokens=10))
        call(one, usage=Usage(input_tokens=4, output_tokens=6))
        assert one.stopped is None
        call(one, usage=Usage(input_tokens=0, output_tokens=1))
        assert stopped_by(one.begin_model_call).detail == {"limit": "tokens", "allowed": 10}

    run(scenario)


def test_a_call_that_no_budget_is_left_for_is_the_last() -> None:
    async def scenario() -> None:
        one = execution()
        error = AgentError(ErrorCode.BUDGET_EXCEEDED, "used up")
        call(one, error=error)
        assert stopped_by(one.begin_model_call) is error

    run(scenario)


def test_time_is_over_when_the_clock_says_so() -> None:
    async def scenario() -> None:
        clock = Clock()
        one = execution(clock=clock, limits=Limits(seconds=5))
        clock.now += 4.5
        assert (one.seconds, one.seconds_left) == (4.5, 0.5)
        one.check()
        clock.now += 1
        assert one.seconds_left == 0
        assert stopped_by(one.check).code is ErrorCode.TIMEOUT

    run(scenario)


def test_the_first_reason_to_stop_counts() -> None:
    async def scenario() -> None:
        one = execution()
        first = AgentError(ErrorCode.CANCELLED, "cancelled")
        one.stop(first)
        one.stop(AgentError(ErrorCode.TIMEOUT, "late"))
        assert stopped_by(one.check) is first

    run(scenario)


def test_a_stop_passes_code_that_catches_every_exception() -> None:
    assert not issubclass(ExecutionStopped, Exception)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.none() | st.builds(Usage, input_tokens=st.integers(0, 50), output_tokens=st.integers(0, 50)),
        ),
        max_size=20,
    )
)
def test_usage_adds_up_and_the_last_call_decides_about_the_fault(
    calls: list[tuple[bool, Usage | None]],
) -> None:
    async def scenario() -> None:
        one = execution()
        for failed, usage in calls:
            call(one, usage=usage, error=FAULT if failed else None)
        told = [usage for _, usage in calls if usage is not None]
        assert one.usage == Usage(
            model_calls=len(calls),
            input_tokens=sum(usage.input_tokens for usage in told),
            output_tokens=sum(usage.output_tokens for usage in told),
            unmetered_calls=sum(1 for failed, usage in calls if usage is None and not failed),
        )
        assert (one.model_fault is FAULT) == (bool(calls) and calls[-1][0])

    run(scenario)


def test_a_call_that_began_before_the_fault_does_not_make_it_good() -> None:
    async def scenario() -> None:
        one = execution()
        early = one.begin_model_call()
        call(one, error=FAULT)
        call(one, began=early)
        assert one.model_fault is FAULT, "a parallel call's answer says nothing of the failed one"
        call(one)
        assert one.model_fault is None

    run(scenario)


def test_threads_cannot_cross_a_limit_or_lose_a_count() -> None:
    async def scenario() -> None:
        one = execution(limits=Limits(steps=100, tool_calls=50, tokens=10**9))
        gate = threading.Barrier(8)

        def work() -> tuple[int, int, list[int]]:
            gate.wait(10)
            made, used, seen = 0, 0, list[int]()
            for _ in range(60):
                seen.append(one.next_occurrence("step"))
                try:
                    one.begin_tool_call("t")
                    used += 1
                    call(one, usage=Usage(input_tokens=1))
                    made += 1
                except ExecutionStopped:
                    pass
            return made, used, seen

        with ThreadPoolExecutor(8) as pool:
            results = [future.result(20) for future in [pool.submit(work) for _ in range(8)]]
        assert one.usage.tool_calls == sum(used for _, used, _ in results) == 50
        assert one.usage.model_calls == one.usage.input_tokens == sum(made for made, _, _ in results)
        occurrences = sorted(number for _, _, seen in results for number in seen)
        assert occurrences == list(range(480))

    run(scenario)


def test_events_are_numbered_in_the_order_in_which_they_are_told() -> None:
    async def scenario() -> None:
        told = Told()
        one = execution(told)
        await one.emit(Started())
        one.emit_from_thread(Token(text="from the loop"))
        await asyncio.to_thread(one.emit_from_thread, Token(text="from a thread"))
        assert [getattr(event, "text", "") for event in told.events] == [
            "",
            "from the loop",
            "from a thread",
        ]
        assert told.sequences == [0, 1, 2]
        told.closed = True
        await one.emit(Started())
        assert len(told.events) == 3, "nobody is left to tell"

    run(scenario)


def test_events_of_a_loop_in_a_thread_are_told_on_the_loop_of_the_connection() -> None:
    async def scenario() -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        class Noting(Told):
            async def notify(self, method: str, params: object) -> None:
                loops.append(asyncio.get_running_loop())
                await super().notify(method, params)

        told = Noting()
        one = execution(told)
        await asyncio.to_thread(asyncio.run, one.emit(Token(text="from another loop")))
        assert told.events == [Token(text="from another loop")]
        assert loops == [asyncio.get_running_loop()]

    run(scenario)


def test_long_messages_and_lines_are_cut_and_too_many_lines_are_not_told() -> None:
    async def scenario() -> None:
        told = Told()
        one = execution(told)
        await one.emit(Message(text="x" * (LOG_CHARACTERS + 1), agent="a"))
        assert told.events == [Message(text="x" * LOG_CHARACTERS + "…", agent="a")]
        assert [one.log(f"line {n} " + "x" * 5_000) for n in range(LOG_LINES + 5)] == [True] * LOG_LINES + [
            False
        ] * 5
        lines = [event.text for event in told.events if isinstance(event, Log)]
        assert len(lines) == LOG_LINES and len(lines[0]) == LOG_CHARACTERS
        assert lines[-1].endswith("[further lines are in the guest's standard error]")

    run(scenario)


def test_the_state_is_put_with_the_version_that_was_read() -> None:
    async def scenario() -> None:
        told = Told(answers={"state.get": State(text="old", version=7), "state.put": Done()})
        one = execution(told, session="s")
        assert await one.load_state() == "old"
        await one.save_state("new")
        await one.save_state("newer")
        puts = [params for method, params in told.asked if method == "state.put"]
        assert puts == [
            StatePut(execution="e1", text="new", version=7),
            StatePut(execution="e1", text="newer", version=8),
        ]
        assert told.events == [StateSaved(characters=3), StateSaved(characters=5)]

    run(scenario)


def test_without_a_session_there_is_no_state_and_a_lost_one_is_named() -> None:
    async def scenario() -> None:
        told = Told()
        one = execution(told)
        assert await one.load_state() is None
        await one.save_state("x")
        assert told.asked == []
        with pytest.raises(AgentError, match="the session 's' is not available") as caught:
            await execution(told, session="s").load_state()
        assert caught.value.code is ErrorCode.STATE_UNAVAILABLE

    run(scenario)
