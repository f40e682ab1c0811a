"""What every ledger must do: count exactly, hold before it counts, and let no two gateways take the last of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_gateway.ledger import (
    LEASE_SECONDS,
    MEASURES,
    Account,
    Amount,
    Bound,
    Hold,
    Ledger,
    Spent,
    Use,
    UsedUp,
    use_name,
)
from orchestrator_gateway.stores import open_store
from tests.integration.postgres_servers import PostgresServer

Place = Callable[[], str]
"""Makes a new database and says where it is."""

DAY = "2026-11-25"
EXECUTION = Account(tenant="t", kind="execution", name="e")
AGENT = Account(tenant="t", kind="agent", name="a")
TENANT = Account(tenant="t", kind="tenant", name="t")
ALL = (EXECUTION, AGENT, TENANT)
ONE = Amount(calls=1)
PAID = Amount(tokens=7, cost=9, calls=1, milliseconds=3, unpriced_calls=1, estimated_calls=1)


class Ledgers:
    """Ledgers of one database, each as another gateway's, by one clock."""

    def __init__(self, place: str, stack: AsyncExitStack) -> None:
        self.now = 1_800_000_000.0
        self._place = place
        self._stack = stack

    async def open(self) -> Ledger:
        store = await open_store(self._place, clock=lambda: self.now)
        self._stack.push_async_callback(store.close)
        return store.ledger


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> Place:
    if request.param == "postgres":
        return postgres.database
    numbers = count()
    return lambda: str(tmp_path / f"new{next(numbers)}" / "journal.db")


def with_ledgers(place: Place, work: Callable[[Ledgers], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            await work(Ledgers(place(), stack))

    asyncio.run(scenario())


async def held(ledger: Ledger, *bounds: Bound, amount: Amount = ONE, day: str = DAY) -> Hold:
    hold = await ledger.reserve(ALL, bounds, amount, day)
    assert isinstance(hold, Hold)
    return hold


async def refused(ledger: Ledger, *bounds: Bound, amount: Amount = ONE, day: str = DAY) -> UsedUp:
    found = await ledger.reserve(ALL, bounds, amount, day)
    assert isinstance(found, UsedUp)
    return found


def test_what_is_settled_is_counted_in_every_account_also_for_the_next_gateway(place: Place) -> None:
    async def work(opened: Ledgers) -> None:
        first = await opened.open()
        for _ in range(2):
            await first.settle(await held(first, Bound(account=AGENT, per="day", calls=5)), PAID)
        for ledger in (first, await opened.open()):
            assert await ledger.executions("t", ["e", "unknown"]) == {"e": PAID + PAID}
            assert await ledger.days("t", DAY, DAY) == [
                Spent(account=AGENT, day=DAY, amount=PAID + PAID),
                Spent(account=TENANT, day=DAY, amount=PAID + PAID),
            ]
            assert not await ledger.days("t", "2026-11-26", "2026-12-31")
            assert not await ledger.days("u", DAY, DAY) and not await ledger.executions("u", ["e"])

    with_ledgers(place, work)


@pytest.mark.parametrize(
    ("bound", "spent"),
    [
        (Bound(account=AGENT, per="day", tokens=10), Amount(tokens=9)),
        (Bound(account=AGENT, per="day", cost=10), Amount(cost=9)),
        (Bound(account=AGENT, per="day", calls=10), Amount(calls=9)),
        (Bound(account=AGENT, per="day", milliseconds=10), Amount(milliseconds=9)),
    ],
    ids=MEASURES,
)
def test_a_call_is_made_while_the_bound_is_not_reached_and_none_after_it(
    place: Place, bound: Bound, spent: Amount
) -> None:
    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        await ledger.settle(await held(ledger, bound, amount=Amount()), spent)
        await ledger.settle(await held(ledger, bound, amount=Amount()), spent)
        found = await refused(ledger, bound, amount=Amount())
        assert found == UsedUp(bound=bound, measure=found.measure, spent=18, held=0)
        assert bound.allowed(found.measure) == 10 and found.final

    with_ledgers(place, work)


def test_what_is_held_counts_until_it_is_settled_or_given_back(place: Place) -> None:
    bound = Bound(account=AGENT, per="day", tokens=10)

    async def work(opened: Ledgers) -> None:
        ledger, other = await opened.open(), await opened.open()
        first = await held(ledger, bound, amount=Amount(tokens=10, calls=1))
        found = await refused(other, bound)
        assert (found.spent, found.held, found.final) == (0, 10, False)
        await ledger.settle(first, Amount(tokens=4, calls=1))
        second = await held(other, bound, amount=Amount(tokens=6, calls=1))
        assert (await refused(ledger, bound)).held == 6
        await other.settle(second, None)
        assert (await held(ledger, bound)).amount == ONE
        assert await ledger.executions("t", ["e"]) == {"e": Amount(tokens=4, calls=1)}

    with_ledgers(place, work)


def test_of_several_bounds_none_holds_anything_where_one_refuses(place: Place) -> None:
    wide, narrow = Bound(account=AGENT, per="day", calls=5), Bound(account=TENANT, per="month", calls=1)

    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        await ledger.settle(await held(ledger, wide, narrow), ONE)
        for _ in range(10):
            assert (await refused(ledger, wide, narrow)).bound == narrow
        assert len([await held(ledger, wide) for _ in range(4)]) == 4
        assert (await refused(ledger, wide)).held == 4

    with_ledgers(place, work)


def test_a_reached_bound_is_told_before_one_that_only_calls_on_their_way_fill(place: Place) -> None:
    filled, reached = Bound(account=AGENT, per="day", calls=1), Bound(account=TENANT, per="day", tokens=1)

    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        await ledger.settle(await held(ledger), Amount(tokens=1))
        await held(ledger, filled)
        assert not (await refused(ledger, filled)).final
        assert (await refused(ledger, reached, filled)).final
        both = Bound(account=TENANT, per="day", calls=0, tokens=10)
        assert (await refused(ledger, both)).measure == "calls"

    with_ledgers(place, work)


def test_days_and_months_begin_anew_and_an_executions_does_not(place: Place) -> None:
    day, month = Bound(account=AGENT, per="day", calls=1), Bound(account=AGENT, per="month", calls=2)
    ever = Bound(account=EXECUTION, per="ever", calls=3)

    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()

        async def call(day_of_call: str) -> None:
            hold = await held(ledger, day, month, ever, day=day_of_call)
            await ledger.settle(hold, ONE)

        await call("2026-11-01")
        assert (await refused(ledger, day, month, ever, day="2026-11-01")).bound == day
        await call("2026-11-30")
        assert (await refused(ledger, day, month, ever, day="2026-11-15")).bound == month
        await call("2026-12-01")
        assert (await refused(ledger, day, month, ever, day="2027-01-01")).bound == ever

    with_ledgers(place, work)


def test_what_a_dead_gateway_holds_lapses_and_counts_again_where_it_was_only_asleep(place: Place) -> None:
    bound = Bound(account=AGENT, per="day", calls=1)

    async def work(opened: Ledgers) -> None:
        asleep, other = await opened.open(), await opened.open()
        hold = await held(asleep, bound)
        assert not (await refused(other, bound)).final
        opened.now += LEASE_SECONDS + 1
        await other.settle(await held(other, bound), None)
        await asleep.renew()
        assert (await refused(other, bound)).held == 1
        await asleep.settle(hold, ONE)
        assert (await refused(other, bound)).final

    with_ledgers(place, work)


def test_a_lease_that_is_renewed_does_not_lapse(place: Place) -> None:
    bound = Bound(account=AGENT, per="day", calls=1)

    async def work(opened: Ledgers) -> None:
        busy, other = await opened.open(), await opened.open()
        await held(busy, bound)
        for _ in range(4):
            opened.now += LEASE_SECONDS / 2
            await busy.renew()
        assert (await refused(other, bound)).held == 1

    with_ledgers(place, work)


def test_executions_are_forgotten_by_tenant_and_what_their_agent_spent_stays(place: Place) -> None:
    bound = Bound(account=EXECUTION, per="ever", calls=1)

    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        await ledger.settle(await held(ledger, bound), ONE)
        await ledger.forget("u", ["e"])
        assert (await refused(ledger, bound)).final
        await ledger.forget("t", ["e", "unknown"])
        assert await ledger.executions("t", ["e"]) == {}
        assert len(await ledger.days("t", DAY, DAY)) == 2

    with_ledgers(place, work)


def used(execution: str, bundle: str = "acme/a:1.0.0", tenant: str = "t") -> tuple[Account, ...]:
    """Return the accounts of an execution of a bundle."""
    return (
        Account(tenant=tenant, kind="execution", name=execution),
        Account(tenant=tenant, kind="tenant", name=tenant),
        Account(tenant=tenant, kind="use", name=use_name(bundle, execution)),
    )


def test_uses_are_told_by_month_and_outlive_their_executions(place: Place) -> None:
    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        for accounts, day in (
            (used("e"), "2026-10-31"), (used("e"), "2026-11-01"), (used("e"), "2026-11-30"), (used("f"), "2026-11-05"),
            (used("g", "acme/a:1.1.0"), "2026-11-05"), (used("e", tenant="u"), "2026-11-05"), (used("h"), "2026-12-01"),
            (ALL, "2026-11-05"),
        ):  # fmt: skip
            hold = await ledger.reserve(accounts, [], ONE, day)
            assert isinstance(hold, Hold)
            await ledger.settle(hold, PAID)
        await ledger.forget("t", ["e", "f", "g"])
        three = PAID + PAID + PAID
        first = Use(tenant="t", bundle="acme/a:1.0.0", executions=1, amount=three)
        other = Use(tenant="t", bundle="acme/a:1.1.0", executions=1, amount=PAID)
        month = ("2026-11-01", "2026-11-31")
        total = Use(tenant="t", bundle="", executions=0, amount=three + PAID + PAID)
        assert await ledger.uses(*month, tenant="t") == [total, first, other]
        foreign = Use(tenant="u", bundle="acme/a:1.0.0", executions=1, amount=PAID)
        assert await ledger.uses(*month) == [
            total,
            first,
            other,
            replace(foreign, bundle="", executions=0),
            foreign,
        ]
        each = await ledger.uses(*month, tenant="t", each=True)
        assert [(one.execution, one.executions, one.amount) for one in each] == [
            (None, 0, total.amount), ("e", 0, PAID + PAID), ("f", 1, PAID), ("g", 1, PAID),
        ]  # fmt: skip
        (_, october) = await ledger.uses("2026-10-01", "2026-10-31")
        assert (october.executions, october.amount) == (1, PAID)
        days = await ledger.days("t", *month)
        assert {spent.account.kind for spent in days} == {"tenant", "agent"}
        await ledger.purge(0, "2026-12-01")
        assert [one.execution for one in await ledger.uses("", "9999", each=True)] == [None, "h"]

    with_ledgers(place, work)


def test_old_executions_and_old_days_are_purged(place: Place) -> None:
    async def work(opened: Ledgers) -> None:
        ledger = await opened.open()
        await ledger.settle(await held(ledger), ONE)
        await ledger.purge(opened.now - 60, DAY)
        assert await ledger.executions("t", ["e"]) and await ledger.days("t", DAY, DAY)
        await ledger.purge(opened.now + 60, "2026-11-26")
        assert await ledger.executions("t", ["e"]) == {} and not await ledger.days("t", "", "9999")

    with_ledgers(place, work)


def test_of_two_hundred_at_once_at_two_gateways_exactly_as_many_are_made_as_there_may_be(
    place: Place,
) -> None:
    bound = Bound(account=AGENT, per="month", calls=77)

    async def work(opened: Ledgers) -> None:
        both = await opened.open(), await opened.open()

        async def call(number: int) -> bool:
            ledger = both[number % 2]
            hold = await ledger.reserve(ALL, [bound], ONE, DAY)
            if isinstance(hold, Hold):
                await ledger.settle(hold, PAID)
            return isinstance(hold, Hold)

        made = sum(await asyncio.gather(*(call(number) for number in range(200))))
        assert made == 77
        (agent, _) = await both[0].days("t", DAY, DAY)
        assert agent.amount == Amount(
            tokens=7 * 77, cost=9 * 77, calls=77, milliseconds=3 * 77, unpriced_calls=77, estimated_calls=77
        )

    with_ledgers(place, work)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 1), st.integers(1, 8)),
        st.tuples(st.just("settle"), st.integers(0, 30), st.integers(0, 12)),
        st.tuples(st.just("release"), st.integers(0, 30), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, allowed=st.integers(0, 20))
def test_it_agrees_with_a_model_of_it(place: Place, steps: list[tuple[str, int, int]], allowed: int) -> None:
    """A sum of what was spent and a list of what is held are all that a ledger is."""
    bound = Bound(account=AGENT, per="day", tokens=allowed)

    async def work(opened: Ledgers) -> None:
        both = await opened.open(), await opened.open()
        spent, holds = 0, list[tuple[Ledger, Hold]]()
        for what, number, tokens in steps:
            if what == "reserve":
                in_flight = sum(hold.amount.tokens for _, hold in holds)
                found = await both[number].reserve(ALL, [bound], Amount(tokens=tokens, calls=1), DAY)
                if spent + in_flight < allowed:
                    assert isinstance(found, Hold)
                    holds.append((both[number], found))
                else:
                    assert found == UsedUp(bound=bound, measure="tokens", spent=spent, held=in_flight)
            elif number < len(holds):
                ledger, hold = holds.pop(number)
                await ledger.settle(hold, Amount(tokens=tokens, calls=1) if what == "settle" else None)
                spent += tokens
        assert (
            sum(row.amount.tokens for row in await both[0].days("t", DAY, DAY) if row.account == AGENT)
            == spent
        )

    with_ledgers(place, work)
