"""The state of sessions in SQLite: one text for each, with a version so that two executions cannot overwrite it."""

import asyncio
from pathlib import Path

from orchestrator_resources.sqlite_files import transaction
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import State


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
        with transaction(self._file, "sessions") as database:
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

    def _get(self, session: str) -> State:
        with transaction(self._file, "sessions") as database:
            command = "SELECT state, version FROM sessions WHERE session = ?"
            row = database.execute(command, (session,)).fetchone()
        return State(text=row[0], version=row[1]) if row else State()

    def _put(self, session: str, text: str, version: int) -> bool:
        with transaction(self._file, "sessions") as database:
            if version == 0:
                command = "INSERT OR IGNORE INTO sessions (state, version, session) VALUES (?, 1, ?)"
                values: tuple[object, ...] = (text, session)
            else:
                command = (
                    "UPDATE sessions SET state = ?, version = version + 1 WHERE session = ? AND version = ?"
                )
                values = (text, session, version)
            return database.execute(command, values).rowcount == 1
