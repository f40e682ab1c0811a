"""Connections to model endpoints: many calls at once to one address, over plain HTTP/1.1, kept open in between.

The connection pool under httpx and httpx2 looks at every connection whenever a request begins or ends: with hundreds of
executions in one process that is most of the work (a profile of 1,000 calls at once shows half of it). Here a call
takes the connection that was used last, or opens one. TLS, redirects and proxies are left to httpx, see
`model_transport`.
"""

import asyncio
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from orchestrator_runtimes.http_answers import HttpAnswer, MalformedAnswer

IDLE_SECONDS: Final = 5.0
"""How long an unused connection is trusted to be open still; servers close them after 5 s (uvicorn) or more."""

_READ_BYTES: Final = 2**16

Address = tuple[str, int]


class ConnectFailed(Exception):
    """No connection could be opened."""


class ConnectTimedOut(Exception):
    """No connection could be opened in time."""


class AnswerFailed(Exception):
    """The connection broke, or what came over it is no HTTP answer."""


class AnswerTimedOut(Exception):
    """The endpoint took longer than allowed to take the request or to send more of the answer."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds that each step may take; None is without end."""

    connect: float | None = None
    read: float | None = None
    write: float | None = None


@dataclass
class _Connection:
    """An open connection; a thread uses the socket, an event loop the streams over it."""

    socket: socket.socket
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    used: float = field(default=0.0)

    def usable(self) -> bool:
        """True when it was used a moment ago, and the peer has neither closed it nor sent what nobody asked for."""
        if time.monotonic() - self.used > IDLE_SECONDS or self.socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        else:
            self.socket.close()


class _Idle:
    """Connections that wait for the next request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[Address, list[_Connection]] = {}

    def take(self, address: Address) -> _Connection | None:
        """Return the usable connection that was used last."""
        with self._lock:
            waiting = self._connections.get(address, [])
            while waiting:
                connection = waiting.pop()
                if connection.usable():
                    return connection
                connection.close()
        return None

    def give_back(self, address: Address, connection: _Connection) -> None:
        connection.used = time.monotonic()
        with self._lock:
            self._connections.setdefault(address, []).append(connection)


class _Reading:
    """An answer on its way over a connection, which it owns until it ends."""

    def __init__(self, idle: _Idle, address: Address, connection: _Connection) -> None:
        self._idle = idle
        self._address = address
        self._connection = connection
        self._closed = False
        self._answer = HttpAnswer()
        self._first = b""

    @property
    def status(self) -> int:
        """Status code."""
        return self._answer.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values as they were sent."""
        return self._answer.headers

    def close(self) -> None:
        """Give the connection back when the answer is whole, else close it; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._answer.reusable:
            self._idle.give_back(self._address, self._connection)
        else:
            self._connection.close()

    def _failed(self, error: BaseException, what: str) -> BaseException:
        """Close, and return what to raise for `error`."""
        self.close()
        if isinstance(error, TimeoutError):
            return AnswerTimedOut(what)
        if isinstance(error, OSError | MalformedAnswer):
            return AnswerFailed(str(error))
        return error


class Answer(_Reading):
    """An answer read by a thread."""

    def send(self, request: bytes, timeouts: Timeouts) -> None:
        """Send the request and read until the head of the answer is whole."""
        try:
            self._connection.socket.settimeout(timeouts.write)
            self._connection.socket.sendall(request)
        except BaseException as error:
            raise self._failed(error, "the endpoint did not take the request in time") from error
        while not self.status:
            self._first = self._next(timeouts.read)

    def pieces(self, timeout: float | None) -> Iterator[bytes]:
        """Yield the body as it comes; the connection is free again at its end.

        Raises:
            AnswerFailed: It broke.
            AnswerTimedOut: Nothing came for `timeout` seconds.
        """
        if self._first:
            yield self._first
        while not self._answer.ended:
            if piece := self._next(timeout):
                yield piece
        self.close()

    def _next(self, timeout: float | None) -> bytes:
        try:
            self._connection.socket.settimeout(timeout)
            return self._answer.feed(self._connection.socket.recv(_READ_BYTES))
        except BaseException as error:
            raise self._failed(error, "the endpoint sent nothing in time") from error


class AsyncAnswer(_Reading):
    """An answer read by an event loop; members as those of `Answer`."""

    async def send(self, request: bytes, timeouts: Timeouts) -> None:
        """Send the request and read until the head of the answer is whole."""
        assert self._connection.streams is not None  # it was opened by a loop
        writer = self._connection.streams[1]
        try:
            writer.write(request)
            async with asyncio.timeout(timeouts.write):
                await writer.drain()
        except BaseException as error:
            raise self._failed(error, "the endpoint did not take the request in time") from error
        while not self.status:
            self._first = await self._next(timeouts.read)

    async def pieces(self, timeout: float | None) -> AsyncIterator[bytes]:
        """Yield the body as it comes, as `Answer.pieces`."""
        if self._first:
            yield self._first
        while not self._answer.ended:
            if piece := await self._next(timeout):
                yield piece
        self.close()

    async def _next(self, timeout: float | None) -> bytes:
        assert self._connection.streams is not None  # as above
        try:
            async with asyncio.timeout(timeout):
                return self._answer.feed(await self._connection.streams[0].read(_READ_BYTES))
        except BaseException as error:
            raise self._failed(error, "the endpoint sent nothing in time") from error


_OF_THREADS: Final = _Idle()
_OF_LOOPS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, _Idle]()


def send(address: Address, request: bytes, timeouts: Timeouts) -> Answer:
    """Send a request and return its answer when the head has come.

    Args:
        address: Host and port.
        request: Head and body.
        timeouts: Of each step.

    Raises:
        ConnectFailed: Nobody listens.
        ConnectTimedOut: Nobody answered in time.
        AnswerFailed: The connection broke, or what came is no HTTP.
        AnswerTimedOut: It took too long.
    """
    connection = _OF_THREADS.take(address)
    if connection is None:
        try:
            connection = _Connection(socket.create_connection(address, timeouts.connect))
        except OSError as error:
            raise _not_connected(address, error) from error
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = Answer(_OF_THREADS, address, connection)
    answer.send(request, timeouts)
    return answer


async def send_async(address: Address, request: bytes, timeouts: Timeouts) -> AsyncAnswer:
    """Send a request from an event loop, as `send`; each loop has connections of its own."""
    idle = _OF_LOOPS.setdefault(asyncio.get_running_loop(), _Idle())
    connection = idle.take(address)
    if connection is None:
        try:
            async with asyncio.timeout(timeouts.connect):
                streams = await asyncio.open_connection(*address, limit=_READ_BYTES)
        except OSError as error:
            raise _not_connected(address, error) from error
        connection = _Connection(streams[1].get_extra_info("socket"), streams)
    answer = AsyncAnswer(idle, address, connection)
    await answer.send(request, timeouts)
    return answer


def _not_connected(address: Address, error: OSError) -> ConnectFailed | ConnectTimedOut:
    if isinstance(error, TimeoutError):
        return ConnectTimedOut(f"no connection to {address[0]}:{address[1]} in time")
    return ConnectFailed(str(error))
