"""Native agents that work together run as one execution."""

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, Target, native_cases

pytestmark = pytest.mark.capability("multi_agent")


def test_a_team_of_native_agents_answers_and_is_counted_whole(target: Target) -> None:
    cases = [case for case in native_cases(target.profile) if case.multi_agent and case.error is None]
    assert cases, "the adapter ships no team"
    for case in cases:
        execution = target.next_execution()
        script = Script(**{"echo": MARKER, **case.script})  # type: ignore[arg-type]  # fields from a file
        outcome = target.run(
            target.native(case), script, bundle="native", inputs=case.inputs, execution=execution
        )
        calls = [call for call in target.endpoint.calls if call.execution == execution]
        assert outcome.ok.usage.model_calls == len(calls) >= 2
