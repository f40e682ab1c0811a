"""One connection, many requests."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from benchmarks.keep_alive import KeepAlive

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@asynccontextmanager
async def server(head: bytes, answers: int) -> AsyncGenerator[tuple[str, list[int]]]:
    """A server that closes each connection after some answers, and the requests of each connection."""
    seen: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(0)
        for _ in range(answers):
            request = await reader.readuntil(b"\r\n\r\n")
            seen[-1] += 1
            length = int(request.partition(b"content-length: ")[2].split(b"\r\n")[0])
            writer.write(head + (await reader.readexactly(length))[:2])
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/base", seen


def test_a_connection_is_kept_and_opened_again_once_the_server_has_closed_it() -> None:
    async def ask() -> list[int]:
        async with server(PLAIN, 2) as (url, seen):
            connection = KeepAlive(url)
            for _ in range(4):
                assert await connection.post("/path", b"{}") == (200, b"{}")
                await asyncio.sleep(0.02)
            await connection.close()
            return seen

    assert asyncio.run(ask()) == [2, 2]


def test_an_answer_without_a_length_is_an_error() -> None:
    async def ask() -> None:
        async with server(b"HTTP/1.1 200 OK\r\n\r\n", 1) as (url, _):
            await KeepAlive(url).post("/", b"{}")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(ask())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\n\r\n0\r\n\r\n0\r\n\r\n"


def test_a_stream_is_read_to_its_end_and_its_first_chunk_is_timed() -> None:
    async def ask() -> None:
        async with server(CHUNKED, 2) as (url, seen):
            connection = KeepAlive(url, "a-token")
            for _ in range(2):
                began = time.perf_counter()
                status, body, first = await connection.stream("/path", b"")
                assert (status, body) == (200, b"abc\r\n0\r\n") and began < first < time.perf_counter()
            await connection.close()
            assert seen == [2]

    asyncio.run(ask())
