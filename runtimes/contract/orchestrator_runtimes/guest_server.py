"""Serve guests of one framework to a trusted side in another container.

`python -m orchestrator_runtimes.guest_server --framework NAME --folder DIR` runs in the framework's container and
listens on DIR/guests.sock. Each connection gets one guest, which ends with it. `--check` asks whether a server answers.

With `--gateway-port PORT` the server locks itself to that port before it starts anything, and each guest once more, so
that nothing of this container connects to another one. See network_locks.py.

The folder is this server's alone: the trusted side sees it under a name of its own choice, beside those of others.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.guardian_families import Family
from orchestrator_runtimes.guest_commands import GRACE_SECONDS, MAX_EXECUTIONS, GuestCommand
from orchestrator_runtimes.guest_server_messages import (
    HELLO_BYTES,
    HELLO_SECONDS,
    Hello,
    Refused,
    Told,
    server_socket,
)
from orchestrator_runtimes.json_values import NotJson, dump, parse
from orchestrator_runtimes.locked_networks import LockedNetwork
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks
from orchestrator_runtimes.served_guests import ServedGuest, Telling

_PAUSE_SECONDS: Final = 0.1
_WAITING: Final = 16
"""Connections beyond the most guests that may be about to say their hello, or to be told that there is no room."""


class GuestServer:
    """Starts guests of a framework for whoever connects, and one ahead.

    Args:
        profile: The framework.
        most: Most guests at once.
        network: What they can reach; None is all that the container can.
    """

    def __init__(self, profile: FrameworkProfile, most: int, network: LockedNetwork | None = None) -> None:
        """Prepare; call inside a running loop."""
        self._profile = profile
        self._most = most
        self._network = network
        self._family = Family()
        self._guests = 0
        self._ahead: ServedGuest | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End every guest within its grace period; `serve` returns then."""
        self._stopped.set()

    async def serve(self, listener: socket.socket) -> None:
        """Serve until `stop`."""
        await self._start_ahead()
        accepting = asyncio.create_task(self._accept(listener))
        await self._stopped.wait()
        accepting.cancel()
        await self._end_ahead()
        if self._callers:
            await asyncio.wait(self._callers)

    async def _start_ahead(self) -> None:
        """Start the guest that most trusted sides ask for, so that its framework is imported when they come."""
        hello = Hello(
            framework=self._profile.name, max_executions=MAX_EXECUTIONS, grace_seconds=GRACE_SECONDS
        )
        with suppress(_NoGuest):  # whoever comes is told
            self._ahead = await self._start(self._command(hello))

    async def _end_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await self._end(ahead)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                control, _ = await loop.sock_accept(listener)
            except OSError:  # the caller has left, or there is no descriptor for it
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._callers) >= self._most + _WAITING:
                control.close()
                continue
            caller = asyncio.create_task(self._serve_one(control))
            self._callers.add(caller)
            caller.add_done_callback(self._callers.discard)

    async def _serve_one(self, control: socket.socket) -> None:
        with control:
            try:
                hello = await self._unless_stopped(_hear_hello(control))
                guest = None if hello is None else await self._guest_for(hello)
            except _NoGuest as none:
                await _refuse(control, none.told)
                return
            if guest is None:
                return
            stopping = asyncio.create_task(self._stopped.wait())
            stopping.add_done_callback(lambda _: guest.guardian.let_go())
            try:
                await Telling(guest, control).run()
            finally:
                stopping.cancel()
                await self._end(guest)

    async def _unless_stopped(self, work: Coroutine[None, None, Hello | None]) -> Hello | None:
        hearing, stopped = asyncio.create_task(work), asyncio.create_task(self._stopped.wait())
        await asyncio.wait((hearing, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if hearing.done():
            return hearing.result()
        hearing.cancel()
        return None

    async def _guest_for(self, hello: Hello) -> ServedGuest:
        if hello.framework != self._profile.name:
            raise _NoGuest(Refused(reason="framework", message=f"it serves {self._profile.name!r}"))
        command = self._command(hello)
        ahead = self._ahead
        same = ahead is not None and replace(ahead.command, own_ports=()) == command
        if ahead is not None and same and ahead.guardian.status is None:
            self._ahead = None
            return ahead
        await self._end_ahead()  # nobody else will want it
        return await self._start(command)

    async def _start(self, command: GuestCommand) -> ServedGuest:
        if self._guests >= self._most:
            raise _NoGuest(Refused(reason="full", message=f"{self._guests} guests run"))
        self._guests += 1
        if self._network is not None:
            command = replace(command, own_ports=self._network.take_ports())
        try:
            return await ServedGuest.start(command, self._family)
        except (AgentError, OSError) as error:
            self._ended(command)
            raise _NoGuest(Refused(reason="not_started", message=str(error))) from error

    async def _end(self, guest: ServedGuest) -> None:
        await guest.end()
        self._ended(guest.command)

    def _ended(self, command: GuestCommand) -> None:
        self._guests -= 1
        if self._network is not None:
            self._network.give_back(command.own_ports)

    def _command(self, hello: Hello) -> GuestCommand:
        command = GuestCommand.of(
            self._profile,
            Path(sys.executable),
            environment=hello.environment,
            max_executions=hello.max_executions,
            memory_mb=hello.memory_mb,
            grace_seconds=hello.grace_seconds,
            gateway_port=None if self._network is None else self._network.gateway_port,
        )
        return command.own


class _NoGuest(Exception):
    def __init__(self, told: Refused) -> None:
        super().__init__(told)
        self.told = told


async def _hear_hello(control: socket.socket) -> Hello | None:
    """Return what a caller asks for; None when it leaves, says nothing in time, or only wanted to know who is there.

    Raises:
        _NoGuest: It says something else.
    """
    said = b""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(HELLO_SECONDS):
            while b"\n" not in said and len(said) < HELLO_BYTES:
                piece = await asyncio.get_running_loop().sock_recv(control, HELLO_BYTES)
                if not piece:
                    return None
                said += piece
    line, end, _ = said.partition(b"\n")
    if not end and len(said) < HELLO_BYTES:
        return None
    try:
        return decode(Hello, parse(line), "hello")
    except (NotJson, InvalidMessage) as error:
        raise _NoGuest(Refused(reason="not_started", message=f"{error}")) from error


async def _refuse(control: socket.socket, told: Refused) -> None:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(HELLO_SECONDS):
            await asyncio.get_running_loop().sock_sendall(control, dump(encode(Told(told=told))) + b"\n")


def listen(folder: Path) -> socket.socket:
    """Return the server's socket, which has its name only once it listens; the folder's group may connect.

    Raises:
        OSError: It cannot be made there.
    """
    new = folder / f".{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    try:
        new.unlink(missing_ok=True)  # of a container before this one, with the same process ids
        listener.bind(str(new))
        new.chmod(0o660)
        listener.listen()
        new.rename(server_socket(folder))
    except BaseException:
        listener.close()
        new.unlink(missing_ok=True)
        raise
    return listener


async def serve(
    profile: FrameworkProfile, folder: Path, most: int, network: LockedNetwork | None = None
) -> None:
    """Serve guests of a framework until a signal ends it.

    Raises:
        OSError: No socket can be made in the folder.
    """
    server = GuestServer(profile, most, network)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    with listen(folder) as listener:
        print(f"serves guests of {profile.title} at {server_socket(folder)}", file=sys.stderr)
        try:
            await server.serve(listener)
        finally:
            server_socket(folder).unlink(missing_ok=True)


def answers(folder: Path) -> bool:
    """Return whether a server takes connections there, and looks at them."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(HELLO_SECONDS)
        try:
            asking.connect(str(server_socket(folder)))
            asking.shutdown(socket.SHUT_WR)
            return asking.recv(1) == b""
        except OSError:
            return False


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_runtimes.guest_server", description=__doc__)
    most = (os.cpu_count() or 1) + 1
    parser.add_argument("--framework", required=True, help="name of the framework of this image")
    parser.add_argument(
        "--folder",
        required=True,
        type=Path,
        help="of its socket: shared with the trusted side and nobody else",
    )
    parser.add_argument(
        "--most", type=int, default=most, help="guests at once; default one for each core, + 1"
    )
    parser.add_argument(
        "--gateway-port", type=int, metavar="PORT", help="all that guests can connect to; default: no lock"
    )
    parser.add_argument(
        "--check", action="store_true", help="only say, by the status, whether a server answers"
    )
    options = parser.parse_args()
    if options.check:
        return 0 if answers(options.folder) else 1
    try:
        found = installed_frameworks()
        if options.framework not in found:
            there = ", ".join(sorted(found)) or "none"
            print(
                f"no framework {options.framework!r} is installed in this image; there are {there}",
                file=sys.stderr,
            )
            return 2
        profile = found[options.framework]
        network = None
        if options.gateway_port is not None:
            network = LockedNetwork.close(options.gateway_port, guests=options.most, each=profile.own_ports)
        asyncio.run(serve(profile, options.folder, options.most, network))
    except (AgentError, OSError) as error:
        print(f"the guest server of {options.framework!r} cannot run: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
