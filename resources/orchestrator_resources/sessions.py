"""The state of sessions: one text for each, with a version so that two executions cannot overwrite it."""

import asyncio
from typing import Final

from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import State

_HOLDS: Final = "sessions"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, state TEXT, version INTEGER)",
)


class Sessions:
    """Keeps sessions in a database that several processes may share.

    Args:
        database: Where they are.
        texts: Seals them; None keeps them as they are.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database takes no more or does not answer.
    """

    def __init__(self, database: StateDatabase, texts: SealedTexts | None = None) -> None:
        """Prepare the table."""
        self._database, self._texts = database, texts or SealedTexts(None)
        database.prepare(_HOLDS, _TABLES)

    async def get(self, session: str) -> State:
        """Return the state of `session`; version 0 and no text when it is new."""
        return await asyncio.to_thread(self._get, session)

    async def put(self, session: str, text: str, version: int) -> None:
        """Store the state of `session` if `version` is still the stored one.

        Raises:
            AgentError: `state_unavailable` when another execution stored its own since, or the database takes no more.
        """
        if not await asyncio.to_thread(self._put, session, text, version):
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"the session {session!r} was changed by another execution;"
                " run those of one session one after the other",
            )

    def _get(self, session: str) -> State:
        with self._database.transaction(_HOLDS) as database:
            command = "SELECT state, version FROM sessions WHERE session = ?"
            row = database.execute(command, (session,)).fetchone()
        return State(text=self._texts.open(_place(session), row[0]), version=row[1]) if row else State()

    def _put(self, session: str, text: str, version: int) -> bool:
        kept = self._texts.seal(_place(session), text)
        with self._database.transaction(_HOLDS) as database:
            if version == 0:
                command = (
                    "INSERT INTO sessions (state, version, session) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
                )
                values: tuple[object, ...] = (kept, session)
            else:
                command = (
                    "UPDATE sessions SET state = ?, version = version + 1 WHERE session = ? AND version = ?"
                )
                values = (kept, session, version)
            return database.execute(command, values).rowcount == 1


def _place(session: str) -> tuple[str, str]:
    return ("session", session)
