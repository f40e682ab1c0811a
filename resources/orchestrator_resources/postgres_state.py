"""Run state in a PostgreSQL database, which runs on many machines share."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg_pool import ConnectionPool

from orchestrator_runtimes.errors import AgentError, ErrorCode

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

_SCHEMA: Final[LiteralString] = "orchestrator_state"
"""Holds the tables, beside those of a journal where it is in the same database."""

_CONNECTIONS: Final = 4
"""Of one process: many small transactions, none of which waits for anything but the server."""

_WAITING: Final = 5_000
"""Most transactions that wait for a connection."""

_CONNECT_SECONDS: Final = 5
_WORK_SECONDS: Final = 20
"""How long one command may take."""

_SETTINGS: Final[dict[str, Any]] = {
    "connect_timeout": _CONNECT_SECONDS,
    "options": f"-c search_path={_SCHEMA} -c statement_timeout={_WORK_SECONDS}s"
    f" -c idle_in_transaction_session_timeout={_WORK_SECONDS}s",
    "application_name": "orchestrator-run",
    "client_encoding": "utf8",
    "keepalives_idle": 10,
    "tcp_user_timeout": _WORK_SECONDS * 1_000,
}
_ALONE: Final = b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 7302113845120011002))"


class PostgresState:
    """See `state_databases.StateDatabase`; connects when it is first used.

    Args:
        url: Where the database is, with user and, unless libpq finds it elsewhere, password.
    """

    def __init__(self, url: str) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            kwargs=_SETTINGS,
            min_size=0,
            max_size=_CONNECTIONS,
            max_waiting=_WAITING,
            timeout=_WORK_SECONDS,
            # the next transaction tries again: the pool's own pauses grow to minutes
            reconnect_timeout=1.0,
            check=ConnectionPool.check_connection,  # a server that was started again is found so
            num_workers=1,
            open=False,
        )

    def prepare(self, holds: str, tables: Sequence[str]) -> None:
        """Make what is missing."""
        with self.transaction("tables", alone=True) as database:
            database.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
            for statement in tables:
                database.execute(statement)

    def columns(self, holds: str, table: str) -> Sequence[str]:
        """Return the names of a table's columns."""
        command = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
        )
        with self.transaction(holds) as database:
            return [str(name) for (name,) in database.execute(command, (_SCHEMA, table)).fetchall()]

    def protect(self, holds: str, table: str, key: str) -> None:
        """Make the triggers that refuse."""
        with self.transaction("tables", alone=True) as database:
            there = database.execute(
                "SELECT 1 FROM pg_trigger WHERE tgrelid = CAST(? AS regclass) AND tgname = ?",
                (f"{_SCHEMA}.{table}", f"{table}_rows"),
            ).fetchone()
            if there is not None:
                return  # making them anew would wait for everyone who reads the table
            database.execute(
                f"CREATE OR REPLACE FUNCTION {_SCHEMA}.only_added_to() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || '' is only added to''; END'"
            )
            for name, change, each in (("rows", "UPDATE OR DELETE", "ROW"), ("all", "TRUNCATE", "STATEMENT")):
                database.execute(
                    f"CREATE TRIGGER {table}_{name} BEFORE {change} ON {_SCHEMA}.{table}"
                    f" FOR EACH {each} EXECUTE FUNCTION {_SCHEMA}.only_added_to()"
                )

    @contextlib.contextmanager
    def transaction(self, holds: str, *, alone: bool = False) -> Generator["_Transaction"]:
        """Begin a transaction on a connection of the pool."""
        try:
            self._pool.open()
            with self._pool.connection() as connection, connection.cursor() as cursor:
                if alone:
                    cursor.execute(_ALONE, (holds,))
                yield _Transaction(cursor)
        except (psycopg.Error, UnicodeError) as error:
            words = " ".join(str(error).split()) or "no answer"
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"{holds} cannot be kept in PostgreSQL",
                cause=f"{type(error).__name__}: {words[:500]}",
            ) from error

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()


class _Transaction:
    """Commands on one cursor, with the marks that this driver knows."""

    def __init__(self, cursor: "psycopg.Cursor[tuple[Any, ...]]") -> None:
        self._cursor = cursor

    def execute(self, command: str, values: Sequence[object] = (), /) -> "psycopg.Cursor[tuple[Any, ...]]":
        return self._cursor.execute(_marked(command), values)

    def executemany(
        self, command: str, rows: Iterable[Sequence[object]], /
    ) -> "psycopg.Cursor[tuple[Any, ...]]":
        self._cursor.executemany(_marked(command), rows)
        return self._cursor


def _marked(command: str) -> bytes:
    return command.replace("?", "%s").encode()
