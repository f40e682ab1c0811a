"""Opening a journal, whichever database it is in."""

from pathlib import Path

from orchestrator_gateway.journal import Journal, JournalLimits
from orchestrator_gateway.sqlite_journal import SqliteJournal


async def open_journal(place: str, limits: JournalLimits) -> Journal:
    """Return a journal.

    Args:
        place: Path of an SQLite file, made when missing.
        limits: What it keeps.

    Raises:
        JournalUnavailable: It cannot be opened.
    """
    return SqliteJournal(Path(place), limits)
