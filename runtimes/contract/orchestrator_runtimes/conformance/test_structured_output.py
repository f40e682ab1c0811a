"""An agent with an output schema answers an object that matches it, or fails."""

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.messages import Limits

pytestmark = pytest.mark.capability("structured_output")

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "degrees": {"type": "integer"},
        "sky": {"enum": ["sunny", "grey"]},
    },
    "required": ["city", "degrees", "sky"],
    "additionalProperties": False,
}


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@both_ways
@pytest.mark.parametrize("tools", [(), ("weather",)], ids=["alone", "with-tool"])
def test_the_output_is_an_object_that_matches(target: Target, tools: tuple[str, ...], stream: bool) -> None:
    script = Script(tool=("weather",), output={"city": "Paris", "degrees": 21, "sky": "sunny"})
    outcome = target.run(target.portable(*tools, output_schema=SCHEMA), script, stream=stream)
    assert outcome.ok.output == {"city": "Paris", "degrees": 21, "sky": "sunny"}


@both_ways
def test_an_output_that_does_not_match_is_an_error(target: Target, stream: bool) -> None:
    script = Script(faults=(Fault(kind=FaultKind.BAD_STRUCTURED_OUTPUT),))
    limits = Limits(steps=6, seconds=30)
    failure = target.run(target.portable(output_schema=SCHEMA), script, limits=limits, stream=stream).failure
    assert failure.code in (ErrorCode.OUTPUT_SCHEMA_MISMATCH, ErrorCode.LIMIT_EXCEEDED)


def test_a_schema_that_cannot_be_held_is_refused_when_the_agent_loads(target: Target) -> None:
    failure = target.run(target.portable(output_schema={"type": "object", "patternProperties": {}})).failure
    assert failure.code is ErrorCode.AGENT_LOAD_FAILED
    assert "patternProperties" in failure.message
