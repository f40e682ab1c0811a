"""Dropping what was kept for long enough, while a gateway serves."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.stores import Store

_EVERY_SECONDS: Final = 3_600.0


LEDGER_DAYS: Final = 400
"""How long it is known what was spent on a day: last year's month can be compared with this one."""


@contextlib.asynccontextmanager
async def purging(store: Store, retention_seconds: float) -> AsyncGenerator[None]:
    """Purge a store now and every hour, beside what the block does."""
    task = asyncio.create_task(_purge(store, retention_seconds))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _purge(store: Store, retention_seconds: float) -> None:
    while True:
        now = time.time()
        since = now - retention_seconds
        days_since = datetime.fromtimestamp(now, UTC) - timedelta(days=LEDGER_DAYS)
        try:
            await store.journal.purge(None, since)
            await store.ledger.purge(since, days_since.strftime("%Y-%m-%d"))
        except JournalUnavailable as error:  # calls are told so themselves; an hour more harms nothing
            print(f"what is old is not purged: {error}", file=sys.stderr)
        await asyncio.sleep(_EVERY_SECONDS)
