"""Budgets: what executions, agents, code locations and tenants may spend, held before a call and settled after it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, Self

from orchestrator_gateway.budget_refusals import no_time_left, unpriced, used_up
from orchestrator_gateway.budget_settings import EVERY, Budget
from orchestrator_gateway.estimates import counted, estimated
from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.ledger import (
    LEASE_SECONDS,
    Account,
    Amount,
    Bound,
    Hold,
    Ledger,
    use_name,
)
from orchestrator_gateway.prices import PriceTable, nanodollars
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Usage

_LOOK_SECONDS: Final = 0.25
"""How often a call that waits for others looks again, since other gateways do not tell when they settle one."""

_RETRY_SECONDS: Final = 1.0


class Budgets:
    """Holds and settles what calls spend.

    Args:
        ledger: Where it is counted.
        prices: What models cost.
        budgets: Of agents, code locations and tenants; those of executions come with their claims.
    """

    def __init__(self, ledger: Ledger, prices: PriceTable, budgets: Sequence[Budget] = ()) -> None:
        """Begin with nothing held; `start` keeps the lease."""
        self.ledger = ledger
        self.prices = prices
        self._budgets = tuple(budgets)
        self._queues: dict[Account, asyncio.Lock] = {}
        self._waiting = Counter[Account]()
        self._settled = asyncio.Event()
        self._unsettled: list[tuple[Hold, Amount | None]] = []
        self._keeper: asyncio.Task[None] | None = None

    def configure(self, prices: PriceTable, budgets: Sequence[Budget]) -> None:
        """Use other prices and budgets from the next call on; what was spent stays."""
        self.prices, self._budgets = prices, tuple(budgets)

    def start(self) -> None:
        """Begin to renew the lease of what is held; call it on the loop."""
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Settle what can be settled."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        with contextlib.suppress(JournalUnavailable):
            await self._settle_rest()

    async def hold(self, claims: Claims, usage: Usage, models: Sequence[str]) -> Hold:
        """Hold what a call may spend; wait for calls that are on their way where only they fill a budget.

        Args:
            claims: Whose call it is.
            usage: What it may use.
            models: Names that an upstream may be asked for; what the dearest costs is held.

        Raises:
            Refused: No budget is left; or a cost is bounded and a model has no price; or the time of the execution is
                over while other calls hold the rest of a budget.
            JournalUnavailable: The ledger cannot be written.
        """
        bounds = self._bounds(claims)
        costs = {model: self.cost(model, usage) for model in models}
        for model, cost in costs.items():
            bound = next((bound for bound in bounds if bound.cost is not None), None)
            if cost is None and bound is not None:
                raise unpriced(model, bound, self.prices.version)
        amount = Amount(
            tokens=usage.input_tokens + usage.output_tokens,
            cost=max((cost for cost in costs.values() if cost is not None), default=0),
            calls=1,
        )
        asked = _Asked(accounts=_accounts(claims), bounds=tuple(bounds), amount=amount, until=claims.until)
        return await self._held(asked)

    def cost(self, model: str, usage: Usage) -> int | None:
        """Return what a call costs, in nano-dollars; None when the model has no price."""
        price = self.prices.price(model)
        return None if price is None else price.of(usage)

    async def settle(self, hold: Hold, spent: Amount | None) -> None:
        """Count a call; where the ledger cannot be written, that is made up for later."""
        try:
            await self.ledger.settle(hold, spent)
        except JournalUnavailable:
            self._unsettled.append((hold, spent))  # no more than are on their way: nothing is held meanwhile
        self._settled.set()

    async def _held(self, asked: "_Asked") -> Hold:
        if asked.until <= time.time():
            raise no_time_left()
        queued = next((bound.account for bound in asked.bounds if bound.account in self._queues), None)
        if queued is None:
            verdict = await self.ledger.reserve(asked.accounts, asked.bounds, asked.amount, _today())
            if isinstance(verdict, Hold):
                return verdict
            if verdict.final:
                raise used_up(verdict)
            queued = verdict.bound.account
        try:
            async with asyncio.timeout(asked.until - time.time()), self._turn(queued):
                return await self._awaited(asked)
        except TimeoutError as error:
            raise no_time_left() from error

    async def _awaited(self, asked: "_Asked") -> Hold:
        """Look until calls that are on their way have given back enough."""
        while True:
            self._settled.clear()
            verdict = await self.ledger.reserve(asked.accounts, asked.bounds, asked.amount, _today())
            if isinstance(verdict, Hold):
                return verdict
            if verdict.final:
                raise used_up(verdict)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), _LOOK_SECONDS)

    @asynccontextmanager
    async def _turn(self, account: Account) -> AsyncGenerator[None]:
        """Wait for one's turn among those that wait for an account; in the order of coming, and one of them looks."""
        queue = self._queues.setdefault(account, asyncio.Lock())
        self._waiting[account] += 1
        try:
            async with queue:
                yield
        finally:
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account], self._queues[account]

    def _bounds(self, claims: Claims) -> list[Bound]:
        own = claims.budget
        bounds = [
            Bound(
                account=Account(tenant=claims.tenant, kind="execution", name=claims.execution),
                per="ever",
                tokens=own.tokens,
                cost=own.cost,
                calls=own.calls,
                milliseconds=None if own.seconds is None else int(own.seconds * 1000),
            )
        ]
        names = _names(claims)
        bounds += [
            Bound(
                account=Account(tenant=claims.tenant, kind=budget.scope, name=names[budget.scope]),
                per=budget.per,
                tokens=budget.tokens,
                cost=None if budget.cost_usd is None else nanodollars(budget.cost_usd),
                calls=budget.calls,
            )
            for budget in self._budgets
            if budget.name in (EVERY, names[budget.scope])
        ]
        return [bound for bound in bounds if not bound.empty]

    async def _keep(self) -> None:
        """Renew the lease, and make up for what could not be settled."""
        renewed = -LEASE_SECONDS
        while True:
            with contextlib.suppress(JournalUnavailable):
                if time.monotonic() - renewed > LEASE_SECONDS / 3:
                    await self.ledger.renew()
                    renewed = time.monotonic()
                await self._settle_rest()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _settle_rest(self) -> None:
        while self._unsettled:
            await self.ledger.settle(*self._unsettled[0])
            del self._unsettled[0]
            self._settled.set()


class Spending:
    """What one call spends, inside `async with`: at its end the call is counted, or what it holds is given back.

    Args:
        budgets: Where it is counted.
        claims: Whose call it is.
        body: The request.
        size: Bytes of the request.
    """

    def __init__(self, budgets: Budgets, claims: Claims, body: Json, size: int) -> None:
        """Begin with nothing held."""
        self._budgets = budgets
        self._claims = claims
        self._expected = estimated(body, size)
        self._hold: Hold | None = None
        self._began = 0.0
        self._settling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin with nothing held."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Return when the call is counted, durably."""
        if self._settling is not None:
            await self._settling
        elif self._hold is not None:
            await self._budgets.settle(self._hold, None)

    async def hold(self, models: Sequence[str]) -> None:
        """Hold what the call may spend.

        Args:
            models: Names that an upstream may be asked for.

        Raises:
            Refused: See `Budgets.hold`.
            JournalUnavailable: The same.
        """
        self._hold = await self._budgets.hold(self._claims, self._expected, models)
        self._began = time.monotonic()

    def answered(self, model: str | None, told: Usage | None) -> None:
        """Begin to count an answer, once; other work may go on meanwhile.

        Args:
            model: That the upstream was asked for; None when the request named none.
            told: What the upstream says of its usage; None when it says nothing that is a count.
        """
        assert self._hold is not None
        usage, is_estimate = counted(told, self._expected)
        cost = self._budgets.cost(model or "", usage)
        spent = Amount(
            tokens=usage.input_tokens + usage.output_tokens,
            cost=cost or 0,
            calls=1,
            milliseconds=round((time.monotonic() - self._began) * 1000),
            unpriced_calls=int(cost is None),
            estimated_calls=int(is_estimate),
        )
        self._settling = asyncio.create_task(self._budgets.settle(self._hold, spent))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    accounts: tuple[Account, ...]
    bounds: tuple[Bound, ...]
    amount: Amount
    until: float


def _names(claims: Claims) -> dict[Literal["agent", "location", "tenant"], str]:
    return {"agent": claims.name, "location": claims.location, "tenant": claims.tenant}


def _accounts(claims: Claims) -> tuple[Account, ...]:
    return (
        Account(tenant=claims.tenant, kind="execution", name=claims.execution),
        *(Account(tenant=claims.tenant, kind=kind, name=name) for kind, name in _names(claims).items()),
        *_uses(claims),
    )


def _uses(claims: Claims) -> tuple[Account, ...]:
    if not claims.bundle:
        return ()
    return (Account(tenant=claims.tenant, kind="use", name=use_name(claims.bundle, claims.execution)),)


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
