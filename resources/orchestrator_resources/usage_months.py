"""What a month's calls come to, from the ledger of a gateway: for people, and for the publishers of bundles."""

import calendar
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Final, Literal

from orchestrator_gateway.ledger import Amount, Ledger, Use
from orchestrator_marketplace.usage_reports import UsageLine, UsageReport
from orchestrator_runtimes.errors import AgentError, ErrorCode

By = Literal["execution", "version", "agent", "publisher", "tenant"]

OWN: Final = "-"
"""In the place of a bundle: agents that nobody publishes."""

_NAMES: Final[Mapping[By, Callable[[Use], str]]] = {
    "execution": lambda use: f"{use.bundle} {use.execution}",
    "version": lambda use: use.bundle,
    "agent": lambda use: use.bundle.partition(":")[0],
    "publisher": lambda use: use.bundle.partition("/")[0],
    "tenant": lambda _use: "",
}


@dataclass(frozen=True, kw_only=True)
class Month:
    """A month of UTC.

    Attributes:
        first: Its first day, such as `2026-11-01`.
        last: Its last day.
        through: The last of its days that has begun: what is counted so far.
    """

    first: str
    last: str
    through: str

    @property
    def name(self) -> str:
        """Return it as `2026-11`."""
        return self.first[:7]


@dataclass(frozen=True, kw_only=True)
class Used:
    """A row of a month.

    Attributes:
        tenant: Whose.
        name: What was used; `OWN` for agents that nobody publishes.
        executions: How many began; None where that is not counted, which is of one's own agents.
        amount: What they spent.
    """

    tenant: str
    name: str
    executions: int | None
    amount: Amount


def month_of(text: str | None, today: date | None = None) -> Month:
    """Return a month.

    Args:
        text: Such as `2026-11`; None means the one that goes on.
        today: Of UTC; None is the present.

    Raises:
        AgentError: `invalid_input` when it is none, or has not begun.
    """
    now = today or datetime.now(UTC).date()
    name = text or now.strftime("%Y-%m")
    if re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", name) is None:
        raise AgentError(ErrorCode.INVALID_INPUT, f"{name!r:.40} is no month: write such as 2026-11")
    year, number = int(name[:4]), int(name[5:])
    first = date(year, number, 1)
    last = first.replace(day=calendar.monthrange(year, number)[1])
    if first > now:
        raise AgentError(ErrorCode.INVALID_INPUT, f"{name} has not begun: it is {now}")
    return Month(first=first.isoformat(), last=last.isoformat(), through=min(last, now).isoformat())


async def used_in(ledger: Ledger, month: Month, *, by: By, tenant: str | None) -> list[Used]:
    """Return what was used in a month, and beside that what each tenant's own agents spent.

    The sums of a tenant's rows are what the ledger counted of the tenant, exactly.

    Args:
        ledger: Of a gateway.
        month: Which.
        by: What a row is.
        tenant: Whose; None takes all.

    Raises:
        JournalUnavailable: The ledger cannot be read.
    """
    found = await ledger.uses(month.first, month.last, tenant=tenant, each=by == "execution")
    rows: list[Used] = []
    for whose, group in groupby(found, key=lambda use: use.tenant):
        of_tenant = list(group)
        uses = [use for use in of_tenant if use.bundle]
        total = _sum(use.amount for use in of_tenant if not use.bundle)
        rows += _grouped(uses, by)
        rest = _less(total, _sum(use.amount for use in uses))
        if rest != Amount():
            rows.append(Used(tenant=whose, name=OWN, executions=None, amount=rest))
    return rows


async def usage_reports(
    ledger: Ledger, month: Month, *, marketplace: str, platform: str
) -> list[UsageReport]:
    """Return what is told to each publisher whose agents were used in a month.

    Args:
        ledger: Of the platform's gateways.
        month: Which.
        marketplace: The name of the one that it is for.
        platform: Who reports.

    Raises:
        JournalUnavailable: The ledger cannot be read.
    """
    lines: dict[str, dict[str, list[Use]]] = {}
    for use in await ledger.uses(month.first, month.last):
        if not use.bundle:
            continue
        publisher, _, version = use.bundle.partition("/")
        lines.setdefault(publisher, {}).setdefault(version, []).append(use)
    return [
        UsageReport(
            marketplace=marketplace,
            platform=platform,
            publisher=publisher,
            month=month.name,
            through=month.through,
            sequence=1,
            lines=tuple(_line(version, uses) for version, uses in sorted(versions.items())),
        )
        for publisher, versions in sorted(lines.items())
    ]


def _line(named: str, uses: Sequence[Use]) -> UsageLine:
    agent, _, version = named.partition(":")
    spent = _sum(use.amount for use in uses)
    return UsageLine(
        agent=agent,
        version=version,
        tenants=len({use.tenant for use in uses}),
        executions=sum(use.executions for use in uses),
        calls=spent.calls,
        tokens=spent.tokens,
        cost_nanodollars=spent.cost,
        milliseconds=spent.milliseconds,
        unpriced_calls=spent.unpriced_calls,
        estimated_calls=spent.estimated_calls,
    )


def _grouped(uses: Iterable[Use], by: By) -> list[Used]:
    found: dict[tuple[str, str], list[Use]] = {}
    for use in uses:
        found.setdefault((use.tenant, _NAMES[by](use)), []).append(use)
    return [
        Used(
            tenant=tenant,
            name=name,
            executions=sum(use.executions for use in rows),
            amount=_sum(use.amount for use in rows),
        )
        for (tenant, name), rows in sorted(found.items())
    ]


def _sum(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, Amount())


def _less(whole: Amount, part: Amount) -> Amount:
    return Amount(
        tokens=whole.tokens - part.tokens,
        cost=whole.cost - part.cost,
        calls=whole.calls - part.calls,
        milliseconds=whole.milliseconds - part.milliseconds,
        unpriced_calls=whole.unpriced_calls - part.unpriced_calls,
        estimated_calls=whole.estimated_calls - part.estimated_calls,
    )
