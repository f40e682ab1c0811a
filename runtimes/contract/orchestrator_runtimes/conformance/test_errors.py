"""Whatever goes wrong has a code, and nothing that went wrong looks like a success."""

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import MARKER, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Failed, ModelCall
from orchestrator_runtimes.messages import AgentSource, Limits, ModelAddress

pytestmark = pytest.mark.capability("errors")

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])

FAULTS = [
    (Fault(kind=FaultKind.STATUS, status=429), ErrorCode.MODEL_RATE_LIMITED),
    (Fault(kind=FaultKind.STATUS, status=500), ErrorCode.MODEL_UNAVAILABLE),
    (Fault(kind=FaultKind.STATUS, status=503), ErrorCode.MODEL_UNAVAILABLE),
    (Fault(kind=FaultKind.STATUS, status=401), ErrorCode.MODEL_REJECTED),
    (Fault(kind=FaultKind.STATUS, status=402), ErrorCode.BUDGET_EXCEEDED),
    (Fault(kind=FaultKind.STATUS, status=400), ErrorCode.MODEL_REJECTED),
    (Fault(kind=FaultKind.STATUS, status=404), ErrorCode.MODEL_REJECTED),
    (Fault(kind=FaultKind.DISCONNECT), ErrorCode.MODEL_UNAVAILABLE),
    (Fault(kind=FaultKind.HTML), ErrorCode.MODEL_BAD_OUTPUT),
    (Fault(kind=FaultKind.TRUNCATED_JSON), ErrorCode.MODEL_BAD_OUTPUT),
    (Fault(kind=FaultKind.NO_CHOICES), ErrorCode.MODEL_BAD_OUTPUT),
    (Fault(kind=FaultKind.EMPTY_CONTENT), ErrorCode.MODEL_BAD_OUTPUT),
]


def _name(fault: Fault) -> str:
    return f"{fault.kind.value}-{fault.status}" if fault.kind is FaultKind.STATUS else fault.kind.value


@both_ways
@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=[_name(fault) for fault, _ in FAULTS])
def test_a_faulty_model_is_an_error_of_its_own(
    target: Target, fault: Fault, code: ErrorCode, stream: bool
) -> None:
    outcome = target.run(target.portable(), Script(faults=(fault,)), stream=stream)
    assert outcome.failure.code == code
    assert isinstance(outcome.events[-1], Failed)
    assert [e.error for e in outcome.events if isinstance(e, ModelCall)] == [code], (
        "exactly one call, no hidden retry"
    )


@both_ways
@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=[_name(fault) for fault, _ in FAULTS])
def test_a_fault_after_a_tool_call_is_an_error_too(
    target: Target, fault: Fault, code: ErrorCode, stream: bool
) -> None:
    second = Fault(kind=fault.kind, status=fault.status, calls=(2,))
    outcome = target.run(target.portable("weather"), Script(faults=(second,)), stream=stream)
    assert outcome.failure.code == code


@pytest.mark.parametrize(
    ("stream", "chunks"),
    [(False, 0), (True, 0), (True, 1), (True, 3)],
    ids=["plain", "no-event", "first-event", "text"],
)
@pytest.mark.parametrize("tools", [(), ("weather",)], ids=["text", "tool"])
def test_an_answer_that_is_cut_off_is_none(
    target: Target, stream: bool, chunks: int, tools: tuple[str, ...]
) -> None:
    script = Script(faults=(Fault(kind=FaultKind.TRUNCATED_STREAM, chunks=chunks),))
    outcome = target.run(target.portable(*tools), script, stream=stream, limits=Limits(seconds=20))
    assert outcome.failure.code in (ErrorCode.MODEL_BAD_OUTPUT, ErrorCode.MODEL_UNAVAILABLE)


@both_ways
def test_a_model_that_never_answers_is_a_timeout(target: Target, stream: bool) -> None:
    script = Script(faults=(Fault(kind=FaultKind.HANG),))
    outcome = target.run(target.portable(), script, limits=Limits(seconds=2), stream=stream)
    assert outcome.failure.code == ErrorCode.TIMEOUT


def test_a_model_that_is_not_there_is_unavailable(target: Target) -> None:
    outcome = target.run(target.portable(), model=ModelAddress(base_url="http://127.0.0.1:9/v1"))
    assert outcome.failure.code == ErrorCode.MODEL_UNAVAILABLE


@both_ways
def test_tool_arguments_that_are_no_json_do_not_end_in_a_success(target: Target, stream: bool) -> None:
    script = Script(faults=(Fault(kind=FaultKind.BAD_TOOL_ARGUMENTS),), echo=MARKER)
    limits = Limits(steps=5, seconds=20)
    outcome = target.run(target.portable("weather"), script, limits=limits, stream=stream)
    if outcome.error is None:
        assert outcome.ok.usage.model_calls > 1, "the model was told and answered again"
    else:
        assert outcome.error.code in (ErrorCode.MODEL_BAD_OUTPUT, ErrorCode.LIMIT_EXCEEDED)


def test_errors_say_what_the_endpoint_said(target: Target) -> None:
    failure = target.run(
        target.portable(), Script(faults=(Fault(kind=FaultKind.STATUS, status=401),))
    ).failure
    assert "401" in str(failure)
    assert not failure.code.retryable


@pytest.mark.parametrize(
    ("entrypoint", "code"),
    [
        ("no_such_module:agent", ErrorCode.AGENT_NOT_FOUND),
        ("agents:no_such_agent", ErrorCode.AGENT_NOT_FOUND),
        ("agents", ErrorCode.AGENT_NOT_FOUND),
        ("../agents:x", ErrorCode.AGENT_NOT_FOUND),
        ("json:JSONDecoder.decode", ErrorCode.AGENT_LOAD_FAILED),
    ],
)
def test_a_wrong_entrypoint_is_named(target: Target, entrypoint: str, code: ErrorCode) -> None:
    failure = target.run(AgentSource(entrypoint=entrypoint), bundle="native").failure
    if target.profile.entrypoint == "file":
        code = ErrorCode.AGENT_NOT_FOUND  # none of these is one
    assert failure.code == code
    if code is ErrorCode.AGENT_NOT_FOUND:
        assert entrypoint in failure.message


def test_a_tool_that_is_not_there_is_named(target: Target) -> None:
    failure = target.run(target.portable("no_such_tool")).failure
    assert failure.code == ErrorCode.AGENT_NOT_FOUND
    assert "no_such_tool" in failure.message


def test_a_tool_that_ends_the_process_is_a_crash_and_the_next_guest_works(target: Target) -> None:
    try:
        failure = target.run(target.portable("ends_process")).failure
        assert failure.code == ErrorCode.RUNTIME_CRASHED
        assert failure.code.retryable
    finally:
        target.restart()
    assert target.run(target.portable()).ok
