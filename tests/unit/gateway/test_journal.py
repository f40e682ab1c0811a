"""What every journal must do."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_gateway.journal import Answer, Answered, Journal, JournalUnavailable, Scope
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_runtimes.messages import Usage

SCOPE = Scope(tenant="t", execution="e", agent="a")
CALL = Answered(number=0, attempt="first", exact="x", loose="l", words=frozenset({"w1", "w2"}))
ANSWER = Answer(
    content_type="application/json", body=b'{"a": 1}' * 1000, usage=Usage(input_tokens=3, output_tokens=2)
)


@asynccontextmanager
async def opened(file: Path) -> AsyncGenerator[Journal]:
    journal = SqliteJournal(file)
    try:
        yield journal
    finally:
        await journal.close()


def with_journal(file: Path, work: Callable[[Journal], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with opened(file) as journal:
            await work(journal)

    asyncio.run(scenario())


def test_what_is_recorded_is_there_in_order_also_for_the_next_process(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        recorded = [await journal.record(SCOPE, replace(CALL, exact=f"x{n}"), ANSWER) for n in range(3)]
        assert [call.number for call in recorded] == sorted({call.number for call in recorded})
        assert list(await journal.answered(SCOPE)) == recorded

    async def read(journal: Journal) -> None:
        calls = await journal.answered(SCOPE)
        assert [call.exact for call in calls] == ["x0", "x1", "x2"]
        assert calls[0].words == CALL.words and calls[0].attempt == "first"
        assert await journal.answer(SCOPE, calls[1].number) == ANSWER

    with_journal(tmp_path / "new" / "calls.db", write)
    with_journal(tmp_path / "new" / "calls.db", read)


def test_no_scope_sees_another(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        call = await journal.record(SCOPE, CALL, ANSWER)
        for other in (
            replace(SCOPE, tenant="u"),
            replace(SCOPE, execution="f"),
            replace(SCOPE, agent="b"),
        ):
            assert not await journal.answered(other)
            with pytest.raises(KeyError):
                await journal.answer(other, call.number)

    with_journal(tmp_path / "calls.db", work)


def test_executions_are_forgotten_and_old_calls_purged_by_tenant(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        others = [replace(SCOPE, execution="f"), replace(SCOPE, tenant="u")]
        for scope in (SCOPE, *others):
            await journal.record(scope, CALL, ANSWER)
        await journal.forget("t", ["e", "unknown"])
        assert [len(await journal.answered(scope)) for scope in (SCOPE, *others)] == [0, 1, 1]
        assert await journal.purge("u", time.time() - 60) == 0
        assert await journal.purge("u", time.time() + 60) == 1
        assert [len(await journal.answered(scope)) for scope in others] == [1, 0]
        assert await journal.purge(None, time.time() + 60) == 1

    with_journal(tmp_path / "calls.db", work)


def test_an_answer_of_any_bytes_without_usage_comes_back(tmp_path: Path) -> None:
    answer = Answer(content_type="text/event-stream; charset=utf-8", body=bytes(range(256)))

    async def work(journal: Journal) -> None:
        call = await journal.record(SCOPE, CALL, answer)
        assert await journal.answer(SCOPE, call.number) == answer

    with_journal(tmp_path / "calls.db", work)


def test_many_at_once_are_all_there(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        async with opened(tmp_path / "calls.db") as second:
            await asyncio.gather(
                *(
                    one.record(SCOPE, replace(CALL, exact=f"x{n}"), ANSWER)
                    for n in range(150)
                    for one in (journal, second)
                )
            )
            calls = await journal.answered(SCOPE)
        assert len(calls) == 300 and len({call.number for call in calls}) == 300

    with_journal(tmp_path / "calls.db", work)


def test_a_database_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "calls.db").write_bytes(b"no database" * 1000)
    with pytest.raises(JournalUnavailable, match=r"calls\.db.*is not available"):
        SqliteJournal(tmp_path / "calls.db")
    with pytest.raises(JournalUnavailable):
        SqliteJournal(tmp_path / "calls.db" / "below a file")


def test_what_cannot_be_written_is_told_and_the_journal_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"

    async def work(journal: Journal) -> None:
        with sqlite3.connect(file) as other:
            other.execute("ALTER TABLE calls RENAME TO hidden")
        other.close()
        with pytest.raises(JournalUnavailable):
            await journal.record(SCOPE, CALL, ANSWER)
        with sqlite3.connect(file) as other:
            other.execute("ALTER TABLE hidden RENAME TO calls")
        other.close()
        assert (await journal.record(SCOPE, CALL, ANSWER)).number

    with_journal(file, work)
