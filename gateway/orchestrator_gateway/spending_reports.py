"""What was spent, told to the trusted side: by day for people, by execution for the runs that ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from orchestrator_gateway.budgets import Budgets
from orchestrator_gateway.ledger import EXECUTIONS, Amount, SpentByExecutions
from orchestrator_gateway.prices import dollars_text
from orchestrator_runtimes.json_values import Json


class WrongQuestion(Exception):
    """Something is asked for that cannot be told; the text is one line that says what to ask instead."""


@dataclass(frozen=True, kw_only=True)
class AskedExecutions:
    """`/admin/spend`: what executions spent, at most `EXECUTIONS` of them."""

    tenant: str
    executions: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a question that takes too long to answer."""
        if len(self.executions) > EXECUTIONS:
            raise ValueError(f"ask for at most {EXECUTIONS} executions")


async def spent_by_day(budgets: Budgets, query: Mapping[str, str]) -> Json:
    """Return what agents, code locations and a tenant spent.

    Args:
        budgets: Whose ledger is asked.
        query: `tenant`; `since` and `until`, days of UTC such as `2026-11-25`, both included, this month if missing.

    Raises:
        WrongQuestion: The tenant is missing or a day is none.
        JournalUnavailable: The ledger cannot be read.
    """
    tenant = query.get("tenant")
    if not tenant:
        raise WrongQuestion("say whose spending: ?tenant=NAME")
    first, last = days_asked(query.get("since"), query.get("until"))
    rows = await budgets.ledger.days(tenant, first, last)
    return {
        "currency": "USD",
        "prices": budgets.prices.version,
        "tenant": tenant,
        "since": first,
        "until": last,
        "spent": [
            {"scope": row.account.kind, "name": row.account.name, "day": row.day, **told(row.amount)} for row in rows
        ],
    }  # fmt: skip


def days_asked(since: str | None, until: str | None) -> tuple[str, str]:
    """Return the first and the last day that are asked for; of this month where they are missing.

    Raises:
        WrongQuestion: One is no day.
    """
    today = datetime.now(UTC).date()
    return _day("since", since, today.replace(day=1)), _day("until", until, today)


async def spent_by_executions(budgets: Budgets, asked: AskedExecutions) -> SpentByExecutions:
    """Return what executions spent, all their tries together.

    Raises:
        JournalUnavailable: The ledger cannot be read.
    """
    amounts = await budgets.ledger.executions(asked.tenant, asked.executions)
    return SpentByExecutions(prices=budgets.prices.version, executions=amounts)


def told(amount: Amount) -> dict[str, Json]:
    """Return an amount as it is told: money in dollars, as text, since it is exact; time in seconds."""
    return {
        "calls": amount.calls,
        "tokens": amount.tokens,
        "cost_usd": dollars_text(amount.cost),
        "seconds": amount.milliseconds / 1000,
        "unpriced_calls": amount.unpriced_calls,
        "estimated_calls": amount.estimated_calls,
    }


def _day(name: str, text: str | None, default: date) -> str:
    try:
        return (date.fromisoformat(text) if text else default).isoformat()
    except ValueError:
        raise WrongQuestion(f"{name} must be a day such as 2026-11-25, not {text!r:.40}") from None
