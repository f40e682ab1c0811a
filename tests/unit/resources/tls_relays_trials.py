"""Relays between TLS and what speaks none: every byte arrives once, faults are told, and nothing is left open."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_gateway.tls_files import Authorities, ServerCertificate
from orchestrator_resources import tls_relays
from orchestrator_resources.tls_relays import RelayFailed, TlsRelay, from_tls, to_tls
from tests.certificates import Authority

Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECONDS = 30
LOOPS = list[Callable[[], asyncio.AbstractEventLoop]]()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue("localhost", "127.0.0.1")
    made.issue("gateway.example", file="other")
    return made


def certificate_of(authority: Authority, file: str = "tls") -> ServerCertificate:
    folder = authority.file.parent
    return ServerCertificate(folder / f"{file}.crt", folder / f"{file}.key")


@contextlib.asynccontextmanager
async def served(serve: Serve, authority: Authority | None, file: str = "tls") -> AsyncGenerator[int]:
    """Serve at a port, with TLS where there is an authority."""
    context = None if authority is None else certificate_of(authority, file).context
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def opened(relay: TlsRelay) -> AsyncGenerator[int]:
    try:
        yield await relay.open("127.0.0.1", 0)
    finally:
        await relay.close()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"], autouse=True)
def loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run everything in both kinds of loops: that of a run, and that of the processes that only relay."""
    LOOPS.append(asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop)
    with asyncio.Runner(loop_factory=LOOPS[-1]) as first:
        first.run(asyncio.sleep(0))  # what a kind of loops keeps for the process is opened by its first one
    yield
    LOOPS.pop()


def run(work: Awaitable[None]) -> None:
    """Do something in a loop of its own; no descriptor is left open."""

    async def bounded() -> None:
        own = sockets() + 1  # with those of the loop; libuv keeps one in reserve for what it accepts
        async with asyncio.timeout(SECONDS):
            await work
        await asyncio.sleep(0.05)  # transports close in the next turns of the loop
        left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        assert not left, left
        assert sockets() <= own, "descriptors are left open"

    before = sockets()
    with asyncio.Runner(loop_factory=LOOPS[-1]) as runner:
        runner.run(bounded())
    assert sockets() <= before


def sockets() -> int:
    return len(os.listdir("/proc/self/fd"))


async def hung_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection that may be lost already."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("way", ["to", "from"])
@settings(max_examples=10, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=200_000), min_size=1, max_size=5))
def test_all_bytes_come_back_in_order(authority: Authority, way: str, pieces: list[bytes]) -> None:
    async def work() -> None:
        trusted = Authorities(authority.file)
        async with served(echo, authority if way == "to" else None) as port:
            if way == "to":
                relay, tls = to_tls("127.0.0.1", port, trusted), None
            else:
                relay, tls = from_tls(certificate_of(authority), ("127.0.0.1", port)), trusted.context
            async with opened(relay) as near:
                reader, writer = await asyncio.open_connection("127.0.0.1", near, ssl=tls)
                for piece in pieces:
                    writer.write(piece)
                    assert await reader.readexactly(len(piece)) == piece
                writer.close()
                await writer.wait_closed()

    run(work())


def test_a_unix_socket_is_served(authority: Authority, tmp_path: Path) -> None:
    async def work() -> None:
        server = await asyncio.start_unix_server(echo, tmp_path / "socket")
        async with server, opened(from_tls(certificate_of(authority), tmp_path / "socket")) as port:
            context = Authorities(authority.file).context
            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()

    run(work())


def test_what_a_server_says_before_it_ends_arrives_whole(authority: Authority) -> None:
    said = secrets.token_bytes(3_000_000)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def work() -> None:
        async with (
            served(serve, authority) as far,
            opened(to_tls("localhost", far, Authorities(authority.file))) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.2)  # it reads late
            assert await reader.read(-1) == said
            writer.close()

    run(work())


def test_who_ends_its_words_hears_a_prompt_answer(authority: Authority) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.readexactly(5)
        await asyncio.sleep(0.3)
        writer.write(question[::-1])
        writer.close()

    async def work() -> None:
        async with (
            served(serve, authority) as far,
            opened(to_tls("localhost", far, Authorities(authority.file))) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read(-1) == b"olleh"
            writer.close()

    run(work())


@pytest.mark.parametrize("how", ["reset", "slow"])
def test_what_is_cut_off_is_an_error_and_no_end(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(tls_relays, "HALF_SECONDS", 0.1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half of ")
        await reader.readexactly(1)
        if how == "slow":
            await over.wait()
        if how == "reset":
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def work() -> None:
        async with (
            served(serve, authority) as far,
            opened(to_tls("localhost", far, Authorities(authority.file))) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readexactly(8) == b"half of "
            writer.write(b"!")
            if how == "slow":
                writer.write_eof()
            with pytest.raises(ConnectionResetError):
                await reader.read(-1)
            over.set()
            await hung_up(writer)

    over = asyncio.Event()
    run(work())


def test_nothing_is_read_ahead_of_who_does_not_read(authority: Authority) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    async def work() -> None:
        async with (
            served(deaf, authority) as far,
            opened(to_tls("localhost", far, Authorities(authority.file))) as port,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 200_000_000:
                    writer.write(bytes(100_000))
                    sent += 100_000
                    async with asyncio.timeout(1):
                        await writer.drain()
            assert sent < 50_000_000, "of which the system's buffers hold most"
            over.set()
            writer.transport.abort()

    over = asyncio.Event()
    run(work())


@pytest.mark.parametrize(
    ("name", "trusted", "file", "why"),
    [
        ("localhost", False, "tls", "its certificate is refused: unable to get local issuer certificate"),
        ("localhost", True, "other", "its certificate is refused: Hostname mismatch"),
        ("127.0.0.1", True, "other", "its certificate is refused: IP address mismatch"),
    ],
)
def test_a_server_that_is_another_gets_nothing(
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    trusted: bool,
    file: str,
    why: str,
) -> None:
    heard = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    async def work() -> None:
        authorities = Authorities((authority if trusted else Authority(tmp_path)).file)
        async with served(serve, authority, file) as far, opened(to_tls(name, far, authorities)) as port:
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"secret")
                with pytest.raises(ConnectionError):
                    await reader.readexactly(1)
                await hung_up(writer)

    with caplog.at_level(logging.WARNING, tls_relays.LOG.name):
        run(work())
    assert not any(heard)
    (told,) = [record.message for record in caplog.records if record.name == tls_relays.LOG.name]
    assert why in told, "and once"


def test_one_that_does_not_listen_or_speaks_no_tls_is_told_of(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def fails(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        await hung_up(writer)

    async def work() -> None:
        trusted = Authorities(authority.file)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with opened(to_tls("127.0.0.1", taken.getsockname()[1], trusted)) as port:
                await fails(port)
        async with served(plain, None) as far, opened(to_tls("127.0.0.1", far, trusted)) as port:
            await fails(port)

    with caplog.at_level(logging.WARNING, tls_relays.LOG.name):
        run(work())
    refused, plain_text = [record.message for record in caplog.records]
    assert "the other side cannot be reached" in refused and "Errno 111" in refused
    assert "WRONG_VERSION_NUMBER" in plain_text or "wrong version number" in plain_text.lower()


def test_one_that_never_answers_is_given_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_relays, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(tls_relays, "HANDSHAKE_SECONDS", 0.1)

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            relay = to_tls("127.0.0.1", silent.getsockname()[1], Authorities(authority.file))
            async with opened(relay) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with pytest.raises(ConnectionError):
                    await reader.readexactly(1)
                await hung_up(writer)

    run(work())
    assert "the other side cannot be reached" in caplog.text


def test_plain_words_to_a_port_of_tls_reach_nobody(authority: Authority) -> None:
    async def work() -> None:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(writer)

        async with (
            served(serve, None) as far,
            opened(from_tls(certificate_of(authority), ("127.0.0.1", far))) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in await reader.read(-1)
            writer.close()
            _, looks = await asyncio.open_connection("127.0.0.1", port)
            looks.transport.abort()  # as a probe does
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(authority.file)
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="else.example")
        assert not heard

    heard = list[asyncio.StreamWriter]()
    run(work())


def test_further_connections_wait_until_one_ends(authority: Authority) -> None:
    async def work() -> None:
        async with (
            served(echo, authority) as far,
            opened(to_tls("localhost", far, Authorities(authority.file), most=1)) as port,
        ):
            first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in (first, second):
                writer.write(b"hello")
            assert await first[0].readexactly(5) == b"hello"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await second[0].readexactly(5)
            first[1].close()
            assert await second[0].readexactly(5) == b"hello"
            second[1].close()

    run(work())


def test_closing_ends_what_is_on_its_way(authority: Authority) -> None:
    async def work() -> None:
        async with served(echo, authority) as far:
            relay = to_tls("localhost", far, Authorities(authority.file))
            port = await relay.open("127.0.0.1", 0)
            sides = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            sides[0][1].write(b"hello")
            assert await sides[0][0].readexactly(5) == b"hello"
            await relay.close()
            for reader, writer in sides:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read(-1) == b""
                writer.transport.abort()

    run(work())


def test_a_port_that_is_taken_is_named() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(
                RelayFailed, match=f"nothing can listen at 127.0.0.1:{port}: Address already in use"
            ):
                await to_tls("localhost", 1, Authorities(None)).open("127.0.0.1", port)

    run(work())
