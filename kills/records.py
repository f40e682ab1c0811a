"""What gateway and host of a trial have recorded durably, read from outside while they live or are dead."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, LiteralString, Protocol

import psycopg

from orchestrator_gateway.journal import Scope
from orchestrator_gateway.payloads import unpacked, unpacked_text
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_store import open_sqlite
from orchestrator_resources.gateway import TENANT
from orchestrator_resources.runtimes import CALLS, STEPS

_BACK_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_ANSWERS: Final[LiteralString] = (
    "SELECT body FROM orchestrator_gateway.calls WHERE execution = %s AND lease IS NULL"
)
_RESULTS: Final[LiteralString] = (
    "SELECT result FROM orchestrator_gateway.steps WHERE execution = %s AND result IS NOT NULL"
)


class Records(Protocol):
    """What is recorded for the executions of one trial."""

    async def has_answer(self, execution: str, name: str, most: int) -> bool:
        """Return whether the answer with a name is recorded for an execution; `most` calls were begun in this trial."""
        ...

    async def has_result(self, execution: str, receipt: str) -> bool:
        """Return whether a tool call's result that holds a receipt is recorded for an execution."""
        ...

    async def close(self) -> None:
        """Release the journals."""
        ...


class SqliteRecords:
    """The journals of a run that has a gateway of its own; see `Records`.

    Args:
        state: Folder of the journals.
    """

    def __init__(self, state: Path) -> None:
        """Open them."""
        self._file = state / CALLS
        self._calls = SqliteJournal(open_sqlite(self._file))
        self._steps = state / STEPS

    async def has_answer(self, execution: str, name: str, most: int) -> bool:
        """See `Records`."""
        scopes = [Scope(tenant=TENANT, execution=execution, agent=agent) for agent in self._agents(execution)]
        for scope in scopes:
            for number in range(1, most + 1):
                with suppress(KeyError):
                    answer = await self._calls.answer(scope, number)
                    if f'"chatcmpl-{name}"'.encode() in answer.body:
                        return True
        return False

    def _agents(self, execution: str) -> list[str]:
        """Return the agents whose calls are in the journal: guests that are no Python name them in their own way."""
        question = "SELECT DISTINCT agent FROM calls WHERE execution = ?"
        return [str(agent) for (agent,) in _read_only(self._file, question, (execution,))]

    async def has_result(self, execution: str, receipt: str) -> bool:
        """See `Records`."""
        question = "SELECT result FROM steps WHERE execution = ? AND result IS NOT NULL"
        found = _read_only(self._steps, question, (execution,))
        return any([receipt in await unpacked_text(packed) for (packed,) in found])

    async def close(self) -> None:
        """Release the journal."""
        await self._calls.close()


class PostgresRecords:
    """The journal of a gateway that others run; see `Records`. A server that was killed is waited for.

    Args:
        url: Of the database.
    """

    def __init__(self, url: str) -> None:
        """Connect with each question: the server may have been another one before."""
        self._url = url

    async def has_answer(self, execution: str, name: str, most: int) -> bool:
        """See `Records`."""
        del most  # all of an execution's answers are read
        found = await self._read(_ANSWERS, (execution,))
        return any([f'"chatcmpl-{name}"'.encode() in await unpacked(bytes(body)) for (body,) in found])

    async def has_result(self, execution: str, receipt: str) -> bool:
        """See `Records`."""
        found = await self._read(_RESULTS, (execution,))
        return any([receipt in await unpacked_text(bytes(packed)) for (packed,) in found])

    async def close(self) -> None:
        """Have nothing to release."""

    async def _read(self, question: LiteralString, values: Sequence[str]) -> list[tuple[Any, ...]]:
        until = time.monotonic() + _BACK_SECONDS
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=5) as connection:
                    return await (await connection.execute(question, values)).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


def _read_only(file: Path, question: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
    if not file.exists():
        return []  # nothing was recorded yet
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return database.execute(question, values).fetchall()
