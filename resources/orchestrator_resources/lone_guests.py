"""A guest for executions that may have killed theirs: they run in it one at a time, so that none harms another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import Result


class LoneGuest:
    """Serves suspects in turn, with one process until that dies.

    Args:
        start: Starts a process.
        forget: Told of each that has ended.
    """

    def __init__(
        self, start: Callable[[], Awaitable[GuestProcess]], forget: Callable[[GuestProcess], None]
    ) -> None:
        """Begin with no process."""
        self._start: Final = start
        self._forget: Final = forget
        self._turn = asyncio.Lock()
        self._guest: GuestProcess | None = None

    async def serve(self, run: Callable[[GuestProcess], Awaitable[Result]]) -> Result:
        """Run one execution, when those before it have ended.

        Only a process that has served nobody before shows who is guilty: what an earlier execution left in it may end
        it later.

        Raises:
            AgentError: How it failed; `runtime_crashed` when it has killed a process of its own.
        """
        async with self._turn:
            while True:
                guest, fresh = await self._running()
                try:
                    return await run(guest)
                except AgentError as error:
                    crashed = error.code is ErrorCode.RUNTIME_CRASHED
                    if not crashed and hasattr(error, "usage"):
                        raise  # the guest tells how the execution ended
                    told = await guest.crash("crashed") if crashed else error
                    await self.close()
                    if fresh or not crashed:
                        raise told from error
                except asyncio.CancelledError:
                    await self.close()
                    raise

    async def close(self) -> None:
        """End the process; the next execution starts another one."""
        guest, self._guest = self._guest, None
        if guest is not None:
            self._forget(guest)
            await guest.stop()

    async def _running(self) -> tuple[GuestProcess, bool]:
        """Return the process, and whether it has served nobody yet."""
        if self._guest is not None and self._guest.running and not self._guest.outgrown(0):
            return self._guest, False
        await self.close()
        self._guest = await self._start()
        return self._guest, True
