"""The journal in an SQLite file, which gateways of one machine may share."""

import asyncio
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator_gateway.journal import Answer, Answered, JournalUnavailable, Scope
from orchestrator_runtimes.messages import Usage

T = TypeVar("T")

_WAIT_SECONDS: Final = 30.0
"""How long a transaction waits for those of other processes."""

_AT_ONCE: Final = 200
"""Most pieces of work in one transaction."""

_LEVEL: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, execution TEXT NOT NULL, agent TEXT NOT NULL, attempt TEXT NOT NULL,
    exact TEXT NOT NULL, loose TEXT NOT NULL, words TEXT NOT NULL,
    content_type TEXT NOT NULL, body BLOB NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, recorded REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_of_execution ON calls (tenant, execution, agent);
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (recorded);
"""
_ALL: Final = "tenant = ? AND execution = ? AND agent = ?"

Work = Callable[[sqlite3.Connection], Any]


class SqliteJournal:
    """See `journal.Journal`.

    All work is done by one thread. What comes while it is busy is done in one transaction: making a transaction durable
    takes a disk milliseconds, however much is in it.
    """

    def __init__(self, file: Path) -> None:
        """Open a database, made when missing.

        Raises:
            JournalUnavailable: It cannot be opened.
        """
        self._file = file
        self._work: queue.Queue[tuple[Work, Future[Any]] | None] = queue.Queue()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                file, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")  # else an answer may be lost with the power
            self._database.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    async def answered(self, scope: Scope) -> Sequence[Answered]:
        """Return the calls of a scope that were answered, in order."""
        rows = await self._do(
            lambda database: database.execute(
                f"SELECT number, attempt, exact, loose, words FROM calls WHERE {_ALL} ORDER BY number",
                _key(scope),
            ).fetchall()
        )
        return [
            Answered(number=number, attempt=attempt, exact=exact, loose=loose, words=frozenset(words.split()))
            for number, attempt, exact, loose, words in rows
        ]

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer."""
        row = await self._do(
            lambda database: database.execute(
                "SELECT content_type, body, input_tokens, output_tokens, cached_tokens FROM calls"
                f" WHERE {_ALL} AND number = ?",
                (*_key(scope), number),
            ).fetchone()
        )
        if row is None:
            raise KeyError(number)
        content_type, body, input_tokens, output_tokens, cached_tokens = row
        usage = None
        if input_tokens is not None:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        return Answer(content_type=content_type, body=zlib.decompress(body), usage=usage)

    async def record(self, scope: Scope, call: Answered, answer: Answer) -> Answered:
        """Remember an answer; durable when this returns."""
        usage = answer.usage
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else (None,) * 3
        values = (
            *_key(scope),
            call.attempt,
            call.exact,
            call.loose,
            " ".join(sorted(call.words)),
            answer.content_type,
            zlib.compress(answer.body, _LEVEL),
            *tokens,
            time.time(),
        )
        number = await self._do(
            lambda database: (
                database.execute(
                    "INSERT INTO calls (tenant, execution, agent, attempt, exact, loose, words, content_type, body,"
                    " input_tokens, output_tokens, cached_tokens, recorded) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    values,
                ).lastrowid
            )
        )
        return Answered(
            number=int(number or 0),
            attempt=call.attempt,
            exact=call.exact,
            loose=call.loose,
            words=call.words,
        )

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls of executions whose results are stored elsewhere."""
        rows = [(tenant, execution) for execution in executions]
        await self._do(
            lambda database: database.executemany(
                "DELETE FROM calls WHERE tenant = ? AND execution = ?", rows
            )
        )

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop calls that were recorded before a Unix time; of every tenant where it is None."""
        return int(
            await self._do(
                lambda database: (
                    database.execute(
                        "DELETE FROM calls WHERE recorded < ? AND (? IS NULL OR tenant = ?)",
                        (older_than, tenant, tenant),
                    ).rowcount
                )
            )
        )

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        self._database.close()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done: Future[T] = Future()
        self._work.put((work, done))
        return await asyncio.wrap_future(done)

    def _serve(self) -> None:
        more = True
        while more:
            batch = [self._work.get()]
            while len(batch) < _AT_ONCE and not self._work.empty():
                batch.append(self._work.get())
            more = None not in batch
            self._transact([entry for entry in batch if entry is not None])

    def _transact(self, batch: Sequence[tuple[Work, Future[Any]]]) -> None:
        """Do work in one transaction: all of it is durable when anybody is told, or none."""
        results: list[Any] = []
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                results = [work(self._database) for work, _ in batch]
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except Exception as error:  # the boundary: told to everyone whose work is among it
            for _, done in batch:
                if done.set_running_or_notify_cancel():
                    done.set_exception(self._unavailable(error))
            return
        for (_, done), result in zip(batch, results, strict=True):
            if done.set_running_or_notify_cancel():
                done.set_result(result)

    def _unavailable(self, error: Exception) -> JournalUnavailable:
        return JournalUnavailable(
            f"the journal {str(self._file)!r} is not available: {type(error).__name__}: {error}"
        )


def _key(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.execution, scope.agent
