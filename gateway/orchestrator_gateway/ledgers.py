"""The ledger that belongs to a journal: beside it, in the same kind of database."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from orchestrator_gateway.journals import is_postgres
from orchestrator_gateway.ledger import Ledger
from orchestrator_gateway.sqlite_ledger import SqliteLedger

FILE: Final = "spending.db"
"""Name of the ledger's file, in the journal's folder."""

RETENTION_DAYS: Final = 400
"""How long it is known what was spent on a day: last year's month can be compared with this one."""


async def open_ledger(journal: str, *, clock: Callable[[], float] = time.time) -> Ledger:
    """Open the ledger that belongs to a journal.

    Args:
        journal: Path of the journal's SQLite file, or URL of its PostgreSQL database.
        clock: Unix time in seconds.

    Raises:
        JournalUnavailable: It cannot be opened.
    """
    if not is_postgres(journal):
        return SqliteLedger(Path(journal).with_name(FILE), clock=clock)
    # its driver is an extra, without which the journal was refused by name before
    from orchestrator_gateway.postgres_ledger import PostgresLedger

    return await PostgresLedger.opened(journal, clock=clock)


async def purge_ledger(ledger: Ledger, executions_seconds: float) -> None:
    """Drop what nobody asks for any more: executions that spent nothing for a while, and days of years ago.

    Raises:
        JournalUnavailable: The ledger cannot be written.
    """
    kept_from = datetime.now(UTC) - timedelta(days=RETENTION_DAYS)
    await ledger.purge(time.time() - executions_seconds, kept_from.strftime("%Y-%m-%d"))
