"""A guest of a guest server, and telling the trusted side of it over its control connection."""

import asyncio
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.guardian_families import Family
from orchestrator_runtimes.guardians import ChildGuardian, end
from orchestrator_runtimes.guest_commands import GuestCommand, guest_address, make_guest_folder
from orchestrator_runtimes.guest_server_messages import Connected, Ended, Resident, Told, Words
from orchestrator_runtimes.json_values import dump

_RETRY_SECONDS: Final = 0.02
_RESIDENT_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 5.0
"""How long a trusted side that reads nothing may hold up the end of a guest's telling."""


class ServedGuest:
    """A guest with its folder. Make it with `start`."""

    def __init__(self, command: GuestCommand, folder: Path, guardian: ChildGuardian, family: Family) -> None:
        """See `start`."""
        self.command = command
        self.guardian = guardian
        self._folder = folder
        self._family = family

    @classmethod
    async def start(cls, command: GuestCommand, family: Family) -> "ServedGuest":
        """Start a guest, whose guardian joins a family.

        Raises:
            AgentError: Its folder cannot be made.
            OSError: No process can be started.
        """
        folder = make_guest_folder(command)
        try:
            return cls(command, folder, await family.start(command, folder), family)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def connection(self) -> socket.socket:
        """Return a connection to the guest, once it listens; waits for as long as it takes."""
        path = guest_address(self._folder).removeprefix("unix:")
        while True:
            found = socket.socket(socket.AF_UNIX)
            found.setblocking(False)
            try:
                found.connect(path)
            except OSError:  # it is still starting
                found.close()
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return found

    async def wait(self) -> None:
        """Return when the guest has ended, and all that it started."""
        await self.guardian.wait()
        await self._family.end_orphans(self.guardian)

    async def end(self) -> None:
        """End the guest and everything below it, and remove its folder; idempotent."""
        await end(self.guardian, self.command.grace_seconds)
        await self.wait()
        self.guardian.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Telling:
    """Hands a guest's connection over, and tells its words and its end, until the guest has ended."""

    def __init__(self, guest: ServedGuest, control: socket.socket) -> None:
        """Tell of a guest over a connection that does not block."""
        self._guest = guest
        self._control = control
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Return when the guest has ended and that was told; the guest ends when the trusted side leaves."""
        words = asyncio.create_task(self._tell_words())
        others = [asyncio.create_task(self._hand_over()), asyncio.create_task(self._hear())]
        if self._guest.command.replace_above_mb is not None:
            others.append(asyncio.create_task(self._tell_resident()))
        try:
            await self._guest.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await words
                    status = self._guest.guardian.status
                    assert status is not None, "it has ended"
                    await self._tell(Told(told=Ended(status=status)))
        finally:
            for task in (words, *others):
                task.cancel()
            await asyncio.gather(words, *others, return_exceptions=True)

    async def _hand_over(self) -> None:
        with await self._guest.connection() as connection:
            told = Connected(gateway_port=self._guest.command.gateway_port)
            line = dump(encode(Told(told=told))) + b"\n"
            loop = asyncio.get_running_loop()
            async with self._turn:
                while True:
                    try:
                        socket.send_fds(self._control, [line], [connection.fileno()])
                    except BlockingIOError:
                        await writable(loop, self._control)
                    except OSError:
                        return  # the trusted side is gone
                    else:
                        return

    async def _hear(self) -> None:
        """Let go of the guest when the trusted side leaves; it says nothing more."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while await loop.sock_recv(self._control, 512):
                continue
        self._guest.guardian.let_go()

    async def _tell_words(self) -> None:
        errors = self._guest.guardian.errors
        while True:
            try:
                line = await errors.readline()
            except ValueError:
                continue  # a line longer than the limit was dropped
            if not line:
                return
            await self._tell(Told(told=Words(text=line.decode(errors="replace").rstrip("\n"))))

    async def _tell_resident(self) -> None:
        while True:
            resident = self._guest.guardian.resident_mb()
            if resident is not None:
                await self._tell(Told(told=Resident(mb=resident)))
            await asyncio.sleep(_RESIDENT_SECONDS)

    async def _tell(self, told: Told) -> None:
        """Send a line; a trusted side that is gone hears nothing, and the guest's words are still taken from it."""
        async with self._turn:
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(self._control, dump(encode(told)) + b"\n")


async def writable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    """Return when there is room to send."""
    room = asyncio.Event()
    loop.add_writer(connection, room.set)
    try:
        await room.wait()
    finally:
        loop.remove_writer(connection)
