"""How many executions of a tenant call at once: never more than it may, and nobody is forgotten."""

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway import execution_places
from orchestrator_gateway.execution_places import ExecutionPlaces
from orchestrator_gateway.refusals import Refused
from orchestrator_gateway.tenant_settings import TenantSettings


def places(**most: int | None) -> ExecutionPlaces:
    made = ExecutionPlaces()
    made.configure({tenant: TenantSettings(executions=number) for tenant, number in most.items()})
    return made


def later() -> float:
    return time.time() + 60


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 4), st.integers(1, 4), st.booleans()), max_size=20
    ),
)
def test_no_more_executions_call_than_may_and_all_that_wait_go_on(
    most: int, calls: list[tuple[str, int, int, bool]]
) -> None:
    async def run() -> None:
        kept, going, most_seen, served = places(red=most), list[str](), 0, 0

        async def call(execution: str, begin: int, lasts: int, gives_up: bool) -> None:
            nonlocal most_seen, served
            for _ in range(begin):
                await asyncio.sleep(0)
            try:
                async with asyncio.timeout(0 if gives_up else None), kept.place("red", execution, later()):
                    going.append(execution)
                    most_seen = max(most_seen, len(set(going)))
                    try:
                        for _ in range(lasts):
                            await asyncio.sleep(0)
                    finally:
                        going.remove(execution)
                    served += 1
            except TimeoutError:
                assert gives_up

        await asyncio.wait_for(asyncio.gather(*(call(*one) for one in calls)), 10)
        assert most_seen <= most and served >= sum(not gives_up for *_, gives_up in calls)
        assert not vars(kept)["_tenants"], "nothing is kept of who is gone"

    asyncio.run(run())


def test_calls_of_an_execution_that_has_a_place_do_not_wait_and_other_tenants_neither() -> None:
    async def run() -> None:
        kept = places(red=1)
        async with (
            kept.place("red", "a", later()),
            asyncio.timeout(5),
            kept.place("red", "a", later()),
            kept.place("blue", "a", later()),
            kept.place("blue", "b", later()),
        ):
            with pytest.raises(Refused) as refused:
                async with kept.place("red", "b", time.time() + 0.05):
                    raise AssertionError("it has a place")
        assert refused.value.status == 429 and refused.value.retry_after
        told = json.loads(refused.value.body)["error"]
        assert told["code"] == "waited_in_vain"
        assert told["message"].startswith("the tenant 'red' may have 1 executions that call models at once")

    asyncio.run(run())


def test_a_limit_that_is_raised_or_taken_away_lets_those_that_wait_go_on() -> None:
    async def run(then: int | None) -> None:
        kept, began = places(red=1), asyncio.Event()

        async def second() -> None:
            async with kept.place("red", "b", later()):
                began.set()

        async with kept.place("red", "a", later()):
            task = asyncio.create_task(second())
            await asyncio.sleep(0)
            assert not began.is_set()
            kept.configure({"red": TenantSettings(executions=then)})
            await asyncio.wait_for(task, 5)

    asyncio.run(run(2))
    asyncio.run(run(None))


def test_a_limit_below_what_goes_on_ends_nothing_and_lets_nobody_new_in() -> None:
    async def run() -> None:
        kept = places(red=2)
        async with kept.place("red", "a", later()):
            async with kept.place("red", "b", later()):
                kept.configure({"red": TenantSettings(executions=1)})
                async with asyncio.timeout(5), kept.place("red", "b", later()):
                    pass
            with pytest.raises(Refused):
                async with kept.place("red", "c", time.time() + 0.05):
                    raise AssertionError("it has a place")

    asyncio.run(run())


def test_who_may_have_none_and_who_comes_to_a_full_queue_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution_places, "MOST_WAITING", 0)

    async def refused(kept: ExecutionPlaces, execution: str) -> tuple[int, str]:
        with pytest.raises(Refused) as raised:
            async with kept.place("red", execution, later()):
                raise AssertionError("it has a place")
        return raised.value.status, json.loads(raised.value.body)["error"]["code"]

    async def run() -> None:
        assert await refused(places(red=0), "a") == (403, "executions_not_allowed")
        kept = places(red=1)
        async with kept.place("red", "a", later()):
            assert await refused(kept, "b") == (429, "queue_full")

    asyncio.run(run())


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="executions must be 0 or more, not -1"):
        TenantSettings(executions=-1)
