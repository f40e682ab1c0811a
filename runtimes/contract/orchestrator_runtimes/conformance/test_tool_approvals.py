"""A tool that is marked `approval` waits for a person's decision, in every framework, and nothing waits with it."""

from typing import Any

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, Outcome, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import ApprovalRequested, Finished, ToolCall
from orchestrator_runtimes.messages import AgentSource, FinishReason, ToolSource

pytestmark = pytest.mark.capability("tools")

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])

TOGETHER = Script(tool=("weather", "population", "slow"), echo=MARKER)


def source(target: Target, *tools: str, approval: tuple[str, ...]) -> AgentSource:
    found = tuple(
        ToolSource(function=f"suite_tools:{name}", approval=name in approval, once=name in approval)
        for name in tools
    )
    return target.portable(tools=found)


def run(target: Target, agent: AgentSource, script: Script, execution: str, **more: Any) -> Outcome:
    return target.run(agent, script, execution=execution, journal=True, **more)


def waiting(outcome: Outcome) -> dict[str, str]:
    """Return the ids of what an interrupted execution waits for, by tool."""
    assert outcome.ok.finish_reason is FinishReason.INTERRUPTED
    assert isinstance(outcome.events[-1], Finished)
    output: Any = outcome.ok.output
    assert [event.request for event in outcome.events if isinstance(event, ApprovalRequested)] == output
    return {request["tool"]: request["approval"] for request in output}


def calls(outcome: Outcome) -> dict[str, bool]:
    """Return the tools that returned, and whether their results came from the journal."""
    return {e.name: e.replayed for e in outcome.events if isinstance(e, ToolCall) and e.error is None}


@both_ways
def test_it_runs_once_it_is_approved_and_not_before(target: Target, stream: bool) -> None:
    execution, script = target.next_execution(), Script(echo=MARKER)
    agent = source(target, "weather", approval=("weather",))
    asked = run(target, agent, script, execution, stream=stream)
    assert not calls(asked)
    assert asked.ok.usage.model_calls == 1
    name = waiting(asked)["weather"]
    assert target.approvals.asked[name].arguments == {"city": "Paris"}
    again = run(target, agent, script, execution, stream=stream)
    assert waiting(again) == {"weather": name}, "it is the same request, which still waits"
    target.approvals.decide(name, approved=True)
    target.restart()
    done = run(target, agent, script, execution, stream=stream)
    assert done.ok.finish_reason is FinishReason.COMPLETED
    assert calls(done) == {"weather": False}
    assert execution in str(done.ok.output)
    assert calls(run(target, agent, script, execution)) == {"weather": True}


@both_ways
def test_the_model_is_told_of_a_refusal_and_its_reason(target: Target, stream: bool) -> None:
    execution, script = target.next_execution(), Script(echo=MARKER)
    agent = source(target, "weather", approval=("weather",))
    name = waiting(run(target, agent, script, execution, stream=stream))["weather"]
    target.approvals.decide(name, approved=False, reason="the station is closed")
    done = run(target, agent, script, execution, stream=stream)
    assert done.ok.finish_reason is FinishReason.COMPLETED
    assert not calls(done)
    last = [call.body for call in target.endpoint.calls if call.execution == execution][-1]
    assert "the station is closed" in str(last)


def test_tools_that_run_beside_it_end_and_are_not_repeated(target: Target) -> None:
    execution = target.next_execution()
    agent = source(target, "slow", "population", "weather", approval=("weather", "population"))
    ended = dict[str, bool]()
    decided = set[str]()
    outcome = run(target, agent, TOGETHER, execution)
    while outcome.ok.finish_reason is FinishReason.INTERRUPTED:
        ended |= calls(outcome)
        names = waiting(outcome)  # one after the other where the framework calls one tool after the other
        assert not set(names) & decided and set(names) <= {"weather", "population"}
        decided |= set(names)
        for name in names.values():
            target.approvals.decide(name, approved=True)
        outcome = run(target, agent, TOGETHER, execution)
        assert all(replayed for name, replayed in calls(outcome).items() if name in ended)
    ended |= calls(outcome)
    assert outcome.ok.finish_reason is FinishReason.COMPLETED
    assert set(ended) == {"slow", "population", "weather"}
    assert outcome.ok.usage.tool_calls == 3


def test_executions_wait_for_their_own_decisions(target: Target) -> None:
    executions = [target.next_execution() for _ in range(2)]
    agent, script = source(target, "weather", approval=("weather",)), Script(echo=MARKER)
    names = [waiting(run(target, agent, script, execution))["weather"] for execution in executions]
    target.approvals.decide(names[1], approved=True)
    assert run(target, agent, script, executions[1]).ok.finish_reason is FinishReason.COMPLETED
    assert waiting(run(target, agent, script, executions[0])) == {"weather": names[0]}


def test_where_nobody_can_be_asked_it_does_not_run(target: Target) -> None:
    execution = target.next_execution()
    agent = source(target, "weather", approval=("weather",))
    target.approvals.closed = True
    try:
        outcome = run(target, agent, Script(echo=MARKER), execution)
    finally:
        target.approvals.closed = False
    assert outcome.failure.code is ErrorCode.STATE_UNAVAILABLE
    assert not calls(outcome)
