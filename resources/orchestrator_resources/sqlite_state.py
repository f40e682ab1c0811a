"""Run state in an SQLite file that the processes of one machine share; faults of the disk are told by name."""

import contextlib
import sqlite3
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode

_SECONDS: Final = 30.0
"""How long a transaction waits for those of other processes."""


class SqliteState:
    """See `state_databases.StateDatabase`; holds nothing open between two transactions.

    Args:
        file: The database; made when missing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def prepare(self, holds: str, tables: Sequence[str]) -> None:
        """Make what is missing."""
        with self.transaction(holds) as database:
            database.execute("PRAGMA journal_mode=WAL")
            for statement in tables:
                database.execute(statement)

    def columns(self, holds: str, table: str) -> Sequence[str]:
        """Return the names of a table's columns."""
        with self.transaction(holds) as database:
            return [str(name) for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]

    def protect(self, holds: str, table: str, key: str) -> None:
        """Make the triggers that refuse."""
        there = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"  # REPLACE deletes without a trigger
        with self.transaction(holds) as database:
            for change, when in (("update", ""), ("delete", ""), ("insert", there)):
                database.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{change} BEFORE {change} ON {table} {when}"
                    f" BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END"
                )

    @contextlib.contextmanager
    def transaction(self, holds: str, *, alone: bool = False) -> Generator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._file, timeout=_SECONDS)) as database, database:
                if alone:
                    database.execute("BEGIN IMMEDIATE")
                yield database
        except (sqlite3.Error, OSError) as error:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"{holds} cannot be kept in {str(self._file)!r}; make room on its disk",
                cause=f"{type(error).__name__}: {error}",
            ) from error

    def close(self) -> None:
        """Do nothing: it is closed after each transaction."""
