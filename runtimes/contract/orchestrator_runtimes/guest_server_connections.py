"""The way from the trusted side to a guest server's socket, in a folder that a hostile side writes to."""

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode

START_SECONDS: Final = 120.0
"""How long a server may take until it listens: its container starts beside the trusted side's, and may start again."""

_RETRY_SECONDS: Final = 0.05


async def connect(framework: str, server: Path) -> socket.socket:
    """Connect to a server's socket as soon as it listens, and to nothing else that stands in its place.

    Raises:
        AgentError: `runtime_crashed` when it is no socket or nobody listens.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + START_SECONDS
    while True:
        try:
            return _connected(server)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
            if loop.time() > until:
                raise no_answer(framework, server, error) from error
        except OSError as error:
            raise no_answer(framework, server, error) from error
        await asyncio.sleep(_RETRY_SECONDS)


def _connected(server: Path) -> socket.socket:
    place = os.open(server, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise OSError("it is no socket")
        control = socket.socket(socket.AF_UNIX)
        control.setblocking(False)
        try:
            control.connect(f"/proc/self/fd/{place}")
        except BaseException:
            control.close()
            raise
        return control
    finally:
        os.close(place)


def no_answer(framework: str, server: Path, error: BaseException) -> AgentError:
    """Return the error that tells that a server cannot be reached, and what to look at."""
    return AgentError(
        ErrorCode.RUNTIME_CRASHED,
        f"no guest server of {framework!r} answers at {str(server)!r}: look whether its container runs, and what it"
        " says",
        cause=f"{type(error).__name__}: {error}",
    )
