"""An agent runs: portable and native, with what it says, counts and prints."""

import json

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, NativeCase, Target, with_marker
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Failed, Finished, Log, ModelCall, Started, ToolCall
from orchestrator_runtimes.messages import FinishReason, Limits, Run

pytestmark = pytest.mark.capability("run")


def test_a_portable_agent_answers(target: Target) -> None:
    outcome = target.run(target.portable(), Script(text="It rains."))
    assert outcome.ok.output == "It rains."
    assert outcome.ok.finish_reason is FinishReason.COMPLETED
    assert outcome.ok.seconds > 0


def test_the_prompt_reaches_the_model_unchanged(target: Target) -> None:
    outcome = target.run(target.portable(), execution="EXEC-70001")
    assert "EXEC-70001" in str(outcome.ok.output)


def test_an_object_as_input_reaches_the_model_as_text(target: Target) -> None:
    outcome = target.run(target.portable(), inputs={"place": "Oslo", "marker": "EXEC-70002"})
    assert "EXEC-70002" in str(outcome.ok.output)


def test_instructions_and_model_name_reach_the_model(target: Target) -> None:
    source = target.portable(instructions="Answer in verse.", model="the-model", temperature=0.25)
    execution = target.next_execution()
    target.run(source, execution=execution)
    (call,) = [call for call in target.endpoint.calls if call.execution == execution]
    assert call.body is not None
    assert call.body["model"] == "the-model"
    assert call.body["temperature"] == 0.25
    assert "Answer in verse." in str(call.body["messages"])


def test_events_tell_the_whole_story_in_order(target: Target) -> None:
    events = target.run(target.portable("weather")).events
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    told = [type(event) for event in events if isinstance(event, ModelCall | ToolCall)]
    assert told == [ModelCall, ToolCall, ModelCall]


def test_what_the_agents_code_prints_is_told_as_log(target: Target) -> None:
    events = target.run(target.portable("weather")).events
    assert "looking up Paris" in [event.text for event in events if isinstance(event, Log)]


def test_loading_twice_gives_the_same_agent(target: Target) -> None:
    bundle = target.bundles["tools"]
    first = target.call(target.guest.client.load(target.portable("weather"), bundle))
    again = target.call(target.guest.client.load(target.portable("weather"), bundle))
    other = target.call(target.guest.client.load(target.portable("population"), bundle))
    assert first.agent == again.agent
    assert first.agent != other.agent


def test_an_agent_that_was_not_loaded_is_not_found(target: Target) -> None:
    with pytest.raises(Exception, match="agent_not_found"):
        target.call(target.guest.client.run(Run(execution="unloaded", agent="0" * 64, limits=Limits())))


def test_a_native_agent_runs_unmodified(target: Target, native_case: NativeCase) -> None:
    execution = target.next_execution()
    inputs = with_marker(native_case.inputs, execution)
    script = Script.from_json(json.dumps({"echo": MARKER, **native_case.script}))
    outcome = target.run(
        target.native(native_case), script, bundle="native", inputs=inputs, execution=execution
    )
    if native_case.error is not None:
        assert outcome.failure.code == ErrorCode(native_case.error)
        assert isinstance(outcome.events[-1], Failed)
        return
    assert execution in str(outcome.ok.output)
    usage = outcome.ok.usage
    calls = [call for call in target.endpoint.calls if call.execution == execution]
    assert usage.model_calls == len(calls)
    assert native_case.model_calls in (None, usage.model_calls)
    assert native_case.tool_calls in (None, usage.tool_calls)
    assert (usage.input_tokens, usage.output_tokens) == (
        sum(call.input_tokens for call in calls),
        sum(call.output_tokens for call in calls),
    )
