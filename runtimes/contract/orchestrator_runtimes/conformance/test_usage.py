"""Every call is counted, streamed ones too, failed ones too."""

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.connection import RequestFailed

pytestmark = pytest.mark.capability("usage")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_usage_is_what_the_endpoint_counted(target: Target, stream: bool) -> None:
    execution = target.next_execution()
    usage = target.run(target.portable("weather"), execution=execution, stream=stream).ok.usage
    calls = [call for call in target.endpoint.calls if call.execution == execution]
    assert usage.model_calls == len(calls) == 2
    assert usage.input_tokens == sum(call.input_tokens for call in calls) > 0
    assert usage.output_tokens == sum(call.output_tokens for call in calls) > 0
    assert usage.tool_calls == 1
    assert usage.unmetered_calls == 0


def test_a_failed_execution_tells_what_it_consumed(target: Target) -> None:
    script = Script(faults=(Fault(kind=FaultKind.STATUS, status=500, calls=(2,)),))
    failure = target.run(target.portable("weather"), script).failure
    assert isinstance(failure, RequestFailed)
    assert failure.usage is not None
    assert (failure.usage.model_calls, failure.usage.tool_calls) == (2, 1)
    assert failure.usage.input_tokens > 0
