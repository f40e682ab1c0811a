"""The hold on a guardian: as its parent, or by the connection that made a spare guest ours.

That of a guest in another container is in served_guardian.py.
"""

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Protocol

from orchestrator_runtimes import guardian
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.guest_commands import GuestCommand, guardian_words, guest_environment

LINE_BYTES: Final = 2**16
"""Longest line of a guest's standard error that is kept."""

_LAST_WORDS_SECONDS: Final = 0.5

Word = Literal["end", "retire"]
"""`end` ends the guest although others use it; after `retire` nobody else gets it, and it ends with its last user."""


class Guardian(Protocol):
    """A running guardian; its exit status is the guest's."""

    @property
    def status(self) -> int | None:
        """Exit status, 128 plus a signal's number; None while it runs."""
        ...

    @property
    def fault(self) -> AgentError | None:
        """What is to be told in place of how the guest ended; None where its end tells all."""
        ...

    @property
    def guest(self) -> int:
        """Process id of the guest.

        Raises:
            OSError: It has ended, or is in another container.
        """
        ...

    def resident_mb(self) -> float | None:
        """Return the guest's resident memory in MiB; None where nobody knows."""
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

    def kill(self) -> None:
        """End the guest at once; `wait` returns soon after it."""
        ...

    def close(self) -> None:
        """Release what this side holds; after it has ended."""
        ...


async def end(held: Guardian, grace_seconds: float) -> None:
    """Let go of a guest that nobody else uses, and return when it has ended; one that does not obey is killed."""
    held.let_go()
    try:
        await asyncio.wait_for(held.wait(), grace_seconds + guardian.KILL_SECONDS + 3)
    except TimeoutError:
        held.kill()
        await held.wait()


class _LocalGuardian:
    """A guardian on this side of the container's border."""

    pid: int
    fault: AgentError | None = None

    @property
    def guest(self) -> int:
        """Process id of the guest, which the guardian started; on Linux only.

        Raises:
            OSError: It has ended.
        """
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if not children:
            raise ProcessLookupError(f"the guest below process {self.pid} has ended")
        return int(children[0])

    def resident_mb(self) -> float | None:
        """Return the guest's resident memory in MiB; None when it has ended."""
        try:
            pages = int(Path(f"/proc/{self.guest}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        """Kill the guardian, with which the guest dies."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells the end of the process itself: asyncio tells that of its pipes, too, which what it left behind may hold."""

    def __init__(self) -> None:
        super().__init__(limit=LINE_BYTES, loop=asyncio.get_running_loop())
        self.exited, self.silent = asyncio.Event(), asyncio.Event()

    def process_exited(self) -> None:
        """Note it."""
        super().process_exited()
        self.exited.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note the end of standard error."""
        super().pipe_connection_lost(fd, exc)
        if fd == 2:
            self.silent.set()


class ChildGuardian(_LocalGuardian):
    """A guardian that this process started, with pipes as standard input and error. Make it with `start`."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        """See `start`."""
        assert protocol.stdin is not None and protocol.stderr is not None, "they are pipes"
        self.pid = transport.get_pid()
        self._transport = transport
        self._exited, self._silent = protocol.exited, protocol.silent
        self._input = protocol.stdin
        self.errors = protocol.stderr

    @classmethod
    async def start(cls, command: GuestCommand, folder: Path) -> "ChildGuardian":
        """Start a guest in its folder, below a guardian.

        Raises:
            OSError: No process can be started.
        """
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            _Protocol,
            *guardian_words(command, folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=guest_environment(command, folder),
            start_new_session=True,
        )
        return cls(transport, protocol)

    @property
    def status(self) -> int | None:
        """Exit status, 128 plus a signal's number; None while it runs."""
        status = self._transport.get_returncode()
        return status if status is None or status >= 0 else 128 - status

    async def wait(self) -> None:
        """Return when it has ended and its last words are there; what it left behind may still hold the pipe."""
        await self._exited.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._silent.wait(), _LAST_WORDS_SECONDS)

    def let_go(self) -> None:
        """Close standard input, which is its sign; idempotent."""
        self._input.close()

    def say(self, word: Word) -> None:
        """Nobody else uses the guest, so only its end means something."""
        if word == "end":
            self.let_go()

    def close(self) -> None:
        """Release the pipes."""
        self._transport.close()


class ClaimedGuardian(_LocalGuardian):
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
