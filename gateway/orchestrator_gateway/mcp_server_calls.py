"""Asking an MCP server for one thing: with its key, within bounds, and with an answer that is to the question."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import aiohttp

from orchestrator_gateway.buffers import Account
from orchestrator_gateway.mcp_messages import Events, Message, NoMessage, read_message
from orchestrator_gateway.mcp_settings import McpServer

PASSED: Final = ("accept", "content-type", "mcp-protocol-version", "last-event-id", "traceparent")
"""Headers of a guest that a server gets; its session is another matter."""


class ServerFault(Exception):
    """A server did not answer the question.

    Attributes:
        made: Whether the server may have done what it was asked for.
        gone: Whether it says that the session is over, so that the client must begin another one.
    """

    def __init__(self, why: str, *, made: bool, gone: bool = False) -> None:
        """Say what the server did."""
        super().__init__(why)
        self.made, self.gone = made, gone


async def ask(
    session: aiohttp.ClientSession,
    server: McpServer,
    headers: Mapping[str, str],
    content: bytes,
    number: str | int,
    account: Account,
    seconds: float,
    passing: Callable[[bytes], Awaitable[None]],
) -> Message:
    """Send a request and return its answer.

    Args:
        session: Whose connections are used.
        server: Which server.
        headers: Those of the guest that are passed on, and the server's session.
        content: The request.
        number: Its id; answers to others do not count.
        account: Counts the memory that the answer takes.
        seconds: How long it may take.
        passing: Takes events before the answer, such as of progress, as they come.

    Raises:
        ServerFault: There is no answer to it.
        BuffersFull: There is no memory for it.
    """
    try:
        async with asyncio.timeout(min(seconds, server.settings.call_seconds)):
            async with session.post(
                server.settings.url,
                headers={**headers, **server.headers, "accept-encoding": "identity"},
                data=content,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=server.settings.connect_seconds),
                allow_redirects=False,
            ) as response:
                return await _answer(server, response, number, account, passing)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise ServerFault("cannot be reached", made=False) from error
    except TimeoutError as error:
        raise ServerFault("did not answer in time", made=True) from error
    except aiohttp.ClientError as error:
        raise ServerFault(f"broke off: {type(error).__name__}", made=True) from error
    except NoMessage as error:
        raise ServerFault(f"answered what is no message of the protocol: {error}", made=True) from error


async def _answer(
    server: McpServer,
    response: aiohttp.ClientResponse,
    number: str | int,
    account: Account,
    passing: Callable[[bytes], Awaitable[None]],
) -> Message:
    status = response.status
    if status in (401, 403):
        raise ServerFault(f"refuses the gateway's key with status {status}", made=False)
    if status != 200:
        raise ServerFault(f"answered with status {status}", made=not 400 <= status < 500, gone=status == 404)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ServerFault("answers compressed, which it was not asked for", made=True)
    if not response.content_type.startswith("text/event-stream"):
        found = read_message(await _read(server, response, account))
        if not found.is_answer or found.id != number:
            raise ServerFault("answered another request", made=True)
        return found
    events, size = Events(), 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > server.settings.answer_bytes:
            raise ServerFault(f"answers with more than {server.settings.answer_bytes} bytes", made=True)
        account.add(len(piece))
        for event, data in events.feed(piece):
            if not data:
                continue
            message = read_message(data)
            if not message.is_answer:
                await passing(event)
            elif message.id == number:
                return message
    raise ServerFault("ended its answer before it was whole", made=True)


async def _read(server: McpServer, response: aiohttp.ClientResponse, account: Account) -> bytes:
    pieces, size = list[bytes](), 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > server.settings.answer_bytes:
            raise ServerFault(f"answers with more than {server.settings.answer_bytes} bytes", made=True)
        account.add(len(piece))
        pieces.append(piece)
    return b"".join(pieces)
