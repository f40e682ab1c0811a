"""What is sent over connections of ours looks to httpx as if it had sent it; what it must send itself is left to it."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.model_transport import DirectTransport

TRANSPORT = DirectTransport(httpx)
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def running() -> Iterator[ModelEndpoint]:
    with run_in_thread() as endpoint:
        yield endpoint


def request(url: str, **body: Any) -> httpx.Request:
    timeouts = {"connect": 5.0, "read": 0.5, "write": 5.0, "pool": 5.0}
    return httpx.Request(
        "POST", f"{url}/chat/completions", json={**BODY, **body}, extensions={"timeout": timeouts}
    )


def sent(url: str, *, stream: bool = False) -> httpx.Response:
    response = TRANSPORT.send(request(url, stream=stream), stream=stream)
    assert isinstance(response, httpx.Response)
    return response


def test_a_response_is_as_the_library_makes_it(running: ModelEndpoint) -> None:
    ours = sent(running.base_url)
    theirs = httpx.post(f"{running.base_url}/chat/completions", json={**BODY, "stream": False})
    assert ours.json() == theirs.json()
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert (ours.status_code, ours.is_closed, ours.http_version) == (200, True, theirs.http_version)
    assert ours.raise_for_status() is ours


def test_a_stream_is_read_piece_by_piece(running: ModelEndpoint) -> None:
    response = sent(running.base_url, stream=True)
    assert not response.is_closed
    assert list(response.iter_lines())[-2] == "data: [DONE]"
    assert response.is_closed


def test_a_stream_is_read_from_a_loop(running: ModelEndpoint) -> None:
    async def main() -> list[str]:
        response = await TRANSPORT.send_async(request(running.base_url, stream=True), stream=True)
        return [line async for line in response.aiter_lines()]

    assert asyncio.run(main())[-2] == "data: [DONE]"


def test_an_error_status_is_a_response(running: ModelEndpoint) -> None:
    url = running.script("limited", Script(faults=(Fault(kind=FaultKind.STATUS, status=429),)))
    response = sent(url)
    assert response.status_code == 429 and "error" in response.json()
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FaultKind.HANG, httpx.ReadTimeout), (FaultKind.DISCONNECT, httpx.RemoteProtocolError)],
)
def test_faults_are_the_librarys_own(running: ModelEndpoint, kind: FaultKind, error: type[Exception]) -> None:
    url = running.script("faulty", Script(faults=(Fault(kind=kind),)))
    with pytest.raises(error):
        sent(url)
    with pytest.raises(error):
        asyncio.run(TRANSPORT.send_async(request(url), stream=False))


def test_a_stream_that_is_cut_off_is_the_librarys_error(running: ModelEndpoint) -> None:
    url = running.script("cut", Script(faults=(Fault(kind=FaultKind.TRUNCATED_STREAM),)))
    with pytest.raises(httpx.RemoteProtocolError):
        sent(url, stream=True).read()


def test_nobody_there_is_the_librarys_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    with pytest.raises(httpx.ConnectError):
        sent(url)


def test_a_header_with_a_line_break_is_refused(running: ModelEndpoint) -> None:
    made = request(running.base_url)
    made.headers["x-orchestrator-execution"] = "a\r\nauthorization: b"
    with pytest.raises(httpx.LocalProtocolError):
        TRANSPORT.send(made, stream=False)


def test_a_redirect_is_left_to_the_library() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 307 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n")

        async def main() -> Any:
            serving = asyncio.create_task(asyncio.to_thread(answer))
            response = await TRANSPORT.send_async(request(url), stream=False)
            await serving
            return response

        assert asyncio.run(main()) is None


def test_what_the_library_must_send_is_left_to_it() -> None:
    plain = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
    with (
        httpx.Client() as client,
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as own,
    ):
        assert TRANSPORT.takes(client, plain)
        assert not TRANSPORT.takes(client, httpx.Request("POST", "https://127.0.0.1/v1/chat/completions"))
        assert not TRANSPORT.takes(own, plain)
    with httpx.Client(event_hooks={"request": [print]}) as hooked:
        assert not TRANSPORT.takes(hooked, plain)
