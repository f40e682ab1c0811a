"""The ledger of what was spent: what a store must do, whichever database is below it.

What a call may cost is held before it is made and given back when it is settled. An amount that is held by a gateway
which does not renew its lease counts no more, so a gateway that is killed blocks nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["execution", "agent", "location", "tenant", "use"]
"""Whose spending is counted. A `use` is what one execution spends with a bundle that somebody publishes."""

Period: TypeAlias = Literal["ever", "day", "month"]
"""Over what time it is counted; days and months are those of UTC."""

Measure: TypeAlias = Literal["tokens", "cost", "calls", "milliseconds"]

MEASURES: Final[Sequence[Measure]] = ("tokens", "cost", "calls", "milliseconds")

LEASE_SECONDS: Final = 60.0
"""How long what a gateway holds counts after its last sign of life."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What calls consumed, or may consume.

    Attributes:
        tokens: Input and output together.
        cost: In nano-dollars.
        calls: Model calls that were answered.
        milliseconds: For which an upstream was at work; calls at the same time count each.
        unpriced_calls: Those of models without a price: the cost lacks them.
        estimated_calls: Those whose tokens were estimated, since the upstream told none that can be.
    """

    tokens: int = 0
    cost: int = 0
    calls: int = 0
    milliseconds: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        """Return the sum of both."""
        return Amount(**{name: getattr(self, name) + getattr(other, name) for name in COUNTS})


COUNTS: Final = tuple(count.name for count in fields(Amount))
"""The names of what is counted."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose spending: an execution, an agent, a code location, a tenant or a use, each of its tenant.

    The name of a tenant's own account is the tenant's, that of a use the bundle's and the execution's.
    """

    tenant: str
    kind: Kind
    name: str


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What an account may spend in a period; None bounds nothing."""

    account: Account
    per: Period
    tokens: int | None = None
    cost: int | None = None
    calls: int | None = None
    milliseconds: int | None = None

    def allowed(self, measure: Measure) -> int | None:
        """Return the bound of one measure."""
        value: int | None = getattr(self, measure)
        return value

    @property
    def empty(self) -> bool:
        """Whether it bounds nothing."""
        return all(self.allowed(measure) is None for measure in MEASURES)


@dataclass(frozen=True, kw_only=True)
class UsedUp:
    """Nothing may be reserved, since a bound is reached.

    Attributes:
        bound: Which.
        measure: Of what.
        spent: What was spent of it.
        held: What calls hold that are on their way. Where the bound is reached only with them, it may be worth waiting.
    """

    bound: Bound
    measure: Measure
    spent: int
    held: int

    @property
    def final(self) -> bool:
        """Whether waiting for calls that are on their way is of no use."""
        allowed = self.bound.allowed(self.measure)
        return allowed is None or self.spent >= allowed


@dataclass(frozen=True, kw_only=True)
class Hold:
    """An amount that a call may consume, held in several accounts until it is settled.

    Attributes:
        accounts: All that the call is counted in.
        held_in: Those of them that hold the amount.
        day: On which it is counted, such as `2026-11-25`, of UTC.
        amount: What is held.
        id: Names it, where its ledger needs that.
    """

    accounts: tuple[Account, ...]
    held_in: tuple[Account, ...]
    day: str
    amount: Amount
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an account spent on a day."""

    account: Account
    day: str
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a tenant's executions spent with a version of a bundle in some days, or all that the tenant spent.

    Attributes:
        tenant: Whose executions.
        bundle: `publisher/agent:version`; empty for all that the tenant spent, with bundles or without.
        executions: How many began in these days; one that goes on in later days is not counted again. 0 where the
            bundle is empty.
        amount: What was spent in these days.
        execution: Its id, where each is told by itself; None where they are told together.
    """

    tenant: str
    bundle: str
    executions: int
    amount: Amount
    execution: str | None = None


def amount_of(counts: Sequence[int]) -> Amount:
    """Return what a store keeps as numbers, in the order of `COUNTS`."""
    return Amount(**dict(zip(COUNTS, counts, strict=True)))


def uses_of(rows: Iterable[Sequence[Any]]) -> list[Use]:
    """Return what a store keeps as rows: tenant, bundle, execution or an empty text, how many began, then `COUNTS`."""
    return [
        Use(
            tenant=tenant,
            bundle=bundle,
            execution=execution or None,
            executions=began,
            amount=amount_of(counts),
        )
        for tenant, bundle, execution, began, *counts in rows
    ]


EXECUTIONS: Final = 10_000
"""Most executions in one question."""


@dataclass(frozen=True, kw_only=True)
class SpentByExecutions:
    """Answer to `/admin/spend`: what executions spent, those that spent something, by the prices of a table."""

    prices: str
    executions: Mapping[str, Amount]


class Ledger(Protocol):
    """Counts what was spent, for any number of gateways. Every method may raise `JournalUnavailable`."""

    async def reserve(
        self, accounts: Sequence[Account], bounds: Sequence[Bound], amount: Amount, day: str
    ) -> Hold | UsedUp:
        """Hold an amount in every account that has a bound, or in none.

        It is held while what was spent and what is held of each bound are together below it. So the call that reaches
        a bound is made; what is spent beyond it is at most what calls that are on their way use beyond their holds.
        """
        ...

    async def settle(self, hold: Hold, spent: Amount | None) -> None:
        """Give back what is held and count what was spent, nothing where it is None; durable when this returns."""
        ...

    async def renew(self) -> None:
        """Say that this gateway lives; without it what it holds counts no more after `LEASE_SECONDS`."""
        ...

    async def executions(self, tenant: str, names: Sequence[str]) -> dict[str, Amount]:
        """Return what executions spent in all their tries, those that spent something."""
        ...

    async def days(self, tenant: str, first: str, last: str) -> Sequence[Spent]:
        """Return what agents, code locations and the tenant spent on each day from the first to the last."""
        ...

    async def uses(
        self, first: str, last: str, *, tenant: str | None = None, each: bool = False
    ) -> Sequence[Use]:
        """Return what was spent with bundles from the first day to the last, by tenant and bundle, all of one moment.

        What a tenant spent in all comes first of its rows, so that the rest is what its own agents spent.

        Args:
            first: Such as `2026-11-01`, of UTC.
            last: The same.
            tenant: Whose; None takes all.
            each: Whether each execution is told by itself.
        """
        ...

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the accounts of executions whose results are stored; what their agent spent stays, and their uses."""
        ...

    async def purge(self, executions_before: float, days_before: str) -> None:
        """Drop accounts of executions that spent nothing since a Unix time, and days before a day, of uses, too."""
        ...

    async def close(self) -> None:
        """Release the database."""
        ...


def use_name(bundle: str, execution: str) -> str:
    """Return the name of the account of a use; neither part has a space."""
    return f"{bundle} {execution}"


def span(per: Period, day: str) -> tuple[str, str]:
    """Return the first and the last day of a period that a day is in; the dates are text, as in the ledger."""
    if per == "day":
        return day, day
    if per == "month":
        return f"{day[:7]}-01", f"{day[:7]}-31"
    return "", "9999"
