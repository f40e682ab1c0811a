"""Dropping what a journal has kept for long enough, while a gateway serves."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator
from typing import Final

from orchestrator_gateway.journal import Journal, JournalUnavailable

_EVERY_SECONDS: Final = 3_600.0


@contextlib.asynccontextmanager
async def purging(journal: Journal, retention_seconds: float) -> AsyncGenerator[None]:
    """Purge a journal now and every hour, beside what the block does."""
    task = asyncio.create_task(_purge(journal, retention_seconds))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _purge(journal: Journal, retention_seconds: float) -> None:
    while True:
        try:
            await journal.purge(None, time.time() - retention_seconds)
        except JournalUnavailable as error:  # calls are told so themselves; an hour more harms nothing
            print(f"old answers are not purged: {error}", file=sys.stderr)
        await asyncio.sleep(_EVERY_SECONDS)
