"""Opening what a gateway remembers: the journal and the ledger, in one SQLite file or one PostgreSQL database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_gateway.journal import Journal, JournalLimits, JournalUnavailable
from orchestrator_gateway.ledger import Ledger
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_ledger import SqliteLedger
from orchestrator_gateway.sqlite_store import open_sqlite
from orchestrator_gateway.tenant_keys import KeyFile

_POSTGRES: Final = ("postgresql://", "postgres://")


@dataclass(frozen=True, kw_only=True)
class Store:
    """What a gateway remembers."""

    journal: Journal
    ledger: Ledger

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        await self.ledger.close()
        await self.journal.close()


def is_postgres(place: str) -> bool:
    """Return whether a store is in PostgreSQL rather than in a file."""
    return place.startswith(_POSTGRES)


async def open_store(
    place: str,
    limits: JournalLimits | None = None,
    *,
    keys: KeyFile | None = None,
    clock: Callable[[], float] = time.time,
) -> Store:
    """Open a journal and its ledger.

    Args:
        place: Path of an SQLite file, made when missing, or the URL of a PostgreSQL database.
        limits: What the journal keeps; None means the defaults.
        keys: Of the tenants, which seal what it keeps; None keeps it as it is.
        clock: Unix time in seconds, by which spending is counted.

    Raises:
        JournalUnavailable: It cannot be opened, or its driver or what seals is not installed.
    """
    limits, sealed = limits or JournalLimits(), _sealing(keys)
    if not is_postgres(place):
        database = open_sqlite(Path(place))
        return Store(
            journal=sealed(SqliteJournal(database, limits)),
            ledger=SqliteLedger(database.again(), clock=clock),
        )
    journal = await open_journal(place, limits, keys=keys)
    # its driver is that of the journal, which was refused by name without it
    from orchestrator_gateway.postgres_ledger import PostgresLedger

    try:
        return Store(journal=journal, ledger=await PostgresLedger.opened(place, clock=clock))
    except BaseException:
        await journal.close()
        raise


async def open_journal(
    place: str, limits: JournalLimits | None = None, *, keys: KeyFile | None = None
) -> Journal:
    """Open a journal alone, for who spends nothing; arguments and errors as for `open_store`."""
    limits, sealed = limits or JournalLimits(), _sealing(keys)
    if not is_postgres(place):
        return sealed(SqliteJournal(open_sqlite(Path(place)), limits))
    try:
        from orchestrator_gateway.postgres_journal import PostgresJournal
    except ImportError as error:
        raise JournalUnavailable(
            f"a journal in PostgreSQL needs its driver: install orchestrator-gateway[postgres] ({error})"
        ) from error
    return sealed(await PostgresJournal.opened(place, limits))


def _sealing(keys: KeyFile | None) -> Callable[[Journal], Journal]:
    """Return what seals a journal, before it is opened."""
    if keys is None:
        return lambda journal: journal
    try:
        from orchestrator_gateway.sealed_journal import SealedJournal
    except ImportError as error:
        raise JournalUnavailable(
            f"keys of tenants need a library: install orchestrator-gateway[keys] ({error})"
        ) from error
    return lambda journal: SealedJournal(journal, keys)
