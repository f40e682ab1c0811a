"""SQLite files that several processes share: one transaction at a time, and faults of the disk by name."""

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode

_SECONDS: Final = 30.0
"""How long a transaction waits for those of other processes."""


@contextlib.contextmanager
def transaction(file: Path, holds: str) -> Generator[sqlite3.Connection]:
    """Open `file`, made when missing, for one transaction.

    Args:
        file: The database.
        holds: What it keeps, in the plural, for the error.

    Raises:
        AgentError: `state_unavailable` when the disk is full or does not answer.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(file, timeout=_SECONDS)) as database, database:
            yield database
    except (sqlite3.Error, OSError) as error:
        raise AgentError(
            ErrorCode.STATE_UNAVAILABLE,
            f"{holds} cannot be kept in {str(file)!r}; make room on its disk",
            cause=f"{type(error).__name__}: {error}",
        ) from error
