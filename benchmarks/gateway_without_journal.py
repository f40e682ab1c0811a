"""A gateway that remembers nothing, for what a journal costs: every call is new. It speaks as the real one does."""

import itertools
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from unittest import mock

import uvloop

from orchestrator_gateway import __main__ as gateway
from orchestrator_gateway import assembly
from orchestrator_gateway.journal import Answer, Asked, Claimed, JournalLimits, Scope, Words
from orchestrator_gateway.sqlite_ledger import SqliteLedger
from orchestrator_gateway.sqlite_store import open_sqlite
from orchestrator_gateway.stores import Store
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord


class NoJournal:
    """See `journal.Journal`; it keeps nothing."""

    def __init__(self) -> None:
        """Begin with the first number."""
        self._numbers = itertools.count()

    async def words(self, scope: Scope) -> Words:
        """Return that there are none."""
        return Words()

    async def claim(self, scope: Scope, asked: Asked) -> Claimed:
        """Let every call be made."""
        return Claimed(state="new", number=next(self._numbers))

    async def renew(self, numbers: Collection[int]) -> None:
        """Do nothing."""

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Know none."""
        raise KeyError(number)

    async def record(
        self, scope: Scope, number: int, request: str, answer: Answer, words: frozenset[str]
    ) -> None:
        """Keep nothing."""

    async def release(self, scope: Scope, number: int, request: str) -> None:
        """Do nothing."""

    async def lookup(self, tenant: str, step: StepLookup) -> Step:
        """Let every tool run."""
        return Step(state="new")

    async def record_step(self, tenant: str, step: StepRecord) -> None:
        """Keep nothing."""

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Do nothing."""

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop nothing."""
        return 0

    async def close(self) -> None:
        """Do nothing."""


async def open_store(place: str, limits: JournalLimits | None = None) -> Store:
    """Open a ledger, which has no bounds to keep, and no journal."""
    return Store(journal=NoJournal(), ledger=SqliteLedger(open_sqlite(Path(place))))


if __name__ == "__main__":
    with mock.patch.object(assembly, "open_store", open_store):
        sys.exit(uvloop.run(gateway.serve()))
