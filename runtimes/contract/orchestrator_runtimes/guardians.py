"""The trusted side's hold on a guardian: as its parent, or by the connection that made a spare guest ours."""

import asyncio
import json
import os
import signal
import socket
from typing import Final, Literal, Protocol

LINE_BYTES: Final = 2**16
"""Longest line of a guest's standard error that is kept."""


Word = Literal["end", "retire"]
"""`end` ends the guest although others use it; after `retire` nobody else gets it, and it ends with its last user."""


class Guardian(Protocol):
    """A running guardian; its exit status is the guest's."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    @property
    def status(self) -> int | None:
        """Exit status, 128 plus a signal's number; None while it runs."""
        ...

    @property
    def errors(self) -> asyncio.StreamReader:
        """Standard error of the guest."""
        ...

    async def wait(self) -> None:
        """Return when it has ended."""
        ...

    def let_go(self) -> None:
        """Use the guest no longer, which ends it unless others use it; idempotent."""
        ...

    def say(self, word: Word) -> None:
        """Ask for more than to be let go of."""
        ...

    def close(self) -> None:
        """Release what this side holds; after it has ended."""
        ...


class ChildGuardian:
    """A guardian that this process started, with pipes as standard input and error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Hold a process."""
        assert process.stdin is not None and process.stderr is not None, "they are pipes"
        self._process = process
        self._input = process.stdin
        self.errors = process.stderr

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, 128 plus a signal's number; None while it runs."""
        return self._process.returncode

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    def let_go(self) -> None:
        """Close standard input, which is its sign; idempotent."""
        self._input.close()

    def say(self, word: Word) -> None:
        """Nobody else uses the guest, so only its end means something."""
        if word == "end":
            self.let_go()

    def close(self) -> None:
        """Nothing is left to release: the pipes end with the process."""


class ClaimedGuardian:
    """A guardian that somebody else started and this process claimed. Make it with `hold`."""

    def __init__(self, pid: int, connection: socket.socket, errors: asyncio.StreamReader) -> None:
        """See `hold`."""
        self.pid = pid
        self.errors = errors
        self.status: int | None = None
        self._connection = connection
        self._transport: asyncio.BaseTransport | None = None
        self._ending = asyncio.create_task(self._read_status())

    @classmethod
    async def hold(cls, pid: int, connection: socket.socket, errors: int) -> "ClaimedGuardian":
        """Take over a claimed guardian.

        Args:
            pid: Its process id.
            connection: To it; it lives as long as this is open.
            errors: Descriptor of the guest's standard error; closed with the guardian.
        """
        connection.setblocking(False)
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        guardian = cls(pid, connection, reader)
        guardian._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(errors, "rb", buffering=0)
        )
        return guardian

    async def wait(self) -> None:
        """Return when it has ended."""
        await asyncio.shield(self._ending)

    def let_go(self) -> None:
        """Shut the connection down, which is its sign; idempotent."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it is gone

    def say(self, word: Word) -> None:
        """Send it."""
        try:
            self._connection.send(word.encode())
        except OSError:
            return  # it is gone

    def close(self) -> None:
        """Release the connection and the pipe."""
        self._ending.cancel()
        self._connection.close()
        if self._transport is not None:
            self._transport.close()

    async def _read_status(self) -> None:
        said = b""
        loop = asyncio.get_running_loop()
        try:
            while piece := await loop.sock_recv(self._connection, 512):
                said += piece
        except ConnectionError:
            pass  # as an end without a status
        self.status = json.loads(said)["status"] if said else 128 + signal.SIGKILL
