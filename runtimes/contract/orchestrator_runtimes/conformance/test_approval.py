"""An agent that waits for a decision ends as interrupted, and goes on with it in any guest."""

import json
from typing import Any

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, NativeCase, Outcome, Target, with_marker
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import ApprovalRequested, Finished
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason

pytestmark = pytest.mark.capability("approval")


def run(target: Target, case: NativeCase, execution: str, **more: Any) -> Outcome:
    script = Script.from_json(json.dumps({"echo": MARKER, **case.script}))
    return target.run(target.native(case), script, bundle="native", execution=execution, **more)


def asked(target: Target, case: NativeCase, session: str) -> Json:
    """Return the request that an execution of the case ended with."""
    execution = target.next_execution()
    outcome = run(target, case, execution, session=session, inputs=with_marker(case.inputs, execution))
    assert outcome.ok.finish_reason is FinishReason.INTERRUPTED
    assert isinstance(outcome.events[-1], Finished)
    (request,) = [event.request for event in outcome.events if isinstance(event, ApprovalRequested)]
    assert request == outcome.ok.output
    assert execution in json.dumps(request), "the request says about what"
    return request


def test_it_goes_on_with_a_decision_in_another_guest(target: Target, waiting_case: NativeCase) -> None:
    session, execution = f"session-{target.next_execution()}", target.next_execution()
    asked(target, waiting_case, session)
    target.restart()
    decision = with_marker(waiting_case.decision, execution)
    outcome = run(target, waiting_case, execution, session=session, resume=True, decision=decision)
    assert outcome.ok.finish_reason is FinishReason.COMPLETED
    assert execution in str(outcome.ok.output)
    assert waiting_case.model_calls in (None, outcome.ok.usage.model_calls)
    assert waiting_case.tool_calls in (None, outcome.ok.usage.tool_calls)


def test_sessions_wait_for_their_own_decisions(target: Target, waiting_case: NativeCase) -> None:
    sessions = [f"session-{target.next_execution()}" for _ in range(2)]
    assert asked(target, waiting_case, sessions[0]) != asked(target, waiting_case, sessions[1])
    for session in reversed(sessions):
        execution = target.next_execution()
        decision = with_marker(waiting_case.decision, execution)
        outcome = run(target, waiting_case, execution, session=session, resume=True, decision=decision)
        assert execution in str(outcome.ok.output)


def test_a_decision_that_nobody_waits_for_is_refused(target: Target, waiting_case: NativeCase) -> None:
    session = f"session-{target.next_execution()}"
    fresh = run(target, waiting_case, target.next_execution(), session=session, resume=True)
    assert fresh.failure.code is ErrorCode.INVALID_INPUT
    asked(target, waiting_case, session)
    decided = {"session": session, "resume": True, "decision": waiting_case.decision}
    run(target, waiting_case, target.next_execution(), **decided).ok  # noqa: B018  # it must succeed
    again = run(target, waiting_case, target.next_execution(), **decided)
    assert again.failure.code is ErrorCode.INVALID_INPUT


def test_without_a_session_there_is_nothing_to_wait_in(target: Target, waiting_case: NativeCase) -> None:
    execution = target.next_execution()
    outcome = run(target, waiting_case, execution, inputs=with_marker(waiting_case.inputs, execution))
    assert outcome.failure.code is ErrorCode.INVALID_INPUT
    assert "session" in outcome.failure.message
