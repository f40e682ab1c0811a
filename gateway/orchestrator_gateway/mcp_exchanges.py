"""One exchange of a guest with an MCP server: what is asked of whom, and the guest that waits for the answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from orchestrator_gateway.buffers import Account
from orchestrator_gateway.mcp_messages import Message, answer, event_of
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json

JSON: Final = "application/json"
STALL_SECONDS: Final = 60.0
"""How long a guest may read nothing of its answer before it counts as gone."""

_EVENTS: Final = "text/event-stream"

ContentOf = Callable[[web.Request, Account], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What a guest asks of a server.

    Attributes:
        request: The guest's.
        claims: Of its token.
        name: Of the server.
        server: Its settings and keys.
        headers: What the server gets of the guest's headers; the session is named by the server's own id.
        content: The body; None where the guest only listens.
    """

    request: web.Request
    claims: Claims
    name: str
    server: McpServer
    headers: Mapping[str, str]
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request of the protocol, to be answered by the gateway itself.

    Attributes:
        exchange: Who asks whom.
        message: The request.
        number: Its id.
        content: Its bytes.
    """

    exchange: Exchange
    message: Message
    number: str | int
    content: bytes = field(repr=False)


class WaitingGuest:
    """The guest that waits for an answer; events before it begin a stream. The call does not mind when it is gone."""

    def __init__(self, question: Question) -> None:
        """Begin with nothing told."""
        self._request = question.exchange.request
        self._number = question.number
        self._response: web.StreamResponse | None = None

    async def write(self, event: bytes) -> None:
        """Take an event before the answer."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                if self._response is None:
                    self._response = web.StreamResponse(headers={"content-type": _EVENTS})
                    await self._response.prepare(self._request)
                await self._response.write(event)

    async def finish(self, outcome: Mapping[str, Json], *, gone: bool = False) -> web.StreamResponse:
        """Answer; `gone` tells the client by the status that its session is over."""
        content = answer(self._number, outcome)
        if self._response is None:
            return web.Response(status=404 if gone else 200, body=content, content_type=JSON)
        await self.write(event_of(content))
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await self._response.write_eof()
        return self._response


def plain(question: Question, outcome: Mapping[str, Json], *, replayed: bool = False) -> web.Response:
    """Return an answer in one piece."""
    headers = {"x-orchestrator-replayed": "1"} if replayed else None
    return web.Response(body=answer(question.number, outcome), content_type=JSON, headers=headers)
