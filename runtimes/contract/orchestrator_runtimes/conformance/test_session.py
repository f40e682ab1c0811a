"""A session remembers, through the trusted side, and only its own conversation."""

import asyncio

import pytest

from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import StateSaved

pytestmark = pytest.mark.capability("session")


def _prompt(target: Target, execution: str) -> str:
    return str(next(call.body for call in target.endpoint.calls if call.execution == execution))


def test_the_second_turn_knows_the_first(target: Target) -> None:
    session, second = f"session-{target.next_execution()}", target.next_execution()
    first = target.run(target.portable("weather"), inputs="my name is Ada", session=session)
    assert any(isinstance(event, StateSaved) for event in first.events)
    target.run(target.portable("weather"), inputs="what is my name?", session=session, execution=second).ok  # noqa: B018
    assert "my name is Ada" in _prompt(target, second)


def test_the_state_survives_the_guest(target: Target) -> None:
    session, second = f"session-{target.next_execution()}", target.next_execution()
    target.run(target.portable(), inputs="my name is Ada", session=session).ok  # noqa: B018  # it must succeed
    target.restart()
    target.run(target.portable(), inputs="what is my name?", session=session, execution=second).ok  # noqa: B018
    assert "my name is Ada" in _prompt(target, second)


def test_another_session_and_no_session_know_nothing(target: Target) -> None:
    session = f"session-{target.next_execution()}"
    target.run(target.portable(), inputs="my name is Ada", session=session).ok  # noqa: B018  # it must succeed
    for other in (f"{session}-other", None):
        execution = target.next_execution()
        target.run(target.portable(), inputs="who am I?", session=other, execution=execution).ok  # noqa: B018
        assert "Ada" not in _prompt(target, execution)


def test_two_executions_of_one_session_cannot_overwrite_each_other(target: Target) -> None:
    session = f"session-{target.next_execution()}"

    async def both() -> list[ErrorCode | None]:
        outcomes = await asyncio.gather(
            *(target.execute(target.portable(), session=session) for _ in range(2))
        )
        return [outcome.error.code if outcome.error else None for outcome in outcomes]

    codes = target.call(both())
    assert codes.count(None) >= 1
    assert set(codes) <= {None, ErrorCode.STATE_UNAVAILABLE}
