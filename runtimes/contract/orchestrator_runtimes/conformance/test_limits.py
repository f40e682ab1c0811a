"""Limits hold in every framework, whatever the model or the agent wants."""

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.messages import Limits

pytestmark = pytest.mark.capability("limits")

ENDLESS = Script(faults=(Fault(kind=FaultKind.ENDLESS_TOOLS),))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_endless_tool_loop_ends_at_the_limit_of_steps(target: Target, stream: bool) -> None:
    execution = target.next_execution()
    outcome = target.run(
        target.portable("weather"),
        ENDLESS,
        limits=Limits(steps=4, seconds=40),
        execution=execution,
        stream=stream,
    )
    failure = outcome.failure
    assert failure.code is ErrorCode.LIMIT_EXCEEDED
    assert failure.detail["limit"] == "steps"
    assert len([call for call in target.endpoint.calls if call.execution == execution]) <= 4


def test_tool_calls_are_limited(target: Target) -> None:
    limits = Limits(tool_calls=2, seconds=40)
    failure = target.run(target.portable("weather"), ENDLESS, limits=limits).failure
    assert failure.code is ErrorCode.LIMIT_EXCEEDED
    assert failure.detail["limit"] == "tool_calls"


def test_tokens_are_limited(target: Target) -> None:
    limits = Limits(tokens=20, seconds=40)
    failure = target.run(target.portable("weather"), ENDLESS, limits=limits).failure
    assert failure.code is ErrorCode.LIMIT_EXCEEDED
    assert failure.detail["limit"] == "tokens"


def test_seconds_are_limited(target: Target) -> None:
    script = Script(latency=0.3, faults=ENDLESS.faults)
    outcome = target.run(target.portable("weather"), script, limits=Limits(seconds=1.5, steps=1_000))
    assert outcome.failure.code is ErrorCode.TIMEOUT


def test_a_long_output_is_refused_by_name(target: Target) -> None:
    script = Script(text="x" * 5_000)
    failure = target.run(target.portable(), script, limits=Limits(output_bytes=1_000)).failure
    assert failure.code is ErrorCode.LIMIT_EXCEEDED
    assert failure.detail["limit"] == "output_bytes"
