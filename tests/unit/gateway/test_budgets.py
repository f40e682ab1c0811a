"""A call is made while its budgets have something left, waits where only others hold the rest, and else is refused."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator_gateway.budget_refusals import renewal, used_up
from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.budgets import Budgets, Spending
from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.ledger import Account, Amount, Bound, Hold, Ledger, UsedUp
from orchestrator_gateway.prices import Price, PriceTable
from orchestrator_gateway.refusals import Refused
from orchestrator_gateway.sqlite_ledger import SqliteLedger
from orchestrator_gateway.sqlite_store import open_sqlite
from orchestrator_gateway.tokens import Claims, ExecutionBudget
from orchestrator_runtimes.messages import Usage
from orchestrator_runtimes.model_answers import status_fault

PRICES = PriceTable(version="7", models={"m": Price(input=1, output=2), "dear": Price(input=100, output=100)})
USED = Usage(input_tokens=100, output_tokens=10)
COST = 120_000
"""Of USED, in nano-dollars."""


def claims(**changes: Any) -> Claims:
    now = time.time()
    whole = Claims(
        tenant="t", execution="e", attempt="1", agent="d", until=now + 30, expires=now + 60, name="a", location="l"
    )  # fmt: skip
    return replace(whole, **changes)


def own(**bounds: Any) -> Claims:
    return claims(budget=ExecutionBudget(**bounds))


def with_budgets(
    folder: Path, work: Callable[[Budgets], Awaitable[None]], *settings: Budget, ledger: Ledger | None = None
) -> None:
    async def scenario() -> None:
        budgets = Budgets(ledger or SqliteLedger(open_sqlite(folder / "spending.db")), PRICES, settings)
        budgets.start()
        async with asyncio.timeout(60):
            await work(budgets)
        await budgets.close()
        await budgets.ledger.close()

    asyncio.run(scenario())


async def call(
    budgets: Budgets, of: Claims, usage: Usage | None = USED, *, model: str = "m", body: Any = None
) -> None:
    async with Spending(budgets, of, body or {"max_tokens": 10}, 400) as spending:
        await spending.hold([model])
        await asyncio.sleep(0)
        spending.answered(model, usage)


async def refusal_of(budgets: Budgets, of: Claims, **how: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as caught:
        await call(budgets, of, **how)
    told: dict[str, Any] = json.loads(caught.value.body)["error"]
    return told | {
        "status": caught.value.status,
        "code_of_guest": status_fault(caught.value.status, caught.value.body),
    }


async def spent(budgets: Budgets, execution: str = "e") -> Amount:
    return replace(
        (await budgets.ledger.executions("t", [execution])).get(execution, Amount()), milliseconds=0
    )


def test_an_execution_has_one_budget_for_all_its_tries(tmp_path: Path) -> None:
    async def work(budgets: Budgets) -> None:
        for attempt in ("1", "2"):
            await call(budgets, replace(own(calls=2), attempt=attempt))
        told = await refusal_of(budgets, replace(own(calls=2), attempt="3"))
        assert told["status"] == 402 and told["type"] == told["code"] == "budget_exceeded"
        assert told["message"] == (
            "the execution has used up its budget: 2 of 2 calls, all its tries together;"
            " raise budget.calls of the agent if that is right"
        )
        assert told["budget"] == {
            "scope": "execution", "name": "e", "limit": "calls", "allowed": "2", "spent": "2"
        }  # fmt: skip
        assert not told["code_of_guest"].code.retryable
        await call(budgets, replace(own(calls=2), execution="f"))
        assert await spent(budgets) == Amount(tokens=220, cost=2 * COST, calls=2)

    with_budgets(tmp_path, work)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"tokens": 110}, "110 of 110 tokens"),
        ({"cost": COST}, "0.00012 of 0.00012 USD"),
        ({"seconds": 0.0}, "of 0.0 seconds"),
    ],
)
def test_tokens_cost_and_seconds_are_bounded_as_well(
    tmp_path: Path, bounds: dict[str, Any], words: str
) -> None:
    async def work(budgets: Budgets) -> None:
        if bounds.get("seconds") is None:
            await call(budgets, own(**bounds))
        assert words in (await refusal_of(budgets, own(**bounds)))["message"]

    with_budgets(tmp_path, work)


def test_agents_locations_and_tenants_have_theirs(tmp_path: Path) -> None:
    settings = (
        Budget(scope="agent", name="a", calls=1),
        Budget(scope="location", name="l", calls=2, per="month"),
        Budget(scope="tenant", calls=3),
    )

    async def work(budgets: Budgets) -> None:
        await call(budgets, claims())
        agent = await refusal_of(budgets, claims(execution="f"))
        assert (
            "the budget of the agent 'a' is used up: 1 of 1 calls in this day; it is renewed at"
            in agent["message"]
        )
        assert datetime.fromisoformat(agent["budget"]["renewed"]) == renewal("day", datetime.now(UTC))
        await call(budgets, claims(name="b"))
        assert (
            "code location 'l' is used up: 2 of 2 calls in this month"
            in (await refusal_of(budgets, claims(name="b")))["message"]
        )
        await call(budgets, claims(name="b", location="k"))
        assert "tenant 't'" in (await refusal_of(budgets, claims(name="b", location="k")))["message"]
        await call(budgets, claims(name="b", location="k", tenant="u"))

    with_budgets(tmp_path, work, *settings)


def test_other_budgets_and_prices_are_used_from_the_next_call_on(tmp_path: Path) -> None:
    async def work(budgets: Budgets) -> None:
        await call(budgets, claims())
        await refusal_of(budgets, claims())
        budgets.configure(PriceTable(version="8"), [Budget(scope="agent", calls=2)])
        await call(budgets, claims())
        assert (await spent(budgets)).unpriced_calls == 1
        await refusal_of(budgets, claims())

    with_budgets(tmp_path, work, Budget(scope="agent", calls=1))


def test_where_a_cost_is_bounded_a_model_without_a_price_is_refused_and_else_its_cost_is_unknown(
    tmp_path: Path,
) -> None:
    async def work(budgets: Budgets) -> None:
        told = await refusal_of(budgets, own(cost=10**9), model="new")
        assert told["status"] == 400 and told["code"] == "unpriced_model"
        assert told["message"] == (
            "the model 'new' has no price (table 7), and the cost of the execution 'e' is bounded:"
            " add it to the table of prices"
        )
        await call(budgets, own(), model="new")
        assert await spent(budgets) == Amount(tokens=110, calls=1, unpriced_calls=1)

    with_budgets(tmp_path, work)


@pytest.mark.parametrize("told", [None, Usage(input_tokens=10**11)])
def test_what_the_upstream_does_not_tell_or_lies_about_counts_as_estimated(
    tmp_path: Path, told: Usage | None
) -> None:
    async def work(budgets: Budgets) -> None:
        await call(budgets, own(), told)
        assert await spent(budgets) == Amount(tokens=110, cost=COST, calls=1, estimated_calls=1)

    with_budgets(tmp_path, work)


def test_a_call_that_fails_costs_nothing(tmp_path: Path) -> None:
    async def fail(budgets: Budgets) -> None:
        async with Spending(budgets, own(calls=1), {}, 4) as spending:
            await spending.hold(["m"])
            raise ConnectionError

    async def work(budgets: Budgets) -> None:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await fail(budgets)
        await call(budgets, own(calls=1))

    with_budgets(tmp_path, work)


def test_what_the_dearest_of_several_upstreams_costs_is_held(tmp_path: Path) -> None:
    async def work(budgets: Budgets) -> None:
        hold = await budgets.hold(own(cost=10**9), USED, ["m", "dear"])
        assert hold.amount == Amount(tokens=110, cost=11_000_000, calls=1)
        await budgets.settle(hold, None)

    with_budgets(tmp_path, work)


def test_two_hundred_at_once_spend_exactly_what_there_is_and_those_that_wait_go_on(tmp_path: Path) -> None:
    """Each holds 1,100 tokens and uses 110: some must wait, none is refused while something is left."""
    most, in_flight = 0, 0

    async def work(budgets: Budgets) -> None:
        async def one(number: int) -> str:
            nonlocal most, in_flight
            try:
                async with Spending(
                    budgets, claims(execution=f"e{number}"), {"max_tokens": 1_000}, 400
                ) as spending:
                    await spending.hold(["m"])
                    in_flight += 1
                    most = max(most, in_flight)
                    await asyncio.sleep(0.002)
                    in_flight -= 1
                    spending.answered("m", USED)
            except Refused as error:
                return str(error.status)
            return "made"

        outcomes = [await outcome for outcome in asyncio.as_completed([one(n) for n in range(200)])]
        assert outcomes.count("made") == 100, "11,000 tokens are 100 calls"
        assert outcomes.count("402") == 100
        assert most <= 11_000 // 1_100
        (agent, *_) = await budgets.ledger.days("t", "", "9999")
        assert (agent.amount.tokens, agent.amount.calls) == (11_000, 100)

    with_budgets(tmp_path, work, Budget(scope="agent", name="a", tokens=11_000))


def test_who_waits_until_the_time_of_its_execution_is_over_is_told_so_and_may_be_tried_again(
    tmp_path: Path,
) -> None:
    async def work(budgets: Budgets) -> None:
        hold = await budgets.hold(own(calls=1), USED, ["m"])
        for until in (time.time() + 0.3, time.time() - 1):
            told = await refusal_of(budgets, replace(own(calls=1), until=until))
            assert (
                told["status"] == 504
                and told["code"] == "no_time_left"
                and told["code_of_guest"].code.retryable
            )
        await budgets.settle(hold, None)
        await call(budgets, own(calls=1))

    with_budgets(tmp_path, work)


def test_a_call_that_another_gateway_holds_the_rest_of_is_made_when_that_settles(tmp_path: Path) -> None:
    async def work(budgets: Budgets) -> None:
        other = SqliteLedger(open_sqlite(tmp_path / "spending.db"))
        bound = Bound(account=Account(tenant="t", kind="execution", name="e"), per="ever", calls=1)
        hold = await other.reserve([bound.account], [bound], Amount(calls=1), "2026-11-25")
        assert isinstance(hold, Hold)
        waiting = asyncio.create_task(call(budgets, own(calls=1)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await other.settle(hold, None)
        await waiting
        await other.close()

    with_budgets(tmp_path, work)


class Broken:
    """A ledger whose disk is full for a while."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.full = False

    def __getattr__(self, name: str) -> Any:
        if self.full and name != "close":

            async def refuse(*_arguments: object) -> None:
                raise JournalUnavailable("the disk is full")

            return refuse
        return getattr(self._ledger, name)


def test_while_the_ledger_cannot_be_written_no_call_is_made_and_what_was_spent_is_made_up_for(
    tmp_path: Path,
) -> None:
    broken = Broken(SqliteLedger(open_sqlite(tmp_path / "spending.db")))

    async def work(budgets: Budgets) -> None:
        async with Spending(budgets, own(calls=2), {"max_tokens": 10}, 400) as spending:
            await spending.hold(["m"])
            broken.full = True
            spending.answered("m", USED)
        with pytest.raises(JournalUnavailable):
            await call(budgets, own(calls=2))
        broken.full = False
        while (await spent(budgets)).calls == 0:
            await asyncio.sleep(0.05)
        await call(budgets, own(calls=2))
        await refusal_of(budgets, own(calls=2))

    with_budgets(tmp_path, work, ledger=cast("Ledger", broken))


@pytest.mark.parametrize(
    ("per", "now", "at"),
    [
        ("day", "2026-12-31T23:59:59+00:00", "2027-01-01T00:00:00+00:00"),
        ("month", "2026-12-31T23:59:59+00:00", "2027-01-01T00:00:00+00:00"),
        ("month", "2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00"),
    ],
)
def test_a_budget_is_renewed_at_midnight_and_on_the_first(per: Any, now: str, at: str) -> None:
    assert renewal(per, datetime.fromisoformat(now)).isoformat() == at


def test_a_refusal_is_short_whatever_names_are_in_it() -> None:
    bound = Bound(account=Account(tenant="t", kind="agent", name="a" * 10_000), per="day", cost=5)
    refused = used_up(UsedUp(bound=bound, measure="cost", spent=10**18, held=0))
    assert len(refused.body) < 1_000 and b"1000000000.0 of 0.000000005 USD" in refused.body
