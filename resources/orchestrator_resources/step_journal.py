"""Finished tool calls of executions in a journal of the run's own, so that a retry does not make them again."""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

from orchestrator_gateway.journal import Journal, JournalUnavailable
from orchestrator_gateway.stores import open_journal
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_resources.gateway import TENANT
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord

T = TypeVar("T")


class JournalSteps:
    """Keeps tool calls in a journal that several processes may share; see `client.StepJournal`.

    Not in the gateway's file, though it is a journal, too: two processes that write one file wait for each other.

    Raises:
        AgentError: `state_unavailable`, from every method, when the journal takes no more or does not answer.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal: Final = journal

    @classmethod
    async def opened(cls, place: str, keys: Path | None = None) -> Self:
        """Open a journal.

        Args:
            place: The path of a file, made when missing, or the URL of a PostgreSQL database.
            keys: File of the keys of the run's tenant, which seal it; None keeps it as it is.
        """
        return cls(
            await _told(open_journal(place, keys=None if keys is None else KeyFile(keys, of_one=True)))
        )

    async def lookup(self, request: StepLookup) -> Step:
        """Say what is known of a step, and mark one that may run only once as started."""
        return await _told(self._journal.lookup(TENANT, request))

    async def record(self, request: StepRecord) -> None:
        """Remember a step's result; durable when this returns."""
        await _told(self._journal.record_step(TENANT, request))

    async def forget(self, executions: Sequence[str]) -> None:
        """Drop the steps of executions whose asset is stored."""
        await _told(self._journal.forget(TENANT, executions))

    async def purge(self, older_than: float) -> int:
        """Drop the steps of executions of which nothing was recorded since a Unix time; return how many."""
        return await _told(self._journal.purge(TENANT, older_than))

    async def close(self) -> None:
        """Release the file."""
        await self._journal.close()


async def _told(work: Awaitable[T]) -> T:
    try:
        return await work
    except JournalUnavailable as error:
        raise _unavailable(error) from error


def _unavailable(error: JournalUnavailable) -> AgentError:
    return AgentError(ErrorCode.STATE_UNAVAILABLE, "tool calls cannot be journaled", cause=str(error))
