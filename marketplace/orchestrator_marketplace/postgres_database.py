"""A catalogue in a PostgreSQL database; see `catalogue_databases`.

Changes are made one at a time, by a lock that the server holds until what was changed is seen by everybody. So whoever
has read up to an event has missed none before it: there is no change that began earlier and ends later.
"""

import contextlib
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg_pool import ConnectionPool

from orchestrator_marketplace.catalogue_databases import (
    BUSY_SECONDS,
    Transaction,
    unavailable,
    unwritable,
)

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

SCHEMA: Final[LiteralString] = "orchestrator_marketplace"
"""Holds the tables, beside those of others where it is in the same database."""

_CONNECTIONS: Final = 8
"""Of one process: small transactions, none of which waits for anything but the server."""
_WAITING: Final = 1_000
"""Most transactions that wait for a connection."""
_SETTINGS: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "options": f"-c search_path={SCHEMA} -c statement_timeout={BUSY_SECONDS:.0f}s"
    f" -c idle_in_transaction_session_timeout={BUSY_SECONDS:.0f}s",
    "application_name": "orchestrator-marketplace",
    "client_encoding": "utf8",
    "keepalives_idle": 10,
    "tcp_user_timeout": int(BUSY_SECONDS) * 1_000,
}
_ALONE: Final[LiteralString] = "SELECT pg_advisory_xact_lock(7302113845120011042)"
_UNMOVED: Final[LiteralString] = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""So that what is looked at does not change between two looks."""
_COLUMNS: Final[LiteralString] = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
)


class PostgresDatabase:
    """See the module; connects when it is first used.

    Args:
        url: Where the database is, with user and, unless libpq finds it elsewhere, password.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            kwargs=_SETTINGS,
            min_size=0,
            max_size=_CONNECTIONS,
            max_waiting=_WAITING,
            timeout=BUSY_SECONDS,
            # the next transaction tries again: the pool's own pauses grow to minutes
            reconnect_timeout=1.0,
            check=ConnectionPool.check_connection,  # a server that was started again is found so
            num_workers=1,
            open=False,
        )

    def prepare(self) -> None:
        """See `CatalogueDatabase`."""
        with self._transaction(alone=True) as transaction:
            transaction.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")

    def view(self) -> AbstractContextManager[Transaction]:
        """See `CatalogueDatabase`."""
        return self._transaction(alone=False)

    def change(self) -> AbstractContextManager[Transaction]:
        """See `CatalogueDatabase`."""
        return self._transaction(alone=True)

    def close(self) -> None:
        """See `CatalogueDatabase`."""
        self._pool.close()

    @contextlib.contextmanager
    def _transaction(self, *, alone: bool) -> Generator["_PostgresTransaction"]:
        try:
            self._pool.open()
            with self._pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute(_ALONE if alone else _UNMOVED)
                yield _PostgresTransaction(cursor)
        except (psycopg.DataError, UnicodeError) as error:
            raise unwritable(error) from error
        except psycopg.Error as error:
            raise unavailable(error) from error


class _PostgresTransaction:
    """Commands on one cursor, with the marks that this driver knows."""

    def __init__(self, cursor: "psycopg.Cursor[tuple[Any, ...]]") -> None:
        self._cursor = cursor

    def execute(self, command: str, values: Sequence[object] = (), /) -> "psycopg.Cursor[tuple[Any, ...]]":
        return self._cursor.execute(command.replace("%", "%%").replace("?", "%s").encode(), values)

    def columns(self, table: str) -> Sequence[str]:
        rows = self._cursor.execute(_COLUMNS, (SCHEMA, table)).fetchall()
        return [str(name) for (name,) in rows]
