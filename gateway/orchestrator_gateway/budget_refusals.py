"""How a call that no budget is left for is refused: in words, and in facts that the guest hands on."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator_gateway.ledger import Bound, Measure, Period, UsedUp
from orchestrator_gateway.prices import dollars_text
from orchestrator_gateway.refusals import Refused, refusal
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.model_answers import BUDGET_EXCEEDED

_STATUS: Final = 402
_WORDS: Final = {"execution": "execution", "agent": "agent", "location": "code location", "tenant": "tenant"}


def used_up(found: UsedUp, now: datetime | None = None) -> Refused:
    """Return the refusal of a call for which a budget leaves nothing.

    Args:
        found: Which budget, and what was spent of it.
        now: The present; None takes the clock's.
    """
    bound, unit = found.bound, _unit(found.measure)
    spent, allowed = (
        _shown(found.measure, found.spent),
        _shown(found.measure, bound.allowed(found.measure) or 0),
    )
    name = bound.account.name[:_NAME]
    facts: dict[str, Json] = {
        "scope": bound.account.kind, "name": name, "limit": unit, "allowed": allowed, "spent": spent,
    }  # fmt: skip
    if bound.account.kind == "execution":
        words = (
            f"the execution has used up its budget: {spent} of {allowed} {unit}, all its tries together;"
            f" raise budget.{_SETTINGS[found.measure]} of the agent if that is right"
        )
    else:
        facts["renewed"] = renewed = renewal(bound.per, now or datetime.now(UTC)).isoformat()
        words = (
            f"the budget of the {_WORDS[bound.account.kind]} {name!r} is used up: {spent} of {allowed} {unit}"
            f" in this {bound.per}; it is renewed at {renewed}"
        )
    error = {
        "message": words,
        "type": BUDGET_EXCEEDED,
        "param": None,
        "code": BUDGET_EXCEEDED,
        "budget": facts,
    }
    return Refused(_STATUS, json.dumps({"error": error}).encode(), ours=True)


def unpriced(model: str, bound: Bound, version: str) -> Refused:
    """Return the refusal of a model whose cost cannot be bounded, since nobody knows it."""
    whose = f"{_WORDS[bound.account.kind]} {bound.account.name[:_NAME]!r}"
    words = (
        f"the model {model[:_NAME]!r} has no price (table {version}), and the cost of the {whose} is bounded:"
        " add it to the table of prices"
    )
    return refusal(400, words, code="unpriced_model")


def no_time_left() -> Refused:
    """Return the refusal of a call whose execution is over, by the clock."""
    words = "the time of the execution is over; other calls may hold the rest of a budget"
    return refusal(504, words, code="no_time_left")


def renewal(per: Period, now: datetime) -> datetime:
    """Return when a day's or a month's budget is renewed."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "month":
        return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return midnight + timedelta(days=1)


_NAME: Final = 80
_SETTINGS: Final = {"tokens": "tokens", "cost": "cost_usd", "calls": "calls", "milliseconds": "seconds"}


def _unit(measure: Measure) -> str:
    return {"tokens": "tokens", "cost": "USD", "calls": "calls", "milliseconds": "seconds"}[measure]


def _shown(measure: Measure, value: int) -> str:
    """Return a value as people write it: money in dollars, time in seconds."""
    if measure == "cost":
        return dollars_text(value)
    return str(value / 1000) if measure == "milliseconds" else str(value)
