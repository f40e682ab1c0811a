"""Batches: what comes while one is on its way is the next; nothing is lost, whatever fails."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator_gateway import batches
from orchestrator_gateway.batches import Batches
from orchestrator_gateway.journal import JournalUnavailable


class Doubling:
    """Doubles numbers, when it is allowed to."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.go = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        await self.go.wait()
        self.done.append(list(items))
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


def of(do: Doubling, *, most: int = 10, heaviest: int = 1_000, at_once: int = 1) -> "Batches[int, int]":
    return Batches(do, most=most, weigh=lambda item: item, heaviest=heaviest, at_once=at_once)


def test_what_comes_meanwhile_is_done_together_and_everybody_gets_his_own() -> None:
    async def scenario() -> None:
        do = Doubling()
        doubled = of(do, most=3)
        tasks = [asyncio.create_task(doubled.add(n)) for n in range(8)]
        await asyncio.sleep(0)
        do.go.set()
        assert await asyncio.gather(*tasks) == [2 * n for n in range(8)]
        assert do.done == [[0, 1, 2], [3, 4, 5], [6, 7]]
        await doubled.finish()

    asyncio.run(scenario())


def test_a_batch_is_full_when_it_is_heavy_and_several_go_at_once() -> None:
    async def scenario() -> None:
        do = Doubling()
        doubled = of(do, heaviest=10, at_once=2)
        tasks = [asyncio.create_task(doubled.add(n)) for n in (20, 5, 5, 5)]
        await asyncio.sleep(0)
        do.go.set()
        assert await asyncio.gather(*tasks) == [40, 10, 10, 10]
        assert sorted(do.done) == [[5], [5, 5], [20]]

    asyncio.run(scenario())


def test_who_is_gone_is_left_out_and_an_error_is_told_to_those_it_is_about() -> None:
    async def scenario() -> None:
        do = Doubling()
        doubled = of(do, most=2)
        first = asyncio.create_task(doubled.add(1))
        await asyncio.sleep(0.01)
        tasks = [asyncio.create_task(doubled.add(n)) for n in (2, 13, 3, 4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        first.cancel()
        await asyncio.sleep(0)
        do.go.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(told[0], asyncio.CancelledError)
        assert isinstance(told[1], ValueError) and isinstance(told[2], ValueError)
        assert told[3] == 8 and do.done == [[1], [13, 3], [4]]

    asyncio.run(scenario())


def test_more_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WAITING", 3)

    async def scenario() -> None:
        do = Doubling()
        doubled = of(do)
        tasks = [asyncio.create_task(doubled.add(n)) for n in range(5)]
        await asyncio.sleep(0)
        do.go.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert told[:3] == [0, 2, 4]
        assert all(isinstance(one, JournalUnavailable) for one in told[3:])

    asyncio.run(scenario())
