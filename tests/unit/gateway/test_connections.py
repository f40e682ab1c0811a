"""Connections that say nothing are ended, and those that spoke once are left alone."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator_gateway import connections as gateway_connections
from orchestrator_gateway.connections import Connections
from orchestrator_gateway.tls_files import Authorities, ServerCertificate
from tests.certificates import Authority

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def served(
    connections: Connections, certificate: ServerCertificate | None = None
) -> AsyncGenerator[int]:
    async def hello(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello")

    app = web.Application(middlewares=[connections.middleware])
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    connections.server = runner.server
    server = await asyncio.get_running_loop().create_server(
        connections, "127.0.0.1", 0, ssl=None if certificate is None else certificate.context
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the other side hangs up."""
    async with asyncio.timeout(30):
        try:
            return not await reader.read(1)
        except ConnectionError:
            return True


def test_one_that_sends_no_whole_head_in_time_is_ended() -> None:
    async def work() -> None:
        async with served(Connections(head_seconds=0.2)) as port:
            silent, _silent_writer = await asyncio.open_connection("127.0.0.1", port)
            slow, slow_writer = await asyncio.open_connection("127.0.0.1", port)
            good, good_writer = await asyncio.open_connection("127.0.0.1", port)
            slow_writer.write(REQUEST[:-2])
            good_writer.write(REQUEST)
            assert (await good.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert await ended(silent) and await ended(slow)
            good_writer.write(REQUEST)
            assert (await good.readuntil(b"hello")).endswith(b"hello"), "what has spoken is left alone"
            for writer in (_silent_writer, slow_writer, good_writer):
                writer.close()

    asyncio.run(work())


def test_of_too_many_silent_ones_the_oldest_is_ended() -> None:
    async def work() -> None:
        async with served(Connections(silent=2)) as port:
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            assert await ended(opened[0][0])
            for reader, writer in opened[1:]:
                writer.write(REQUEST)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            for _, writer in opened:
                writer.close()

    asyncio.run(work())


def test_one_that_made_room_before_it_agreed_on_tls_is_ended_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_connections, "HANDSHAKE_SECONDS", 0.5)
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    context = Authorities(authority.file).context

    async def agreed(port: int, begun: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        begun.setblocking(False)
        return await asyncio.open_connection(sock=begun, ssl=context, server_hostname="127.0.0.1")

    async def work() -> None:
        certificate = ServerCertificate(issued.certificate, issued.key)
        async with served(Connections(silent=1), certificate) as port:
            begun = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
            await asyncio.sleep(0.1)  # the third has pushed out the others, which agree on nothing yet
            silent, talking = [await agreed(port, one) for one in begun[:2]]
            talking[1].write(REQUEST)
            assert (await talking[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert await ended(silent[0])
            talking[1].write(REQUEST)
            assert (await talking[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            begun[2].close()
            for _, writer in (silent, talking):
                writer.transport.abort()

    asyncio.run(work())
