"""A batch: bounded in flight, one row for each item, a policy for failures, and nothing finished is run again."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_resources.approval_desk import ApprovalDesk
from orchestrator_resources.approvals import Approvals, Asker
from orchestrator_resources.execution_batches import (
    Batch,
    BatchFailed,
    BatchSettings,
    FailurePolicy,
    Item,
    Row,
)
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_runtimes.client import OnEvent
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Started
from orchestrator_runtimes.messages import AgentSource, ApprovalAsk, FinishReason, Result, Resume, Run, Usage

AGENT = Agent(source=AgentSource(entrypoint="a:b"))


class Memory:
    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.puts = 0

    def get(self, executions: Sequence[str]) -> dict[str, Result]:
        return {name: self.results[name] for name in executions if name in self.results}

    def put(self, results: Mapping[str, Result]) -> None:
        self.puts += 1
        time.sleep(0.005)
        self.results.update(results)


class Runner:
    """Runs executions by a rule: those whose inputs are in `failing` fail."""

    def __init__(self, failing: set[int] | None = None) -> None:
        self.failing = failing or set()
        self.running = self.peak = 0
        self.ran: list[str] = []

    async def __call__(
        self, agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent
    ) -> Result:
        asked = make_run("digest")
        run = asked.run if isinstance(asked, Resume) else asked
        self.ran.append(run.execution)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await on_event(Started())
            await asyncio.sleep(0.001)
            if run.inputs in self.failing:
                raise AgentError(ErrorCode.MODEL_UNAVAILABLE, f"no model for {run.inputs}")
            return Result(
                output=run.inputs,
                finish_reason=FinishReason.COMPLETED,
                usage=Usage(model_calls=1),
                seconds=0.0,
            )
        finally:
            self.running -= 1


def items(count: int) -> list[Item]:
    return [Item(key=f"k{n}", execution=f"e{n}", inputs=n) for n in range(count)]


def run(count: int, runner: Runner, settings: BatchSettings, memory: Memory | None = None) -> list[Row]:
    batch = Batch(AGENT, items(count), settings)
    return asyncio.run(batch.run(runner, memory or Memory(), lambda _item, _event: None, lambda _row: None))


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 40), in_flight=st.integers(1, 8), failing=st.sets(st.integers(0, 39)))
def test_every_item_gets_one_row_in_order_and_few_run_at_once(
    count: int, in_flight: int, failing: set[int]
) -> None:
    runner = Runner(failing)
    rows = run(count, runner, BatchSettings(in_flight=in_flight, failures=FailurePolicy(kind="keep")))
    assert [row.key for row in rows] == [f"k{n}" for n in range(count)]
    assert [row.error is not None for row in rows] == [n in failing for n in range(count)]
    assert runner.peak <= in_flight


def test_the_first_failure_ends_a_batch_that_may_not_fail() -> None:
    runner, memory = Runner({3}), Memory()
    with pytest.raises(BatchFailed) as caught:
        run(100, runner, BatchSettings(in_flight=2), memory)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert "1 of 100 executions failed" in caught.value.message and "'k3'" in caught.value.message
    assert len(runner.ran) < 10
    assert {row.key for row in caught.value.rows if row.result} == {f"k{name[1:]}" for name in memory.results}


def test_a_retry_runs_only_what_was_not_finished() -> None:
    memory = Memory()
    with pytest.raises(BatchFailed):
        run(10, Runner({5}), BatchSettings(in_flight=1), memory)
    finished = set(memory.results)
    again = Runner()
    rows = run(10, again, BatchSettings(in_flight=1), memory)
    assert finished == {"e0", "e1", "e2", "e3", "e4"}
    assert set(again.ran) == {f"e{n}" for n in range(5, 10)}
    assert [row.replayed for row in rows] == [True] * 5 + [False] * 5


@pytest.mark.parametrize(
    ("share", "failing", "fails"),
    [(0.2, {1, 2}, False), (0.2, {1, 2, 3}, True), (1.0, set(range(10)), False)],
)
def test_a_threshold_allows_a_share_of_failures(share: float, failing: set[int], fails: bool) -> None:
    settings = BatchSettings(in_flight=10, failures=FailurePolicy(kind="threshold", share=share))
    if fails:
        with pytest.raises(BatchFailed):
            run(10, Runner(failing), settings)
    else:
        assert sum(row.error is not None for row in run(10, Runner(failing), settings)) == len(failing)


def test_one_execution_fails_with_its_own_words() -> None:
    with pytest.raises(BatchFailed, match="model_unavailable: no model for 0"):
        run(1, Runner({0}), BatchSettings())


def test_a_fault_that_is_no_agents_is_not_hidden() -> None:
    async def broken(agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent) -> Result:
        raise ZeroDivisionError

    batch = Batch(AGENT, items(3), BatchSettings())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(batch.run(broken, Memory(), lambda _item, _event: None, lambda _row: None))


def test_results_that_come_while_others_are_stored_are_stored_together() -> None:
    memory = Memory()
    run(200, Runner(), BatchSettings(in_flight=50), memory)
    assert len(memory.results) == 200
    assert memory.puts < 100


def test_a_store_that_takes_no_result_ends_the_batch() -> None:
    class Full(Memory):
        def put(self, results: Mapping[str, Result]) -> None:
            raise OSError("no space left on device")

    runner = Runner()
    with pytest.raises(OSError, match="no space left"):
        run(1_000, runner, BatchSettings(in_flight=2), Full())
    assert len(runner.ran) < 900


def test_results_that_cannot_be_kept_fail_the_batch_and_no_item() -> None:
    class Full(Memory):
        def put(self, results: Mapping[str, Result]) -> None:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, "the disk is full")

    told: list[Row] = []
    batch = Batch(AGENT, items(20), BatchSettings(in_flight=1, failures=FailurePolicy(kind="keep")))
    with pytest.raises(AgentError, match="the disk is full"):
        asyncio.run(batch.run(Runner(), Full(), lambda _item, _event: None, told.append))
    assert all(row.error is None for row in told)


class Asking:
    """Executions that their framework interrupts once; they tell what they were answered."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def __call__(
        self, agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent
    ) -> Result:
        asked = make_run("digest")
        self.ran.append(asked.run.execution if isinstance(asked, Resume) else asked.execution)
        if isinstance(asked, Resume):
            return Result(
                output=asked.decision, finish_reason=FinishReason.COMPLETED, usage=Usage(), seconds=0.0
            )
        return Result(
            output={"publish": True}, finish_reason=FinishReason.INTERRUPTED, usage=Usage(), seconds=0.0
        )


def askers(count: int) -> dict[str, Asker]:
    return {
        item.execution: Asker(asset="a", partition=None, item=item.key, run="r", seconds=60.0)
        for item in items(count)
    }


def test_what_waits_is_not_kept_as_finished_and_goes_on_with_its_decision(tmp_path: Path) -> None:
    approvals, finished = Approvals(SqliteState(tmp_path / "approvals.db")), Memory()

    def once() -> tuple[list[Row], list[str]]:
        runner = Asking()
        with ApprovalDesk(approvals).open(askers(3)) as questions:
            batch = Batch(AGENT, items(3), BatchSettings(), None, questions)
            return asyncio.run(batch.run(runner, finished, lambda _i, _e: None, lambda _r: None)), runner.ran

    rows, _ = once()
    requests = [request for row in rows for request in row.waiting]
    assert len(requests) == 3 and not finished.results
    approvals.decide(requests[0].id, "approved", by="anna", answer={"text": "yes"})
    approvals.decide(requests[1].id, "rejected", by="anna", reason="too early")
    rows, ran = once()
    assert [row.result and row.result.output for row in rows[:2]] == [
        {"text": "yes"},
        {"approved": False, "reason": "too early"},
    ]
    assert [request.id for request in rows[2].waiting] == [requests[2].id]
    assert len(ran) == 2, "nothing is run for the one that still waits"
    assert len(finished.results) == 2
    _, ran = once()
    assert ran == []


def test_where_nobody_can_be_asked_an_interrupted_execution_has_failed() -> None:
    with pytest.raises(BatchFailed, match="nobody can be asked"):
        asyncio.run(
            Batch(AGENT, items(1), BatchSettings()).run(
                Asking(), Memory(), lambda _i, _e: None, lambda _r: None
            )
        )


def test_an_execution_that_no_asset_is_known_of_cannot_ask(tmp_path: Path) -> None:
    desk = ApprovalDesk(Approvals(SqliteState(tmp_path / "approvals.db")))
    ask = ApprovalAsk(execution="e0", step="s", occurrence=0, tool="t")
    with desk.open(askers(1)):
        assert asyncio.run(desk.ask(ask)).state == "waiting"
    with pytest.raises(AgentError, match="has no asset to ask for"):
        asyncio.run(desk.ask(ask))
    with desk.open({}) as questions, pytest.raises(AgentError, match="no asset to ask for"):
        questions.waiting("e1", {"publish": True})
