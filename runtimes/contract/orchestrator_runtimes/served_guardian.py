"""The trusted side's hold on a guest of another container, through that container's guest server.

Nothing from the other side is believed: it may be the guest itself that answers.
"""

import asyncio
import os
import signal
import socket
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator_runtimes.codec import InvalidMessage, UnknownKind, decode, encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guardians import LINE_BYTES, Word
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.guest_server_connections import connect, no_answer
from orchestrator_runtimes.guest_server_messages import (
    HELLO_SECONDS,
    TOLD_BYTES,
    Connected,
    Ended,
    Hello,
    Refused,
    Resident,
    Told,
    Words,
)
from orchestrator_runtimes.json_values import NotJson, dump, parse
from orchestrator_runtimes.never_blocking import NeverBlockingSocket, NotAConnection
from orchestrator_runtimes.served_networks import ServedNetwork

_PIECE_BYTES: Final = 2**16
_KILLED: Final = 128 + signal.SIGKILL
"""What a guest's status counts as when nobody tells it."""


class _Broken(Exception):
    """The other side does not keep to the protocol."""


class ServedGuardian:
    """A guest that a guest server started; it lives as long as the control connection. Make it with `ask`."""

    def __init__(self, framework: str, control: socket.socket, network: ServedNetwork | None = None) -> None:
        """See `ask`."""
        self.errors = asyncio.StreamReader(limit=LINE_BYTES)
        self.status: int | None = None
        self.fault: AgentError | None = None
        self._framework = framework
        self._control = control
        self._network = network
        self._unread = bytearray()
        self._descriptors: list[int] = []
        self._resident_mb: float | None = None
        self._handed: NeverBlockingSocket | None = None
        self._connection: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._reading = _Reading(control, self._hear)
        self.errors.set_transport(self._reading)

    @classmethod
    async def ask(cls, command: GuestCommand, server: Path) -> "ServedGuardian":
        """Ask a guest server for a guest.

        Args:
            command: How the guest is to be started.
            server: The server's socket.

        Raises:
            AgentError: `runtime_crashed` when no server answers there.
        """
        control = await connect(command.framework, server)
        hello = Hello(
            framework=command.framework,
            max_executions=command.max_executions,
            grace_seconds=command.grace_seconds,
            memory_mb=command.memory_mb,
            environment=command.environment,
        )
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await asyncio.get_running_loop().sock_sendall(control, dump(encode(hello)) + b"\n")
        except (OSError, TimeoutError) as error:
            control.close()
            raise no_answer(command.framework, server, error) from error
        except BaseException:
            control.close()
            raise
        return cls(command.framework, control, command.network)

    async def connection(self, timeout: float) -> socket.socket:
        """Return the connection to the guest once it listens; whoever gets it closes it.

        Args:
            timeout: Seconds until it must have come.

        Raises:
            AgentError: `runtime_crashed` when the guest ends first or takes longer, `invalid_input` when its network is
                not what is expected.
        """
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._connection)
        except TimeoutError:
            pass  # told below
        if self.fault is not None:
            raise self.fault
        found, self._handed = self._handed, None
        if found is None:
            raise AgentError(
                ErrorCode.RUNTIME_CRASHED, f"the guest server of {self._framework!r} gave no guest"
            )
        return found

    @property
    def guest(self) -> int:
        """Not known: a number of the other container means another process here.

        Raises:
            ProcessLookupError: Always.
        """
        raise ProcessLookupError(f"the guest of {self._framework!r} runs in another container")

    def resident_mb(self) -> float | None:
        """Return the guest's resident memory in MiB, as the server told it last; None when it did not."""
        return self._resident_mb

    async def wait(self) -> None:
        """Return when the guest has ended, or the server has."""
        await self._ended.wait()

    def let_go(self) -> None:
        """Close this side's half of the connection, which is its sign; idempotent."""
        with suppress(OSError):  # it is gone
            self._control.shutdown(socket.SHUT_WR)

    def say(self, word: Word) -> None:
        """Nobody else uses the guest, so only its end means something."""
        if word == "end":
            self.let_go()

    def kill(self) -> None:
        """Wait for the guest no longer: its end is the other container's to see to."""
        self._end(_KILLED)

    def close(self) -> None:
        """Release the connection, and what came over it and was not used."""
        self._end(_KILLED)
        if self._handed is not None:
            self._handed.close()

    def _hear(self) -> None:
        """Take what the server said, and at most one descriptor beside it."""
        try:
            said = self._receive()
            if said is not None:
                self._split(said)
        except _Broken as error:
            self.fault = AgentError(
                ErrorCode.RUNTIME_CRASHED,
                f"the guest server of {self._framework!r} does not keep to the protocol",
                cause=str(error),
            )
            self._end(_KILLED)

    def _receive(self) -> bytes | None:
        """Return what is there, empty at the end; None when nothing is."""
        room = socket.CMSG_SPACE(2 * array("i").itemsize)
        try:
            said, extra, told, _ = self._control.recvmsg(_PIECE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._descriptors += numbers
        if len(self._descriptors) > 1 or told & socket.MSG_CTRUNC:
            raise _Broken("it hands over more than one descriptor")
        return said

    def _split(self, said: bytes) -> None:
        if not said:
            self._end(_KILLED)
            return
        self._unread += said
        lines: list[bytearray] = []
        if b"\n" in said:  # what has no end yet is not looked through again and again
            *lines, self._unread = self._unread.split(b"\n")
        if any(len(line) > TOLD_BYTES for line in (*lines, self._unread)):
            raise _Broken(f"a line is longer than {TOLD_BYTES} bytes")
        for line in lines:
            if self._ended.is_set():
                return
            self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            told = decode(Told, parse(line), "").told
        except UnknownKind:
            return  # a newer server may tell more than this side understands
        except (InvalidMessage, NotJson) as error:
            raise _Broken(f"{error}") from error
        match told:
            case Words(text=text):
                self.errors.feed_data(text.encode(errors="replace") + b"\n")
            case Resident(mb=mb):
                self._resident_mb = mb
            case Connected(gateway_port=reached):
                self._take_connection()
                self.fault = None if self._network is None else self._network.fault(self._framework, reached)
                if self.fault is not None:
                    self._end(_KILLED)
            case Ended(status=status):
                self._end(status)
            case Refused():
                self.fault = _refusal(self._framework, told)
                self._end(_KILLED)

    def _take_connection(self) -> None:
        if not self._descriptors or self._connection.done():
            raise _Broken("no descriptor comes with 'connected', or it comes twice")
        try:
            self._handed = NeverBlockingSocket.take(self._descriptors.pop())
        except NotAConnection as error:
            raise _Broken(f"what it hands over is no connection to a guest: {error}") from error
        self._connection.set_result(True)

    def _end(self, status: int) -> None:
        """Listen no more; idempotent."""
        if self._ended.is_set():
            return
        self.status = status
        self._reading.close()
        self._control.close()
        self.errors.feed_eof()
        for descriptor in self._descriptors:
            os.close(descriptor)
        if not self._connection.done():
            self._connection.set_result(False)
        self._ended.set()


class _Reading(asyncio.ReadTransport):
    """Reads only as fast as the guest's standard error is taken."""

    def __init__(self, control: socket.socket, hear: Callable[[], None]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._control, self._hear = control, hear
        self._closed = False
        self.resume_reading()

    def pause_reading(self) -> None:
        """Leave what comes in the socket, which holds its sender back."""
        if not self._closed:
            self._loop.remove_reader(self._control)

    def resume_reading(self) -> None:
        """Take what comes."""
        if not self._closed:
            self._loop.add_reader(self._control, self._hear)

    def close(self) -> None:
        """Take nothing more."""
        self.pause_reading()
        self._closed = True


def _refusal(framework: str, refused: Refused) -> AgentError:
    why = {
        "full": "has as many guests as it may: lower `processes`, or start it with a higher --most",
        "framework": "serves another framework: look at its container's image and --framework",
        "not_started": "cannot start a guest",
    }
    return AgentError(
        ErrorCode.RUNTIME_CRASHED,
        f"the guest server of {framework!r} {why[refused.reason]}",
        cause=refused.message or None,
        detail={"guest_server": refused.reason},
    )
