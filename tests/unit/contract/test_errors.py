"""An error is the same on both sides of a process border."""

import pickle
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes.connection import RequestFailed, UsageError
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Usage

RETRYABLE: Final = {
    "model_unavailable",
    "model_rate_limited",
    "model_bad_output",
    "timeout",
    "state_unavailable",
    "runtime_crashed",
}


@given(
    st.sampled_from(ErrorCode),
    st.text(),
    st.none() | st.text(),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)
def test_an_error_survives_pickling(
    code: ErrorCode, message: str, cause: str | None, detail: dict[str, object]
) -> None:
    error = AgentError(code, message, cause=cause, detail=detail)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is AgentError
    assert (again.code, again.message, again.cause, again.detail) == (code, message, cause, detail)
    assert (str(again), again.args) == (str(error), error.args)


def test_a_failed_request_keeps_its_type_and_its_usage() -> None:
    failed = RequestFailed(ErrorCode.TIMEOUT, "late", cause="why", detail={"a": 1})
    failed.usage = Usage(model_calls=3)
    again = pickle.loads(pickle.dumps(failed))
    assert isinstance(again, RequestFailed)
    assert (again.usage, again.code, again.detail) == (Usage(model_calls=3), ErrorCode.TIMEOUT, {"a": 1})
    wrapped = pickle.loads(pickle.dumps(UsageError(failed, Usage(tool_calls=1))))
    assert isinstance(wrapped, UsageError)
    assert (wrapped.usage, wrapped.message, wrapped.cause) == (Usage(tool_calls=1), "late", "why")


@pytest.mark.parametrize("code", list(ErrorCode))
def test_the_code_is_the_retry_policy(code: ErrorCode) -> None:
    assert code.retryable is (code.value in RETRYABLE)


def test_a_long_cause_is_cut() -> None:
    error = AgentError(ErrorCode.FRAMEWORK_ERROR, "m", cause="x" * 10_000)
    assert error.cause == "x" * 2_000
    assert str(AgentError(ErrorCode.FRAMEWORK_ERROR, "m")) == "framework_error: m"
