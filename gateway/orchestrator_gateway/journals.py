"""Opening a journal, whichever database it is in."""

from pathlib import Path
from typing import Final

from orchestrator_gateway.journal import Journal, JournalLimits, JournalUnavailable
from orchestrator_gateway.sqlite_journal import SqliteJournal

_POSTGRES: Final = ("postgresql://", "postgres://")


def is_postgres(place: str) -> bool:
    """Return whether a journal is in PostgreSQL rather than in a file."""
    return place.startswith(_POSTGRES)


async def open_journal(place: str, limits: JournalLimits) -> Journal:
    """Return a journal.

    Args:
        place: Path of an SQLite file, made when missing, or the URL of a PostgreSQL database.
        limits: What it keeps.

    Raises:
        JournalUnavailable: It cannot be opened, or its driver is not installed.
    """
    if not is_postgres(place):
        return SqliteJournal(Path(place), limits)
    try:
        from orchestrator_gateway.postgres_journal import PostgresJournal
    except ImportError as error:
        raise JournalUnavailable(
            f"a journal in PostgreSQL needs its driver: install orchestrator-gateway[postgres] ({error})"
        ) from error
    return await PostgresJournal.opened(place, limits)
