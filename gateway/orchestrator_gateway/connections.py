"""Connections that say nothing: one that sends no whole head of a request in time is ended; others find room."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from orchestrator_gateway.tls_files import HANDSHAKE_SECONDS

HEAD_SECONDS: Final = 20.0
"""How long the head of a connection's first request may take."""

SILENT: Final = 1_000
"""Most connections that have sent none yet; a further one ends the oldest of them."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Connections:
    """Makes the protocol of each connection; checked against aiohttp 3.14, which sets no limit of its own."""

    def __init__(self, *, head_seconds: float = HEAD_SECONDS, silent: int = SILENT) -> None:
        """Begin with no connection."""
        self._head_seconds = head_seconds
        self._most = silent
        self._silent: OrderedDict[web.RequestHandler, asyncio.TimerHandle] = OrderedDict()
        self._agreeing = set[web.RequestHandler]()
        self.server: web.Server | None = None

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        assert self.server is not None
        connection = self.server()
        if len(self._silent) >= self._most:
            self._end(next(iter(self._silent)))
        loop = asyncio.get_running_loop()
        self._silent[connection] = loop.call_later(self._head_seconds, self._end, connection)
        return connection

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Note that a connection has sent a request."""
        self._agreeing.discard(request.protocol)
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handler(request)

    def _end(self, connection: web.RequestHandler) -> None:
        timer = self._silent.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if connection.transport is not None:
            connection.transport.abort()
        else:
            # it agrees on TLS still, or failed to: nothing can be ended yet
            self._agreeing.add(connection)
            asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._end_agreed, connection)

    def _end_agreed(self, connection: web.RequestHandler) -> None:
        if connection in self._agreeing:
            self._agreeing.discard(connection)
            if connection.transport is not None:
                connection.transport.abort()
