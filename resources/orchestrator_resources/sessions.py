"""The state of sessions in SQLite: one text for each, with a version so that two executions cannot overwrite it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import State

_SECONDS: Final = 30.0


class SqliteSessions:
    """Keeps sessions in a file that several processes may share.

    Args:
        file: The database; made when missing.

    Raises:
        AgentError: `state_unavailable`, from every method, when the disk is full or does not answer.
    """

    def __init__(self, file: Path) -> None:
        """Prepare the table."""
        self._file = file
        with self._database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS sessions"
                " (session TEXT PRIMARY KEY, state TEXT, version INTEGER) WITHOUT ROWID"
            )

    async def get(self, session: str) -> State:
        """Return the state of `session`; version 0 and no text when it is new."""
        return await asyncio.to_thread(self._get, session)

    async def put(self, session: str, text: str, version: int) -> None:
        """Store the state of `session` if `version` is still the stored one.

        Raises:
            AgentError: `state_unavailable` when another execution stored its own since, or the disk does not take it.
        """
        if not await asyncio.to_thread(self._put, session, text, version):
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"the session {session!r} was changed by another execution;"
                " run those of one session one after the other",
            )

    @contextlib.contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._file, timeout=_SECONDS)) as database, database:
                yield database
        except (sqlite3.Error, OSError) as error:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"sessions cannot be kept in {str(self._file)!r}; make room on its disk",
                cause=f"{type(error).__name__}: {error}",
            ) from error

    def _get(self, session: str) -> State:
        with self._database() as database:
            command = "SELECT state, version FROM sessions WHERE session = ?"
            row = database.execute(command, (session,)).fetchone()
        return State(text=row[0], version=row[1]) if row else State()

    def _put(self, session: str, text: str, version: int) -> bool:
        with self._database() as database:
            if version == 0:
                command = "INSERT OR IGNORE INTO sessions (state, version, session) VALUES (?, 1, ?)"
                values: tuple[object, ...] = (text, session)
            else:
                command = (
                    "UPDATE sessions SET state = ?, version = version + 1 WHERE session = ? AND version = ?"
                )
                values = (text, session, version)
            return database.execute(command, values).rowcount == 1
