"""Passing on what a guest and an MCP server say to each other, where the gateway has nothing to say itself."""

import asyncio
import time
from typing import Final

import aiohttp
from aiohttp import web

from orchestrator_gateway import mcp_sessions
from orchestrator_gateway.mcp_exchanges import JSON, STALL_SECONDS, Exchange
from orchestrator_gateway.refusals import refusal

_LOOK_SECONDS: Final = 5.0
"""How often a stream on which nothing comes is looked after: its guest may be gone."""


async def relay(session: aiohttp.ClientSession, secret: bytes, exchange: Exchange) -> web.StreamResponse:
    """Pass a request on, and what is answered back as it comes, for as long as the guest's token is good.

    Args:
        session: Whose connections are used.
        secret: Signs the ids of sessions.
        exchange: Who asks whom.

    Raises:
        Refused: The server is not there, hangs, or answers what no guest may get.
    """
    name, server = exchange.name, exchange.server
    seconds = exchange.claims.expires - time.time()
    if exchange.content is not None:
        seconds = min(seconds, server.settings.call_seconds)
    try:
        async with asyncio.timeout(seconds):
            async with session.request(
                exchange.request.method,
                server.settings.url,
                headers={**exchange.headers, **server.headers, "accept-encoding": "identity"},
                data=exchange.content,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=server.settings.connect_seconds),
                allow_redirects=False,
            ) as response:
                told = _head(secret, exchange, response)
                await told.prepare(exchange.request)
                await _pass(exchange, response, told)
                return told
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise refusal(502, f"the MCP server {name!r} cannot be reached") from error
    except TimeoutError as error:
        raise refusal(504, f"the MCP server {name!r} did not answer in time") from error
    except aiohttp.ClientError as error:
        raise refusal(502, f"the MCP server {name!r} broke off: {type(error).__name__}") from error


def _head(secret: bytes, exchange: Exchange, response: aiohttp.ClientResponse) -> web.StreamResponse:
    """Return how the guest's answer begins, with the server's session under a name of this execution's own."""
    name = exchange.name
    if response.status in (401, 403):
        raise refusal(502, f"the MCP server {name!r} refuses the gateway's key")
    if 300 <= response.status < 400:
        raise refusal(502, f"the MCP server {name!r} redirects, which is not followed; change its url")
    told = web.StreamResponse(status=response.status)
    told.headers["content-type"] = response.headers.get("content-type", JSON)
    if (session := response.headers.get(mcp_sessions.HEADER)) is not None:
        own = mcp_sessions.sealed(secret, exchange.claims, name, session)
        if own is None:
            raise refusal(502, f"the MCP server {name!r} names a session as the protocol does not allow")
        told.headers[mcp_sessions.HEADER] = own
    return told


async def _pass(exchange: Exchange, response: aiohttp.ClientResponse, told: web.StreamResponse) -> None:
    """Write what comes until it ends, or nobody reads it."""
    request = exchange.request
    size, streams = 0, request.method == "GET"
    pieces = response.content.iter_any().__aiter__()
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(pieces.__anext__())
            done, _ = await asyncio.wait({coming}, timeout=_LOOK_SECONDS)
            if request.transport is None or request.transport.is_closing():
                break
            if not done:
                continue
            piece, coming = coming.result(), None
            size += len(piece)
            if size > exchange.server.settings.answer_bytes and not streams:
                request.transport.abort()  # the guest must not take half of an answer for a whole one
                break
            async with asyncio.timeout(STALL_SECONDS):
                await told.write(piece)
    except StopAsyncIteration:
        await told.write_eof()
    except (ConnectionError, TimeoutError, aiohttp.ClientError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        if coming is not None:
            coming.cancel()
