"""What keeps the state of runs: a database that several processes share, one transaction at a time."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Rows(Protocol):
    """What a command answered."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, a tuple; None when there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left, each a tuple."""
        ...


class Transaction(Protocol):
    """Commands that are all done, durably, or not at all.

    They are SQL that SQLite and PostgreSQL read alike, with `?` for values.
    """

    def execute(self, command: str, values: Sequence[object] = (), /) -> Rows:
        """Do one command."""
        ...

    def executemany(self, command: str, rows: Iterable[Sequence[object]], /) -> Rows:
        """Do one command for each of many rows."""
        ...


class StateDatabase(Protocol):
    """A database of run state.

    Raises:
        AgentError: `state_unavailable`, from every method, when it does not answer or takes no more.
    """

    def prepare(self, holds: str, tables: Sequence[str]) -> None:
        """Make tables and indexes that are missing; any number of processes may do so at once.

        Args:
            holds: What they keep, in the plural, for errors.
            tables: Commands that change nothing where it is there.
        """
        ...

    def columns(self, holds: str, table: str) -> Sequence[str]:
        """Return the names of a table's columns."""
        ...

    def protect(self, holds: str, table: str, key: str) -> None:
        """Have the database refuse to change or delete rows of a table, whoever asks; again changes nothing.

        Whoever owns the table may still lift it.

        Args:
            holds: What it keeps, in the plural.
            table: Its name.
            key: The column that names a row.
        """
        ...

    def transaction(self, holds: str, *, alone: bool = False) -> AbstractContextManager[Transaction]:
        """Begin a transaction, which ends with the block.

        Args:
            holds: What it is about, in the plural.
            alone: Whether no other that is alone, about the same, may run meanwhile.
        """
        ...

    def close(self) -> None:
        """Let it go; idempotent."""
        ...
