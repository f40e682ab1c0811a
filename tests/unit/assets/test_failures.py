"""What Dagster shows of an error: what happened, and what to do next."""

from orchestrator_assets.failures import failure
from orchestrator_runtimes.errors import AgentError, ErrorCode


def test_facts_are_shown_one_by_one_after_what_to_do() -> None:
    error = AgentError(
        ErrorCode.BUDGET_EXCEEDED, "used up", cause="402", detail={"spent": "17", "allowed": 5, "code": "x"}
    )
    shown = failure(error).metadata
    assert list(shown) == ["code", "retryable", "next", "cause", "spent", "allowed"]
    assert shown["code"].value == "budget_exceeded", "an error's own facts replace nothing"
    assert "change what the message names" in str(shown["next"].value)


def test_many_or_nested_facts_are_json() -> None:
    for detail in ({"a": {"b": 1}}, {str(number): number for number in range(11)}):
        shown = failure(AgentError(ErrorCode.TIMEOUT, "too slow", detail=detail)).metadata
        assert list(shown) == ["code", "retryable", "next", "detail"]
        assert shown["detail"].value == detail
        assert "materialize it again" in str(shown["next"].value)
