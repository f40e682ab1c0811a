"""An SQLite file that is written by one thread: what comes while it is busy shares the next transaction."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator_gateway.journal import JournalUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_WAIT_SECONDS: Final = 30.0
"""How long a transaction waits for those of other processes."""

_AT_ONCE: Final = 200
"""Most pieces of work in one transaction."""


class SqliteDatabase:
    """A database that processes of one machine may share.

    Making a transaction durable takes a disk milliseconds, however much is in it.
    """

    def __init__(self, file: Path, schema: str) -> None:
        """Open a file, made when missing, with the tables of `schema`.

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
            self._database.executescript(schema)
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error
        self._thread = threading.Thread(target=self._serve, name="sqlite", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returns; what it wrote is durable then.

        Raises:
            JournalUnavailable: Nothing of it was done.
        """
        done: Future[T] = Future()
        self._work.put((work, done))
        return await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Do what was asked for, and release the file."""
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        self._database.close()

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
