"""Tokens arrive while the model still writes."""

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.events import Token

pytestmark = pytest.mark.capability("stream")


def test_tokens_add_up_to_the_answer(target: Target) -> None:
    outcome = target.run(target.portable(), Script(text="It is sunny in Paris."), stream=True)
    tokens = [event.text for event in outcome.events if isinstance(event, Token)]
    assert "".join(tokens).strip() == outcome.ok.output == "It is sunny in Paris."
    assert len(tokens) > 1


def test_tokens_are_told_after_a_tool_call_too(target: Target) -> None:
    outcome = target.run(target.portable("weather"), Script(text="It is sunny in Paris."), stream=True)
    assert "sunny" in "".join(event.text for event in outcome.events if isinstance(event, Token))


def test_without_stream_no_tokens_are_told(target: Target) -> None:
    assert not [event for event in target.run(target.portable()).events if isinstance(event, Token)]
