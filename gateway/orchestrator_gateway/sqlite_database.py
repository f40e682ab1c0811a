"""An SQLite file that is written by one thread: what comes while it is busy shares the next transaction."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from orchestrator_gateway.journal import JournalUnavailable

T = TypeVar("T")

_WAIT_SECONDS: Final = 30.0
"""How long a transaction waits for those of other processes."""

_AT_ONCE: Final = 200
"""Most pieces of work in one transaction."""

WAITING: Final = 5_000
"""Most pieces of work that wait; more are refused, as a disk that is this far behind does not catch up."""


class _Work:
    """A piece of work and whoever waits for it."""

    def __init__(self, do: Callable[[sqlite3.Connection], Any], *, durable: bool) -> None:
        self.do, self.durable = do, durable
        self.done: Future[Any] = Future()


class SqliteDatabase:
    """A database that processes of one machine may share.

    Making a transaction durable takes a disk milliseconds, however much is in it.
    """

    def __init__(self, file: Path, schema: str, *, version: int = 0) -> None:
        """Open a file, made when missing, with the tables of `schema`.

        Args:
            file: The database.
            schema: Statements that make the tables which are missing.
            version: Of the schema; a file that has another is refused.

        Raises:
            JournalUnavailable: It cannot be opened, or has a schema of another version.
        """
        self._file = file
        self._work: queue.Queue[_Work | None] = queue.Queue()
        self._full = True
        self._users = 1
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                file, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._prepare(schema, version)
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error
        self._thread = threading.Thread(target=self._serve, name="sqlite", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Return what `work` returns.

        Args:
            work: Runs in a transaction that others' work may share; when it raises, nothing of it is done.
            durable: Whether what it wrote must outlive a power cut when this returns. Else it outlives this process,
                which costs no wait for the disk.

        Raises:
            JournalUnavailable: Nothing of it was done.
        """
        if self._work.qsize() >= WAITING:
            raise JournalUnavailable(f"the journal {str(self._file)!r} is {WAITING} pieces of work behind")
        one = _Work(work, durable=durable)
        self._work.put(one)
        return await asyncio.wrap_future(one.done)

    def again(self) -> Self:
        """Return this database for one more user, who closes it too."""
        self._users += 1
        return self

    async def close(self) -> None:
        """Do what was asked for; release the file when its last user closes it."""
        self._users -= 1
        if self._users:
            return
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        self._database.close()

    def _prepare(self, schema: str, version: int) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")  # else an answer may be lost with the power
        self._database.execute("PRAGMA foreign_keys=ON")
        self._database.execute("BEGIN IMMEDIATE")  # of several that open a new file, one makes the tables
        found = self._database.execute("PRAGMA user_version").fetchone()[0]
        tables = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and found != version:
            self._database.close()
            raise JournalUnavailable(
                f"the journal {str(self._file)!r} has a schema of version {found}, this program knows {version}:"
                " use the program that made it, or another file"
            )
        for statement in filter(str.strip, schema.split(";")):
            self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version={version}")
        self._database.execute("COMMIT")

    def _serve(self) -> None:
        more = True
        while more:
            batch = [self._work.get()]
            while len(batch) < _AT_ONCE and not self._work.empty():
                batch.append(self._work.get())
            more = None not in batch
            self._transact([one for one in batch if one is not None])

    def _transact(self, batch: Sequence[_Work]) -> None:
        """Do work in one transaction: all of it is durable when anybody is told, or none."""
        results: list[Any] = []
        try:
            self._synchronize(full=any(one.durable for one in batch))
            self._database.execute("BEGIN IMMEDIATE")
            try:
                results = [one.do(self._database) for one in batch]
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except Exception as error:  # the boundary: told to everyone whose work is among it
            if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
                for one in batch:  # one of them is at fault, not the disk: the others must not suffer from it
                    self._transact([one])
                return
            for one in batch:
                if one.done.set_running_or_notify_cancel():
                    one.done.set_exception(self._unavailable(error))
            return
        for one, result in zip(batch, results, strict=True):
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(result)

    def _synchronize(self, *, full: bool) -> None:
        if full != self._full:
            self._database.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full

    def _unavailable(self, error: Exception) -> JournalUnavailable:
        return JournalUnavailable(
            f"the journal {str(self._file)!r} is not available: {type(error).__name__}: {error}"
        )
