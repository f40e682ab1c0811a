"""Calls of tools that may run only once: a mark is durable before the call, and goes when its result is known.

A mark that is left by nobody who still runs means that the call was made, and that nobody knows how it ended.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

from orchestrator_gateway.journal import Journal, Scope
from orchestrator_runtimes.messages import StepLookup, StepRecord

_EQUAL: Final = 1_000
"""Most equal calls of one execution: more are a loop."""


class ResultUnknown(Exception):
    """An equal call was made by an earlier try, and nobody knows how it ended."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Says that a call is being made."""

    scope: Scope
    step: str
    occurrence: int


class OnceCalls:
    """The marks of one journal, as one gateway sets them."""

    def __init__(self, journal: Journal) -> None:
        """Begin with no call of this gateway."""
        self._journal = journal
        self._running: set[Mark] = set()
        self._lock = asyncio.Lock()

    async def begin(self, scope: Scope, fingerprint: str) -> Mark:
        """Mark a call, which no answer in the journal is left for; durable when this returns.

        Args:
            scope: Whose call.
            fingerprint: The same for calls that a retry would make again.

        Raises:
            ResultUnknown: One of the equal calls before it was made, and nobody knows how it ended.
            JournalUnavailable: Nothing is marked.
        """
        step = f"mcp:{hashlib.sha256(f'{scope.agent} {fingerprint}'.encode()).hexdigest()}"
        async with self._lock:  # else a mark of this gateway might be taken for one that was left
            for occurrence in range(_EQUAL):
                mark = Mark(scope=scope, step=step, occurrence=occurrence)
                lookup = StepLookup(execution=scope.execution, step=step, occurrence=occurrence, once=True)
                found = await self._journal.lookup(scope.tenant, lookup)
                if found.state == "new":
                    self._running.add(mark)
                    return mark
                if found.state == "started" and mark not in self._running:
                    break
        raise ResultUnknown

    async def end(self, mark: Mark, *, known: bool) -> None:
        """Note that a call has ended; where nobody knows how, its mark stays.

        Raises:
            JournalUnavailable: The mark stays.
        """
        try:
            if known:
                await self._journal.record_step(
                    mark.scope.tenant,
                    StepRecord(
                        execution=mark.scope.execution, step=mark.step, occurrence=mark.occurrence, result=""
                    ),
                )
        finally:
            self._running.discard(mark)
