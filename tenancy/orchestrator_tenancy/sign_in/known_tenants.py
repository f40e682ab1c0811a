"""The tenants as a server knows them: looked up in a thread of its own, since a directory may make one wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from orchestrator_tenancy.tenants import Tenancy, TenantDirectory


class KnownTenants:
    """Asks a directory, and keeps what it says for a moment.

    Args:
        directory: The tenants.
        executor: In whose threads it is asked.
        seconds: For how long an answer is kept.
        now: Clock, in seconds, that never goes back.
    """

    def __init__(
        self, directory: TenantDirectory, executor: Executor, seconds: float, now: Callable[[], float]
    ) -> None:
        self._directory, self._executor, self._seconds, self._now = directory, executor, seconds, now
        self._kept: Tenancy | None = None
        self._at = float("-inf")
        self._turn = asyncio.Lock()

    async def tenancy(self) -> Tenancy:
        """Return what holds, or held so long ago at most.

        Raises:
            AgentError: `state_unavailable`, as the directory says.
        """
        if (kept := self._fresh()) is not None:
            return kept
        async with self._turn:
            if (kept := self._fresh()) is not None:
                return kept
            at = self._now()
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._executor, self._directory.tenancy)
            self._kept, self._at = found, at
            return found

    def _fresh(self) -> Tenancy | None:
        return self._kept if self._now() - self._at < self._seconds else None
