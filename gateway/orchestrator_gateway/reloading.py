"""A configuration file that changes while the gateway serves: a good one is used at once, a broken one is told of."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator_gateway.configuration import BadConfiguration
from orchestrator_gateway.resolution import Resolved, resolve

LOG: Final = logging.getLogger("orchestrator_gateway")

LOOK_SECONDS: Final = 2.0
"""How often the file is read; secrets that it names, too, so that a key may be replaced."""


class Reloading:
    """Keeps what is in force.

    Args:
        file: The configuration file.
        in_force: What it said at the start.
        use: Takes what it says now, when that is something else.
    """

    def __init__(self, file: Path, in_force: Resolved, use: Callable[[Resolved], None]) -> None:
        """Begin with what was read at the start."""
        self._file = file
        self._at_start = self._in_force = in_force
        self._use = use
        self._told: str | None = None
        self._look = asyncio.Event()

    def look(self) -> None:
        """Read the file now, as on SIGHUP; what was told already is told again."""
        self._told = None
        self._look.set()

    async def watch(self) -> None:
        """Read the file again and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()
            self._look.clear()
            await self._read()

    async def _read(self) -> None:
        try:
            resolved = await asyncio.to_thread(resolve, self._file)
        except BadConfiguration as error:
            self._tell(logging.ERROR, f"{error}; the configuration before it stays in force")
            return
        if resolved == self._in_force:
            self._told = None
            return
        self._in_force = resolved
        self._use(resolved)
        self._told = None
        self._tell(logging.INFO, f"{self._file}: in force now")
        if later := _after_a_restart(self._at_start, resolved):
            told = f"{self._file}: what it says now of {later} is used after a restart only"
            self._tell(logging.WARNING, told)

    def _tell(self, level: int, text: str) -> None:
        if text != self._told:
            LOG.log(level, text)
        self._told = text


def _after_a_restart(started: Resolved, now: Resolved) -> str:
    """Return the sections that a gateway reads only when it starts and that say something else now; may be empty."""
    sections = {
        "secret": started.secret != now.secret,
        "journal": (started.journal, started.configuration.journal)
        != (now.journal, now.configuration.journal),
        "telemetry": started.configuration.telemetry != now.configuration.telemetry,
    }
    return ", ".join(name for name, differs in sections.items() if differs)
