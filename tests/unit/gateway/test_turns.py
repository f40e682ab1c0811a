"""Turns: limits hold at every moment, no call is lost, and tenants take turns."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_gateway.turns import QueueFull, TurnLimits, Turns, WaitedInVain

NONE = TurnLimits(max_concurrent=None, requests_per_minute=None, max_waiting=1_000)


def limits(concurrent: int | None = None, requests: int | None = None, waiting: int = 1_000) -> TurnLimits:
    return TurnLimits(max_concurrent=concurrent, requests_per_minute=requests, max_waiting=waiting)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def is_free(turns: Turns) -> bool:
    return turns.free  # asked again each time, which a type checker does not see of a property


class Calls:
    """Calls that hold their turns until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.began: list[str] = []
        self.ends: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.most = 0

    def come(self, tenant: str, seconds: float = 60) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(self._call(tenant, seconds)))
        return self.tasks[-1]

    async def _call(self, tenant: str, seconds: float) -> None:
        async with self.turns.turn(tenant, seconds):
            self.began.append(tenant)
            self.most = max(self.most, self.turns.busy)
            end = asyncio.Event()
            self.ends.append(end)
            await end.wait()

    async def end_all(self) -> None:
        while self.ends:
            self.ends.pop(0).set()
            await settle()


def test_a_long_queue_of_one_tenant_does_not_delay_another() -> None:
    async def work() -> None:
        calls = Calls(Turns(limits(concurrent=1)))
        for _ in range(50):
            calls.come("long")
        await settle()
        for tenant in ("short", "other", "short"):
            calls.come(tenant)
        await settle()
        await calls.end_all()
        assert len(calls.began) == 53
        assert calls.began[:7] == ["long", "long", "short", "other", "long", "short", "long"]

    asyncio.run(work())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["call a", "call b", "call c", "end", "cancel", "more", "less"]), max_size=60),
    st.integers(1, 4),
)
def test_whatever_comes_and_goes_limits_hold_and_everybody_gets_a_turn(happens: list[str], most: int) -> None:
    async def work() -> None:
        turns = Turns(limits(concurrent=most))
        calls = Calls(turns)
        allowed = most
        cancelled = 0
        for what in happens:
            if what.startswith("call"):
                calls.come(what[-1])
            elif what == "end" and calls.ends:
                calls.ends.pop(0).set()
            elif what == "cancel" and calls.tasks:
                cancelled += calls.tasks[len(calls.tasks) // 2].cancel()
            elif what in ("more", "less"):
                allowed = max(1, allowed + (1 if what == "more" else -1))
                turns.change(limits(concurrent=allowed))
            if len(happens) % 2:
                await settle()
            assert turns.busy <= max(most + happens.count("more"), 1)
        await settle()
        assert not (turns.waiting and turns.busy < allowed), "a turn that can be given is given"
        for _ in range(len(happens) + 1):
            await calls.end_all()
        ended = await asyncio.gather(*calls.tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert turns.busy == 0 and turns.waiting == 0

    asyncio.run(work())


def test_requests_are_spread_over_the_minute() -> None:
    async def work() -> None:
        now = [0.0]
        turns = Turns(limits(requests=120), lambda: now[0])
        began = 0
        for _ in range(2):
            assert is_free(turns)
            async with turns.turn("a", 1):
                began += 1
        assert not is_free(turns), "those of one second at once"
        now[0] = 0.5
        assert is_free(turns)
        now[0] = 1_000.0
        taken = 0
        while is_free(turns):
            async with turns.turn("a", 1):
                taken += 1
        assert taken == 2, "what was not used is not saved up"

    asyncio.run(work())


def test_the_rate_is_kept_in_real_time() -> None:
    async def work() -> None:
        turns = Turns(limits(requests=1_200))
        loop = asyncio.get_running_loop()
        began: list[float] = []

        async def call(tenant: str) -> None:
            async with turns.turn(tenant, 60):
                began.append(loop.time())

        await asyncio.gather(*(call(f"{n % 3}") for n in range(30)))
        assert len(began) == 30
        assert began[-1] - began[0] >= (30 - 21) / 20, "20 at once and then one each 50 ms"

    asyncio.run(work())


def test_a_full_queue_refuses_and_time_that_is_over_does_not_wait_on() -> None:
    async def work() -> None:
        calls = Calls(Turns(limits(concurrent=1, waiting=1)))
        calls.come("a")
        await settle()
        late = calls.come("b", seconds=0.01)
        await settle()
        with pytest.raises(QueueFull):
            async with calls.turns.turn("c", 60):
                pass
        with pytest.raises(WaitedInVain):
            await late
        assert calls.turns.waiting == 0
        await calls.end_all()
        assert calls.turns.busy == 0

    asyncio.run(work())


def test_held_it_gives_no_turn_until_the_time_is_over() -> None:
    async def work() -> None:
        turns = Turns(NONE)
        turns.hold(0.05)
        assert not is_free(turns)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with turns.turn("a", 60):
            assert loop.time() - began >= 0.045
        turns.hold(1_000)
        with pytest.raises(WaitedInVain):
            async with turns.turn("a", 0.01):
                pass

    asyncio.run(work())


def test_a_limit_that_is_lifted_lets_those_that_wait_go() -> None:
    async def work() -> None:
        calls = Calls(Turns(limits(concurrent=1)))
        for tenant in "aabbc":
            calls.come(tenant)
        await settle()
        assert len(calls.began) == 1
        calls.turns.change(NONE)
        await settle()
        assert Counter(calls.began) == Counter("aabbc")
        await calls.end_all()

    asyncio.run(work())
