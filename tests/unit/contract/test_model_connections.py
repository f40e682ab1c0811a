"""Connections to a model endpoint, from threads and from a loop: kept open, never trusted too long."""

import asyncio
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import pytest

from orchestrator_runtimes import model_connections
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.model_connections import (
    Address,
    AnswerFailed,
    AnswerTimedOut,
    ConnectFailed,
    Timeouts,
    send,
    send_async,
)

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
SOON = Timeouts(connect=5, read=0.3, write=5)


def ask(address: Address) -> tuple[int, bytes]:
    answer = send(address, REQUEST, SOON)
    return answer.status, b"".join(answer.pieces(SOON.read))


def ask_from_loop(address: Address) -> tuple[int, bytes]:
    return asyncio.run(ask_async(address))


async def ask_async(address: Address) -> tuple[int, bytes]:
    answer = await send_async(address, REQUEST, SOON)
    return answer.status, b"".join([piece async for piece in answer.pieces(SOON.read)])


BOTH = pytest.mark.parametrize("once", [ask, ask_from_loop], ids=["thread", "loop"])
Once = Callable[[Address], tuple[int, bytes]]


class Server:
    """Counts its connections and answers each request with what it was given; None closes instead.

    After the last answer the connection stays open until the client closes it, or is closed with `closes`.
    """

    def __init__(self, *answers: bytes | None, closes: bool = False) -> None:
        self.connections = 0
        self.closed = threading.Event()
        self._answers = list(answers)
        self._closes = closes
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listening.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while self._answers:
            connection, _ = self._listening.accept()
            self.connections += 1
            self._open = connection
            with connection:
                while self._answers and connection.recv(65_536):
                    answer = self._answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                if not self._answers and not self._closes:
                    connection.recv(1)
            self.closed.set()

    @contextmanager
    def listening(self) -> Generator["Server"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._answers.clear()
            with suppress(OSError):
                self._open.shutdown(socket.SHUT_RDWR)
            self._thread.join(5)
            self._listening.close()


@BOTH
def test_a_chunked_answer_comes_whole(once: Once) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with Server(chunked).listening() as server:
        assert once(server.address) == (200, b"{}")


def test_threads_use_a_connection_again() -> None:
    with Server(OK, OK, OK).listening() as server:
        assert [ask(server.address) for _ in range(3)] == [(200, b"{}")] * 3
        assert server.connections == 1


def test_a_loop_uses_a_connection_again_and_many_at_once() -> None:
    async def main() -> tuple[int, int]:
        async with ModelEndpoint(Script(latency=0.05)) as endpoint:
            host, _, port = endpoint.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
            address = host, int(port)
            await asyncio.gather(*(ask_async(address) for _ in range(20)))
            await asyncio.gather(*(ask_async(address) for _ in range(20)))
            return endpoint.peak_active, endpoint.count

    assert asyncio.run(main()) == (20, 40)


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    with Server(OK, None, OK).listening() as server:
        assert ask(server.address) == (200, b"{}")
        with pytest.raises(AnswerFailed):
            ask(server.address)
        assert server.closed.wait(5)
        assert ask(server.address) == (200, b"{}")
        assert server.connections == 2


def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(OK, OK).listening() as server:
        assert ask(server.address) == (200, b"{}")
        monkeypatch.setattr(model_connections, "IDLE_SECONDS", -1.0)
        assert ask(server.address) == (200, b"{}")
        assert server.connections == 2


@BOTH
@pytest.mark.parametrize(
    "answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", None]
)
def test_what_is_no_answer_fails(once: Once, answer: bytes | None) -> None:
    with Server(answer, closes=True).listening() as server, pytest.raises(AnswerFailed):
        once(server.address)


@BOTH
def test_a_server_that_is_silent_is_a_timeout(once: Once) -> None:
    with Server(b"HTTP/1.1 200 OK\r\n").listening() as server, pytest.raises(AnswerTimedOut):
        once(server.address)


@BOTH
def test_nobody_listening_is_told(once: Once) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address: Address = listening.getsockname()
    with pytest.raises(ConnectFailed):
        once(address)


def test_an_answer_that_is_not_read_to_its_end_closes_its_connection() -> None:
    with Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").listening() as server:
        send(server.address, REQUEST, SOON).close()
        assert server.closed.wait(5)


def test_cancelling_closes_the_connection() -> None:
    async def main(address: Address) -> None:
        asking = asyncio.create_task(send_async(address, REQUEST, Timeouts()))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with Server(b"HTTP/1.1 200 OK\r\n").listening() as server:
        asyncio.run(main(server.address))
        assert server.closed.wait(5)
