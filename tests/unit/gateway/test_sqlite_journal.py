"""What only the journal in SQLite does: other versions of its file, processes that are gone, a disk that fails."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator_gateway.journal import Answer, Asked, JournalUnavailable, Scope
from orchestrator_gateway.process_names import is_gone, own_name
from orchestrator_gateway.sqlite_database import WAITING, SqliteDatabase
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_store import open_sqlite

SCOPE = Scope(tenant="t", execution="e", agent="a")
ANSWER = Answer(content_type="application/json", body=b"{}")


def asked(n: int, attempt: str = "first") -> Asked:
    return Asked(request=f"{attempt}{n}", attempt=attempt, exact=f"x{n}", loose=f"x{n}")


def with_journal(file: Path, work: Callable[[SqliteJournal], Awaitable[None]]) -> None:
    async def scenario() -> None:
        journal = SqliteJournal(open_sqlite(file))
        try:
            await work(journal)
        finally:
            await journal.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [2, 4])
def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path, version: int) -> None:
    file = tmp_path / "journal.db"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE calls (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        other.execute(f"PRAGMA user_version={version}")
    other.close()
    with pytest.raises(JournalUnavailable, match=rf"version {version}, this program knows 3"):
        SqliteJournal(open_sqlite(file))
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("calls",)]
    other.close()


def test_a_program_of_the_first_version_gets_an_error_and_changes_nothing(tmp_path: Path) -> None:
    with_journal(tmp_path / "journal.db", nothing)
    with sqlite3.connect(tmp_path / "journal.db") as other:
        other.execute("CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY)")
        with pytest.raises(sqlite3.IntegrityError):
            other.execute(
                "INSERT INTO calls (tenant, execution, agent, attempt, exact, loose) VALUES (1,2,3,4,5,6)"
            )
    other.close()


async def nothing(_journal: SqliteJournal) -> None:
    pass


def test_a_call_whose_process_is_gone_is_made_by_another_at_once(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    begun = (
        "import asyncio, sys; from pathlib import Path\n"
        "from orchestrator_gateway.journal import Asked, Scope\n"
        "from orchestrator_gateway.sqlite_journal import SqliteJournal\n"
        "from orchestrator_gateway.sqlite_store import open_sqlite\n"
        "scope = Scope(tenant='t', execution='e', agent='a')\n"
        "asked = Asked(request='r', attempt='first', exact='x1', loose='x1')\n"
        "journal = SqliteJournal(open_sqlite(Path(sys.argv[1])))\n"
        "print(asyncio.run(journal.claim(scope, asked)).state, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", begun, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "new\n"

        async def waits(journal: SqliteJournal) -> None:
            assert (await journal.claim(SCOPE, asked(1, "second"))).state == "pending"

        with_journal(file, waits)
        process.kill()

    async def takes(journal: SqliteJournal) -> None:
        assert (await journal.claim(SCOPE, asked(1, "second"))).state == "new"

    with_journal(file, takes)


def test_of_a_process_that_cannot_be_seen_nothing_is_said() -> None:
    assert not is_gone(own_name())
    assert not is_gone(f"elsewhere:{2**22 + 1}")
    place = own_name().rpartition(":")[0]
    assert is_gone(f"{place}:{2**22 + 1}"), "no process has this id"
    assert not is_gone(f"{place}:1"), "it is there, whoever owns it"
    assert os.getpid() == int(own_name().rpartition(":")[2])


def test_what_cannot_be_written_is_told_and_the_journal_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"

    async def work(journal: SqliteJournal) -> None:
        with sqlite3.connect(file) as other:
            other.execute("ALTER TABLE calls RENAME TO hidden")
        other.close()
        with pytest.raises(JournalUnavailable):
            await journal.claim(SCOPE, asked(1))
        with sqlite3.connect(file) as other:
            other.execute("ALTER TABLE hidden RENAME TO calls")
        other.close()
        assert (await journal.claim(SCOPE, asked(1))).state == "new"

    with_journal(file, work)


def test_work_that_is_at_fault_does_not_fail_what_shares_its_transaction(tmp_path: Path) -> None:
    def fails(_database: sqlite3.Connection) -> None:
        raise ValueError("not the disk")

    async def scenario() -> None:
        database = SqliteDatabase(tmp_path / "any.db", "CREATE TABLE IF NOT EXISTS kept (n INTEGER)")
        blocked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def holds(_database: sqlite3.Connection) -> None:
            asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result(10)

        first = asyncio.create_task(database.do(holds))
        await asyncio.sleep(0)
        others = [
            asyncio.create_task(database.do(lambda one: one.execute("INSERT INTO kept VALUES (1)").rowcount))
            for _ in range(5)
        ]
        bad = asyncio.create_task(database.do(fails))
        await asyncio.sleep(0)
        blocked.set()
        await first
        assert await asyncio.gather(*others) == [1] * 5
        with pytest.raises(JournalUnavailable, match="not the disk"):
            await bad
        assert await database.do(lambda one: one.execute("SELECT count(*) FROM kept").fetchone()) == (5,)
        await database.close()

    asyncio.run(scenario())


def test_more_work_than_may_wait_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = SqliteDatabase(tmp_path / "any.db", "")
        blocked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def holds(_database: sqlite3.Connection) -> None:
            asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result(10)

        tasks = [asyncio.create_task(database.do(holds))]
        tasks += [asyncio.create_task(database.do(lambda _: None)) for _ in range(2 * WAITING)]
        await asyncio.sleep(0)
        blocked.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [one for one in told if isinstance(one, JournalUnavailable)]
        assert WAITING - 200 <= len(refused) <= WAITING + 1, "but for those that its thread took meanwhile"
        assert {str(one).rpartition(" is ")[2] for one in refused} == {f"{WAITING} pieces of work behind"}
        await database.close()

    asyncio.run(scenario())
