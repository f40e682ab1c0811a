"""Finished tool calls of executions in SQLite, so that a retry does not make them again."""

import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.sqlite_database import SqliteDatabase
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS steps (
    execution TEXT NOT NULL, step TEXT NOT NULL, occurrence INTEGER NOT NULL, result TEXT,
    PRIMARY KEY (execution, step, occurrence)
) WITHOUT ROWID
"""


class SqliteSteps:
    """Keeps tool calls in a file that several processes may share; see `client.StepJournal`.

    Args:
        file: The database; made when missing.

    Raises:
        AgentError: `state_unavailable`, from every method, when the disk is full or does not answer.
    """

    def __init__(self, file: Path) -> None:
        """Open the file."""
        try:
            self._database = SqliteDatabase(file, _SCHEMA)
        except JournalUnavailable as error:
            raise _unavailable(error) from error

    async def lookup(self, request: StepLookup) -> Step:
        """Say what is known of a step, and mark one that may run only once as started."""
        key = request.execution, request.step, request.occurrence

        def work(database: sqlite3.Connection) -> Step:
            row = database.execute(
                "SELECT result FROM steps WHERE execution = ? AND step = ? AND occurrence = ?", key
            ).fetchone()
            if row is not None:
                return Step(state="started" if row[0] is None else "finished", result=row[0])
            if request.once:
                database.execute("INSERT INTO steps (execution, step, occurrence) VALUES (?, ?, ?)", key)
            return Step(state="new")

        return await _told(self._database.do(work))

    async def record(self, request: StepRecord) -> None:
        """Remember a step's result; durable when this returns."""
        row = request.execution, request.step, request.occurrence, request.result

        def work(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?)", row)

        await _told(self._database.do(work))

    async def forget(self, executions: Sequence[str]) -> None:
        """Drop the steps of executions whose asset is stored."""
        names = [(execution,) for execution in executions]

        def work(database: sqlite3.Connection) -> None:
            database.executemany("DELETE FROM steps WHERE execution = ?", names)

        await _told(self._database.do(work))

    async def close(self) -> None:
        """Release the file."""
        await self._database.close()


async def _told(work: Awaitable[T]) -> T:
    try:
        return await work
    except JournalUnavailable as error:
        raise _unavailable(error) from error


def _unavailable(error: JournalUnavailable) -> AgentError:
    return AgentError(ErrorCode.STATE_UNAVAILABLE, "tool calls cannot be journaled", cause=str(error))
