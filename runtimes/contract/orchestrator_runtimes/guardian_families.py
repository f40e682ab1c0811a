"""The guardians that a process started, and what they leave behind when they are killed."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator_runtimes import guardian
from orchestrator_runtimes.guardians import ChildGuardian
from orchestrator_runtimes.guest_commands import GuestCommand

_LOOK_SECONDS: Final = 0.01


class Family:
    """Children of this process; whatever is its child and no guardian was left behind by one that was killed.

    For a process that starts nothing else: make one, once, and start all guardians by it.
    """

    def __init__(self) -> None:
        """Adopt what guardians leave behind from now on."""
        guardian.prctl(guardian.PR_SET_CHILD_SUBREAPER, 1)
        self._guardians: set[int] = set()
        self._turn = asyncio.Lock()

    async def start(self, command: GuestCommand, folder: Path) -> ChildGuardian:
        """Start a guest in its folder, below a guardian; raises as `ChildGuardian.start`."""
        async with self._turn:  # or a guardian that begins would be taken for an orphan
            started = await ChildGuardian.start(command, folder)
            self._guardians.add(started.pid)
            return started

    async def end_orphans(self, ended: ChildGuardian) -> None:
        """Kill what is left behind, now that a guardian has ended; returns when nothing is left."""
        async with self._turn:
            self._guardians.discard(ended.pid)
            until = asyncio.get_running_loop().time() + guardian.KILL_SECONDS
            while self._kill_orphans() and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(_LOOK_SECONDS)

    def _kill_orphans(self) -> bool:
        """Return whether there were some."""
        orphans = set(guardian.children().get(os.getpid(), ())) - self._guardians
        for orphan in orphans:
            for process in (orphan, *guardian.descendants(orphan)):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        return bool(orphans)
