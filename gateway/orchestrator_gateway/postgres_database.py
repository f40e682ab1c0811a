"""A PostgreSQL database behind a bounded pool: its faults are waited out for a while, then told by name."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool

from orchestrator_gateway.journal import JournalUnavailable

T = TypeVar("T")
Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"
Work: TypeAlias = Callable[[Connection], Awaitable[T]]

_CONNECTIONS: Final = 8
"""Of one gateway: the writers share batches, so more would only wait for the same disk."""

_WAITING: Final = 5_000
"""Most pieces of work that wait for a connection."""

_CONNECT_SECONDS: Final = 5
_WORK_SECONDS: Final = 20.0
"""How long one piece of work may take; a network that swallows packets shows in nothing else."""

_LEAST_SECONDS: Final = 1.0
"""How long a connection is waited for at least, when nobody wants to wait."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

# plans are made anew: one from when a table was empty would read all of it later
_OPTIONS: Final = (
    f"-c statement_timeout={_WORK_SECONDS:.0f}s -c idle_in_transaction_session_timeout={_WORK_SECONDS:.0f}s"
    " -c plan_cache_mode=force_custom_plan"
)
_SETTINGS: Final[dict[str, Any]] = {
    "autocommit": True,
    "connect_timeout": _CONNECT_SECONDS,
    "options": _OPTIONS,
    "application_name": "orchestrator-gateway",
    "client_encoding": "utf8",
    "keepalives_idle": 10,
    "tcp_user_timeout": int(_WORK_SECONDS * 1_000),
}
_OPENING: Final = 7_302_113_845_120_011_001
"""Advisory lock of who looks after the schema."""


@dataclass(frozen=True, kw_only=True)
class PostgresSchema:
    """The tables of one domain.

    Attributes:
        name: Of the schema that holds them, and a table `version`.
        version: What this program knows; a database that has another is refused.
        statements: Make them, in a database that has none.
    """

    name: LiteralString
    version: int
    statements: LiteralString


class PostgresDatabase:
    """A database that gateways of many machines share; `opened` returns one."""

    def __init__(self, pool: "AsyncConnectionPool[Connection]", patience_seconds: float) -> None:
        """Use a pool that is open."""
        self._pool = pool
        self._patience_seconds = patience_seconds

    @classmethod
    async def opened(cls, url: str, schema: PostgresSchema, patience_seconds: float) -> "PostgresDatabase":
        """Connect, and make the tables that are missing; any number may do so at once.

        Args:
            url: Where the database is, with user and password.
            schema: Its tables.
            patience_seconds: For how long work is tried again, and a server that does not answer is waited for.

        Raises:
            JournalUnavailable: It cannot be reached, or has a schema of another version.
        """
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            kwargs=_SETTINGS,
            min_size=1,
            max_size=_CONNECTIONS,
            max_waiting=_WAITING,
            timeout=min(_CONNECT_SECONDS, max(patience_seconds, _LEAST_SECONDS)),
            # the next piece of work tries again: the pool's own pauses grow to minutes
            reconnect_timeout=1.0,
            open=False,
        )
        database = cls(pool, patience_seconds)
        await database._patiently(
            lambda: _prepared(url, schema)
        )  # by itself: a pool does not say what is wrong
        await pool.open()
        return database

    async def do(self, work: Work[T], *, seconds: float = _WORK_SECONDS) -> T:
        """Return what `work` returns, which may be done more than once: it must not mind.

        Args:
            work: Uses a connection that commits each statement, but for those in a transaction.
            seconds: How long it may take.

        Raises:
            JournalUnavailable: It failed; whether it was done cannot be known where the connection was lost.
        """

        async def once() -> T:
            async with asyncio.timeout(seconds), self._pool.connection() as connection:
                return await work(connection)

        return await self._patiently(once)

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Do something until it works, or fails for good, or nobody wants to wait any more."""
        until, pause = time.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await once()
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError) as error:
                if time.monotonic() + pause > until:
                    raise _unavailable(error) from error
            except psycopg.Error as error:
                raise _unavailable(error) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            if not self._pool.closed:
                with contextlib.suppress(psycopg.Error, TimeoutError):
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        await self._pool.check()  # others of the pool are lost, too, when a server has ended

    async def close(self) -> None:
        """Let the connections go."""
        await self._pool.close()


async def _prepared(url: str, schema: PostgresSchema) -> None:
    """Make the tables that are missing, and refuse those of another version."""
    async with asyncio.timeout(_WORK_SECONDS):
        connection = await psycopg.AsyncConnection.connect(url, **_SETTINGS)
        async with connection:
            await _prepare(connection, schema)


async def _prepare(connection: Connection, schema: PostgresSchema) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_OPENING,))
        found = await (
            await connection.execute("SELECT to_regclass(%s)", (f"{schema.name}.version",))
        ).fetchone()
        if found is None or found[0] is None:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema.name}")
            await connection.execute(f"SET LOCAL search_path = {schema.name}")
            await connection.execute(schema.statements)
            await connection.execute("CREATE TABLE version (version INTEGER NOT NULL)")
            await connection.execute("INSERT INTO version VALUES (%s)", (schema.version,))
            return
        versions = await (await connection.execute(f"SELECT version FROM {schema.name}.version")).fetchall()
    if versions != [(schema.version,)]:
        has = ", ".join(str(version) for (version,) in versions) or "none"
        raise JournalUnavailable(
            f"the schema {schema.name!r} of the journal's database is of version {has}, this program knows"
            f" {schema.version}: run gateways of one version, or use another database"
        )


def _unavailable(error: BaseException) -> JournalUnavailable:
    words = " ".join(str(error).split()) or "no answer"
    return JournalUnavailable(
        f"the journal in PostgreSQL is not available: {type(error).__name__}: {words[:500]}"
    )
