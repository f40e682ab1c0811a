"""Where a catalogue is kept: an SQLite file, or a PostgreSQL database that the services of several machines share."""

import contextlib
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from orchestrator_marketplace.marketplaces import MarketplaceError, Problem
from orchestrator_marketplace.refusals import BundleRefused, Refusal

BUSY_SECONDS: Final = 30.0
"""How long a change waits for those of others."""

_POSTGRES: Final = ("postgresql://", "postgres://")


class Rows(Protocol):
    """What a command answered."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, a tuple; None when there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left, each a tuple."""
        ...


class Transaction(Protocol):
    """Commands that are all done, durably, or not at all; SQL that both databases read alike, `?` for values."""

    def execute(self, command: str, values: Sequence[object] = (), /) -> Rows:
        """Do one command."""
        ...

    def columns(self, table: str) -> Sequence[str]:
        """Return the names of a table's columns; none when there is no such table."""
        ...


class CatalogueDatabase(Protocol):
    """A database of a catalogue.

    Raises:
        MarketplaceError: From every method: `unavailable` when it does not answer; `malformed` when a text holds what
            it cannot keep.
    """

    def prepare(self) -> None:
        """Make room for tables; any number of processes may do so at once."""
        ...

    def view(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that reads; it ends with the block."""
        ...

    def change(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that writes, when every other one that writes has ended, whoever's it is."""
        ...

    def close(self) -> None:
        """Let it go; idempotent."""
        ...


class SqliteDatabase:
    """See `CatalogueDatabase`; several threads and processes may use one file.

    Args:
        file: Made when it is not there.
    """

    def __init__(self, file: Path) -> None:
        """Open the file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")

    def prepare(self) -> None:
        """Do nothing: the file is there."""

    def view(self) -> AbstractContextManager[Transaction]:
        """See `CatalogueDatabase`."""
        return self._transaction("BEGIN")

    def change(self) -> AbstractContextManager[Transaction]:
        """See `CatalogueDatabase`."""
        return self._transaction("BEGIN IMMEDIATE")

    def close(self) -> None:
        """See `CatalogueDatabase`."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Generator["_SqliteTransaction"]:
        with self._lock:
            try:
                self._database.execute(begin)
                try:
                    yield _SqliteTransaction(self._database)
                except BaseException:
                    self._database.execute("ROLLBACK")
                    raise
                self._database.execute("COMMIT")
            except UnicodeError as error:
                raise unwritable(error) from error
            except sqlite3.Error as error:
                raise unavailable(error) from error


class _SqliteTransaction:
    """Commands as this database has them: it compares texts by their bytes unless it is told otherwise."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, command: str, values: Sequence[object] = (), /) -> sqlite3.Cursor:
        return self._database.execute(command.replace(' COLLATE "C"', ""), values)

    def columns(self, table: str) -> Sequence[str]:
        return [str(row[1]) for row in self._database.execute(f"PRAGMA table_info({table})")]


def is_postgres(place: str) -> bool:
    """Tell whether a catalogue is in PostgreSQL rather than in a file."""
    return place.startswith(_POSTGRES)


def open_database(place: str, folder: Path) -> CatalogueDatabase:
    """Return a database; one in PostgreSQL is connected to when it is first used.

    Args:
        place: Path of an SQLite file, made when missing, or the URL of a PostgreSQL database.
        folder: What a path is relative to.

    Raises:
        BundleRefused: `malformed` when the driver of PostgreSQL is missing.
    """
    if not is_postgres(place):
        return SqliteDatabase(folder / place)
    try:
        from orchestrator_marketplace.postgres_database import PostgresDatabase
    except ImportError as error:
        raise BundleRefused(
            Refusal.MALFORMED,
            f"a catalogue in PostgreSQL needs its driver: install orchestrator-marketplace[postgres] ({error})",
        ) from error
    return PostgresDatabase(place)


def unavailable(error: Exception) -> MarketplaceError:
    """Return what is told of a database that does not do what it should."""
    said = " ".join(str(error).split())[:500]
    return MarketplaceError(
        Problem.UNAVAILABLE,
        "the marketplace's database does not answer",
        cause=f"{type(error).__name__}: {said}",
    )


def unwritable(error: Exception) -> MarketplaceError:
    """Return what is told of a text that no database keeps."""
    return MarketplaceError(
        Problem.MALFORMED, "a text holds a character that cannot be kept", cause=type(error).__name__
    )
