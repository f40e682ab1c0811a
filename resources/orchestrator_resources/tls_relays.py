"""Relays of bytes between what speaks TLS and what does not: guests that hold no authority, servers without TLS.

The first end of a connection ends it in both directions, after what was read before is written. Who has ended only its
own words still hears what is said within `HALF_SECONDS`: TLS, as asyncio has it, knows no connection that is half open.
"""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator_gateway.tls_files import HANDSHAKE_SECONDS, Authorities, ServerCertificate

LOG: Final = logging.getLogger("orchestrator_resources.tls_relays")

MOST: Final = 1_000
"""Connections at once, each of which takes 0.15 MB; further ones wait in the queue of the system until one ends."""

CONNECT_SECONDS: Final = 10.0
"""How long the other side may take to take a connection, TLS apart."""

HALF_SECONDS: Final = 2.0
"""How long one direction goes on after the end of the other."""

_END_SECONDS: Final = 5.0
"""How long what was read may take to be written at the end of a connection."""
_BACKLOG: Final = 1_024
_BYTES: Final = 64 * 1_024
"""Read at once, and held in each direction while the other side reads nothing."""
_PAUSE_SECONDS: Final = 0.1
_DESCRIPTORS: Final = 2
"""Of one connection."""

Place: TypeAlias = "tuple[str, int] | Path"
"""Host and port, or a unix socket."""

_Side: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
_Connect: TypeAlias = Callable[[], Awaitable[_Side]]


class RelayFailed(Exception):
    """A relay cannot begin; the text is one line that says why."""


class TlsRelay:
    """Takes connections and makes another one for each, until it is closed; made by `to_tls` or `from_tls`.

    Args:
        connect: Makes the other one.
        certificate: What it shows to whoever connects; None takes plain connections.
        most: Connections at once.
    """

    def __init__(
        self, connect: _Connect, *, certificate: ServerCertificate | None = None, most: int = MOST
    ) -> None:
        """Begin without a port."""
        self._connect, self._certificate = connect, certificate
        self._slots = asyncio.Semaphore(most)
        self._most = most
        self._accepting: asyncio.Task[None] | None = None
        self._carrying = set[asyncio.Task[None]]()
        self._told = ""

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Args:
            host: Number of the address to listen at.
            port: 0 takes a free one.

        Raises:
            RelayFailed: Nothing can listen there.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise RelayFailed(f"nothing can listen at {host}:{port}: {why}") from error
        listener.setblocking(False)
        _allow_files(self._most * _DESCRIPTORS)
        self._accepting = asyncio.create_task(self._accept(listener))
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        await asyncio.sleep(0)  # what was taken last has begun then, and closes its connection
        carrying = list(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                await self._slots.acquire()
                try:
                    taken, _ = await loop.sock_accept(listener)
                except OSError as error:  # such as too many open files: those that wait are still there
                    self._slots.release()
                    self._tell(f"no connection can be taken: {error.strerror}")
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                except BaseException:
                    self._slots.release()
                    raise
                task = asyncio.create_task(self._carry(taken))
                self._carrying.add(task)
                task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._carrying.discard(task)
        self._slots.release()

    async def _carry(self, taken: socket.socket) -> None:
        """Carry one connection to its end, whatever that is."""
        async with contextlib.AsyncExitStack() as ending:
            try:
                near = await _accepted(taken, self._certificate)
            except (OSError, TimeoutError):
                return  # whoever came speaks no TLS, or only looked whether somebody listens
            ending.push_async_callback(_end, near[1])
            try:
                async with asyncio.timeout(CONNECT_SECONDS + HANDSHAKE_SECONDS):
                    far = await self._connect()
            except (OSError, TimeoutError) as error:
                self._tell(f"the other side cannot be reached: {_reason(error)}")
                _cut(near[1])
                return
            ending.push_async_callback(_end, far[1])
            self._told = ""
            await _both_ways(near, far)

    def _tell(self, words: str) -> None:
        """Log what is wrong once, for as long as it is."""
        if words != self._told:
            LOG.warning("%s", words)
        self._told = words


def to_tls(host: str, port: int, authorities: Authorities, *, most: int = MOST) -> TlsRelay:
    """Return a relay of plain connections to a server that speaks TLS and is verified by its name.

    Args:
        host: Name or number of the server, looked up anew for each connection; its certificate must hold it.
        port: Where it listens.
        authorities: Who may have signed its certificate.
        most: Connections at once.
    """

    async def connect() -> _Side:
        return await asyncio.open_connection(
            host,
            port,
            ssl=authorities.context,
            server_hostname=host,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_END_SECONDS,
            limit=_BYTES,
        )

    return TlsRelay(connect, most=most)


def from_tls(certificate: ServerCertificate, place: Place, *, most: int = MOST) -> TlsRelay:
    """Return a relay of connections that speak TLS to a server of this machine that speaks none.

    Args:
        certificate: What it shows.
        place: Where the server is.
        most: Connections at once.
    """
    return TlsRelay(lambda: connect_to(place), certificate=certificate, most=most)


async def connect_to(place: Place) -> _Side:
    """Connect to a server that speaks no TLS.

    Raises:
        OSError: Nobody listens there.
    """
    if isinstance(place, Path):
        return await asyncio.open_unix_connection(place, limit=_BYTES)
    return await asyncio.open_connection(*place, limit=_BYTES)


async def _accepted(taken: socket.socket, certificate: ServerCertificate | None) -> _Side:
    """Return both directions of a connection that was taken, after its handshake where it has one."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    times = (
        {}
        if certificate is None
        else {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": _END_SECONDS}
    )
    _watch(taken)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, taken, ssl=None if certificate is None else certificate.context, **times
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _both_ways(near: _Side, far: _Side) -> None:
    """Carry bytes until one side has ended, and for a moment what the other one still says.

    Whoever was to hear something and did not hear all of it sees an error, and no end.
    """
    ways = {
        asyncio.create_task(_one_way(near[0], far[1])): far[1],
        asyncio.create_task(_one_way(far[0], near[1])): near[1],
    }
    try:
        done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if left and all(one.exception() is None for one in done):
            await asyncio.wait(left, timeout=HALF_SECONDS)
    finally:
        for way in ways:
            way.cancel()
        ended = await asyncio.gather(*ways, return_exceptions=True)
        for listener, how in zip(ways.values(), ended, strict=True):
            if how is not None:
                _cut(listener)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until their end; none is read while those before it wait to be written."""
    while data := await reader.read(_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close a connection after what it was given is written, or else cut it off."""
    try:
        writer.close()
        async with asyncio.timeout(_END_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass  # the other side does not read, or is gone
    finally:
        writer.transport.abort()


def _cut(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its other side sees an error, and no end."""
    own: socket.socket | None = writer.get_extra_info("socket")
    if own is not None and own.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _watch(taken: socket.socket) -> None:
    """Have the system find out within two minutes that the other machine is gone."""
    if taken.family in (socket.AF_INET, socket.AF_INET6):
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, 60),
            (socket.TCP_KEEPINTVL, 10),
            (socket.TCP_KEEPCNT, 6),
        ):
            taken.setsockopt(socket.IPPROTO_TCP, option, value)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(error) or "it does not answer in time"


def _allow_files(more: int) -> None:
    """Have room for so many further files, as far as the system lets this process."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = now + more if most == unlimited else min(now + more, most)
    if now != unlimited and wanted > now:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
