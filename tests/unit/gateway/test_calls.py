"""The calls of a gateway: leases are renewed, what failed is made anew, and nobody waits for ever."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator_gateway import calls
from orchestrator_gateway.calls import Begun, Calls, StillPending
from orchestrator_gateway.fingerprints import Fingerprint
from orchestrator_gateway.journal import Answer, JournalLimits, JournalUnavailable, Scope, Superseded
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_store import open_sqlite

SCOPE = Scope(tenant="t", execution="e", agent="a")
ANSWER = Answer(content_type="application/json", body=b"{}")
LIMITS = JournalLimits(lease_seconds=1)


class Journal(SqliteJournal):
    """A journal that fails when it is told to."""

    fails = False
    renewed = 0

    async def renew(self, numbers: Collection[int]) -> None:
        self.renewed += 1
        self._check()
        await super().renew(numbers)

    async def release(self, scope: Scope, number: int, request: str) -> None:
        self._check()
        await super().release(scope, number, request)

    async def record(
        self, scope: Scope, number: int, request: str, answer: Answer, words: frozenset[str]
    ) -> None:
        self._check()
        await super().record(scope, number, request, answer, words)

    def _check(self) -> None:
        if self.fails:
            raise JournalUnavailable("as the test wants")


def name(text: str) -> Callable[[frozenset[str]], Fingerprint]:
    return lambda words: Fingerprint(exact=text, loose=f"{text} {sorted(words)}")


def soon() -> float:
    return time.time() + 30


@asynccontextmanager
async def gateway(file: Path) -> AsyncGenerator[tuple[Journal, Calls]]:
    journal = Journal(open_sqlite(file), LIMITS)
    served = Calls(journal, LIMITS.lease_seconds)
    keeping = asyncio.create_task(served.keep())
    yield journal, served
    keeping.cancel()
    await journal.close()


async def begun(served: Calls, attempt: str, text: str = "x") -> Begun:
    found = await served.claim(SCOPE, attempt, name(text), soon())
    assert isinstance(found, Begun)
    return found


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_call_on_its_way_is_waited_for_within_a_gateway_and_beyond(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "journal.db"
        async with gateway(file) as (journal, served), gateway(file) as (_, other):
            made = await begun(served, "first")
            assert served.counts()["busy"] == 1 and other.counts()["busy"] == 0
            waiting = [
                asyncio.create_task(one.claim(SCOPE, attempt, name("x"), soon()))
                for one, attempt in ((served, "second"), (other, "third"))
            ]
            await asyncio.sleep(1.5 * LIMITS.lease_seconds)
            assert not any(task.done() for task in waiting) and journal.renewed > 2
            await served.record(made, ANSWER, frozenset({"w"}))
            assert await asyncio.gather(*waiting) == [ANSWER, ANSWER]
            assert served.counts()["kept"] == 1

    run(scenario())


def test_a_call_that_came_to_nothing_is_made_by_who_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path / "journal.db") as (_, served):
            made = await begun(served, "first")
            waiting = asyncio.create_task(begun(served, "second"))
            await asyncio.sleep(0.1)
            await served.release(made)
            assert (await waiting).number != made.number

    run(scenario())


def test_what_could_not_be_released_is_made_anew_as_soon_as_the_journal_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path / "journal.db") as (journal, served):
            asked, kept = await begun(served, "first"), await begun(served, "first", "y")
            journal.fails = True
            await served.release(asked)
            with pytest.raises(JournalUnavailable):
                await served.record(kept, ANSWER, frozenset())
            with pytest.raises(JournalUnavailable):
                await begun(served, "second")
            journal.fails = False
            began = time.monotonic()
            await begun(served, "third")
            assert time.monotonic() - began < LIMITS.lease_seconds / 2
            await asyncio.sleep(LIMITS.lease_seconds)
            await begun(served, "third", "y")

    run(scenario())


def test_nobody_waits_beyond_the_limit_of_the_execution(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path / "journal.db") as (_, served):
            await begun(served, "first")
            with pytest.raises(StillPending):
                await served.claim(SCOPE, "second", name("x"), time.time() + 0.2)

    run(scenario())


def test_words_that_another_gateway_recorded_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "journal.db"
        async with gateway(file) as (_, served), gateway(file) as (_, other):
            await served.record(await begun(served, "first"), ANSWER, frozenset({"w"}))
            seen = list[frozenset[str]]()

            def named(words: frozenset[str]) -> Fingerprint:
                seen.append(words)
                return Fingerprint(exact="z", loose="z")

            assert isinstance(await other.claim(SCOPE, "first", named, soon()), Begun)
            assert seen == [frozenset(), frozenset({"w"})]
            served.forget("t", ["e"])
            assert served.counts()["kept"] == 0

    run(scenario())


def test_an_answer_whose_execution_is_forgotten_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path / "journal.db") as (journal, served):
            made = await begun(served, "first")
            await journal.forget("t", ["e"])
            with pytest.raises(Superseded):
                await served.record(made, ANSWER, frozenset())
            assert served.counts()["busy"] == 0

    run(scenario())


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "EXECUTIONS", 2)

    async def scenario() -> None:
        async with gateway(tmp_path / "journal.db") as (_, served):
            for n in range(4):
                scope = Scope(tenant="t", execution=f"e{n}", agent="a")
                made = await served.claim(scope, "first", name("x"), soon())
                assert isinstance(made, Begun)
                await served.record(made, ANSWER, frozenset({"w"}))
            assert served.counts()["kept"] == 2

    run(scenario())
