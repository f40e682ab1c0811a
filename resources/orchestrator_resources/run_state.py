"""What runs leave for later ones: requests for approval, finished executions, sessions; in files or PostgreSQL."""

import contextlib
import functools
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_resources.approvals import Approvals
from orchestrator_resources.finished_executions import FinishedExecutions
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_resources.sessions import Sessions
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_resources.waiting_assets import WaitingAssets
from orchestrator_runtimes.errors import AgentError, ErrorCode

APPROVALS: Final = "approvals.db"
SESSIONS: Final = "sessions.db"
FINISHED: Final = "finished_executions.db"
"""Files, where it is in files: writers of one would wait for those of the others."""


class RunState:
    """The stores of one Dagster instance; each is opened when it is first used.

    Args:
        folder: Where the files are.
        url: A PostgreSQL database that takes their place, for runs on several machines; None keeps files.
        texts: Seals results, sessions and what people are asked; None keeps them as they are.

    Raises:
        AgentError: `invalid_input` when the driver of PostgreSQL is missing.
    """

    def __init__(self, folder: Path, url: str | None = None, *, texts: SealedTexts | None = None) -> None:
        self._folder, self._texts = folder, texts
        self._shared = None if url is None else postgres_database(url)

    @functools.cached_property
    def approvals(self) -> Approvals:
        """What agents ask people, and what was decided."""
        return Approvals(self._database(APPROVALS), self._texts)

    @functools.cached_property
    def waiting_assets(self) -> WaitingAssets:
        """Assets that wait for decisions."""
        return WaitingAssets(self._database(APPROVALS))

    @functools.cached_property
    def finished(self) -> FinishedExecutions:
        """Executions whose results wait for their asset."""
        return FinishedExecutions(self._database(FINISHED), self._texts)

    @functools.cached_property
    def sessions(self) -> Sessions:
        """Conversations that executions go on with."""
        return Sessions(self._database(SESSIONS), self._texts)

    def close(self) -> None:
        """Let the database go; idempotent."""
        if self._shared is not None:
            self._shared.close()

    def _database(self, file: str) -> StateDatabase:
        return SqliteState(self._folder / file) if self._shared is None else self._shared


@contextlib.contextmanager
def open_run_state(
    folder: Path, url: str | None = None, *, texts: SealedTexts | None = None
) -> Generator[RunState]:
    """Open the stores for a while; see `RunState`."""
    state = RunState(folder, url, texts=texts)
    try:
        yield state
    finally:
        state.close()


def postgres_database(url: str) -> StateDatabase:
    """Return a PostgreSQL database that keeps state.

    Raises:
        AgentError: `invalid_input` when its driver is missing.
    """
    try:
        from orchestrator_resources.postgres_state import PostgresState
    except ImportError as error:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            "state in PostgreSQL needs its driver: install agent-orchestrator[postgres]",
            cause=str(error),
        ) from error
    return PostgresState(url)
