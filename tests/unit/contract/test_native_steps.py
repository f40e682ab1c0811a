"""Calls of a native agent's own tools in the journal."""

import asyncio
from typing import Any

import pytest

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import ExecutionStopped
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Done, Step, StepLookup, StepRecord
from orchestrator_runtimes.native_steps import NativeCall
from orchestrator_runtimes.tool_rules import ToolRules
from tests.unit.contract.executions import Told, execution


def called(
    step: Step | AgentError,
    result: object = "fresh",
    *,
    rules: ToolRules | None = None,
    stateful: bool = False,
    arguments: dict[str, Any] | None = None,
) -> tuple[Told, Json]:
    """Make one call of the tool `t`; the result is that of an earlier try where one is known."""

    async def scenario() -> tuple[Told, Json]:
        told = Told(answers={"step.lookup": step, "step.record": Done()})
        one = execution(told, journal=True)
        one.tool_rules = rules or ToolRules()
        call = NativeCall(one, "t", arguments or {"a": 1}, stateful=stateful)
        if await call.look_up():
            return told, call.result
        await call.record(result)
        return told, None

    return asyncio.run(scenario())


def asked(told: Told) -> list[str]:
    return [method for method, _ in told.asked]


@pytest.mark.parametrize("value", ["text", None, True, 1.5, {"a": [1, {"b": None}]}, []])
def test_what_is_recorded_is_given_back_as_it_was(value: Json) -> None:
    told, _ = called(Step(state="new"), value)
    (_, record) = told.asked[-1]
    assert isinstance(record, StepRecord)
    again, given = called(Step(state="finished", result=record.result))
    assert given == value and type(given) is type(value) and asked(again) == ["step.lookup"]


@pytest.mark.parametrize("value", [(1, 2), object(), {1: 2}, float("nan"), "x" * 1_000_001, [b""]])
def test_what_json_cannot_give_back_is_not_recorded(value: object) -> None:
    assert asked(called(Step(state="new"), value)[0]) == ["step.lookup"]


def test_a_tool_that_is_given_the_frameworks_state_or_runs_again_is_not_journaled() -> None:
    assert asked(called(Step(state="new"), stateful=True)[0]) == []
    assert asked(called(Step(state="new"), rules=ToolRules(again=frozenset({"t"})))[0]) == []


def test_a_tool_that_may_run_only_once_is_journaled_whatever_it_is_given() -> None:
    told, _ = called(Step(state="new"), stateful=True, rules=ToolRules(once=frozenset({"t"})))
    assert [params.once for _, params in told.asked if isinstance(params, StepLookup)] == [True]


def test_a_call_that_was_started_runs_again_unless_it_may_run_only_once() -> None:
    assert asked(called(Step(state="started"))[0]) == ["step.lookup", "step.record"]
    with pytest.raises(ExecutionStopped) as caught:
        called(Step(state="started"), rules=ToolRules(once=frozenset({"t"})))
    assert caught.value.error.detail == {"tool": "t", "state": "started"}


def test_a_journal_that_does_not_answer_ends_the_execution() -> None:
    with pytest.raises(ExecutionStopped) as caught:
        called(AgentError(ErrorCode.STATE_UNAVAILABLE, "gone"))
    assert caught.value.error.code is ErrorCode.STATE_UNAVAILABLE


def test_arguments_that_are_no_json_are_told_apart_by_order_alone() -> None:
    told, _ = called(Step(state="new"), arguments={"a": object()})
    assert asked(told) == ["step.lookup", "step.record"]


@pytest.mark.parametrize(
    "options",
    [{"once": "pay"}, {"again": [1]}, {"once": ["a"], "again": ["a"]}],
    ids=["text", "number", "both"],
)
def test_rules_that_cannot_be_kept_are_refused_when_the_agent_is_loaded(options: dict[str, Json]) -> None:
    with pytest.raises(AgentError, match="options") as caught:
        ToolRules.of(options)
    assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED


def test_rules_name_tools_that_there_are_where_these_are_known() -> None:
    rules = ToolRules(once=frozenset({"pay"}), again=frozenset({"note"}))
    rules.check(frozenset({"pay", "note", "read"}))
    rules.check(None)
    for names, words in (({"note"}, "options.once names 'pay'"), ({"pay"}, "options.again names 'note'")):
        with pytest.raises(AgentError, match=words) as caught:
            rules.check(frozenset(names))
        assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED
    with pytest.raises(AgentError, match="it has none"):
        rules.check(frozenset())
